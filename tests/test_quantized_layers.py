"""Tables for inference: the layers that they are made of, saved and mapped tables, torch's own, and what is refused."""

import numpy as np
import pytest

import fastemb
from fastemb.engine import backend
from fastemb.layers.quantized import QuantizedEmbedding, QuantizedEmbeddingBag

KINDS = [{"bits": 8}, {"bits": 4}, {"dtype": "float16"}, {"dtype": "bfloat16"}]
kinds = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(next(iter(kind.values()))))
devices = pytest.mark.parametrize("device", backend.DEVICES)
RNG = np.random.default_rng(0)
WEIGHT = RNG.standard_normal((50, 20), dtype=np.float32)
BAGS = [[3, 1, 49], [], [7], [2, 2]]


def expected(table, mode, bags=BAGS, weights=None):
    """Bags of the values that a table holds, in float64."""
    values = table.dequantize().astype(np.float64)
    out = np.zeros((len(bags), values.shape[1]))
    for b, bag in enumerate(bags):
        if not bag:
            continue
        factors = np.ones(len(bag)) if weights is None else np.asarray(weights[b], float)
        rows = values[bag]
        if mode in ("max", "min"):
            out[b] = getattr(rows, mode)(axis=0)
        else:
            scale = {"sum": 1, "mean": factors.sum(), "sqrtn": np.sqrt((factors**2).sum())}[mode]
            out[b] = factors @ rows / scale
    return out


@devices
@kinds
@pytest.mark.parametrize("mode", ["sum", "mean", "sqrtn", "max", "min"])
def test_bags_are_those_of_the_values(kind, mode, device):
    table = QuantizedEmbeddingBag.from_weight(WEIGHT, **kind, mode=mode, device=device)
    found = table(BAGS)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected(table, mode), rtol=1e-5, atol=1e-5)
    if mode not in ("max", "min"):
        weights = [[0.5, 2.0, 1.0], [], [3.0], [1.0, 0.25]]
        np.testing.assert_allclose(
            table(BAGS, per_sample_weights=weights), expected(table, mode, weights=weights), rtol=1e-5, atol=1e-5
        )


@devices
@kinds
def test_lookups_are_the_values(kind, device):
    table = QuantizedEmbedding.from_weight(WEIGHT, **kind, device=device)
    for indices in ([[3, 1], [49, 0]], np.uint8([7]), 5, np.zeros((0, 3), int)):
        np.testing.assert_array_equal(table(indices), table.dequantize()[np.asarray(indices)])
        assert table(indices).dtype == np.float32


@kinds
def test_that_values_are_near_the_layers(kind):
    layer = fastemb.Embedding(50, 20, W=WEIGHT.copy())
    table = layer.quantize(**kind)
    step = {"8": np.ptp(WEIGHT, 1).max() / 255, "4": np.ptp(WEIGHT, 1).max() / 15, "float16": 4e-3, "bfloat16": 3e-2}
    error = np.abs(table.dequantize() - WEIGHT).max()
    assert 0 < error <= step[str(next(iter(kind.values())))] * 0.52
    bags = fastemb.EmbeddingBag(50, 20, mode="sum", padding_idx=3, W=WEIGHT.copy())
    small = bags.quantize(**kind)
    np.testing.assert_allclose(small(BAGS), bags(BAGS), atol=3 * error)
    assert (small.mode, small.padding_idx, small.include_last_offset) == ("sum", 3, False)


@pytest.mark.parametrize(("kind", "nbytes"), list(zip(KINDS, [28, 14, 40, 40], strict=True)))
def test_sizes(kind, nbytes):
    table = QuantizedEmbedding.from_weight(WEIGHT, **kind)
    assert table.nbytes == 50 * nbytes == table.table.nbytes
    assert (table.num_embeddings, table.embedding_dim) == WEIGHT.shape
    assert table.bits == kind.get("bits", 16)
    assert repr(table).startswith("QuantizedEmbedding(50, 20, ")


@kinds
@pytest.mark.parametrize("dim", [20, 7])
def test_tables_that_are_saved_and_mapped(kind, dim, tmp_path):
    made = QuantizedEmbeddingBag.from_weight(WEIGHT[:, :dim], **kind, mode="sum")
    bits = kind.get("bits")
    kept = made.table.view(np.uint16) if kind.get("dtype") == "bfloat16" else made.table
    np.save(tmp_path / "table.npy", kept)
    mapped = np.load(tmp_path / "table.npy", mmap_mode="r")
    again = QuantizedEmbeddingBag.from_table(mapped, bits, dim, mode="sum")
    np.testing.assert_array_equal(again(BAGS), made(BAGS))
    np.testing.assert_array_equal(again.dequantize(), made.dequantize())
    assert np.shares_memory(again.table, mapped)
    assert not again.table.flags.writeable
    wide = QuantizedEmbedding.from_table(np.repeat(kept, 2, axis=0)[::2], bits, dim)  # rows that lie apart
    np.testing.assert_array_equal(wide.dequantize(), made.dequantize())


def test_tables_in_ml_dtypes():
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="bfloat16 is a dtype of ml_dtypes")
    wanted = WEIGHT.astype(ml_dtypes.bfloat16)
    for table in (
        QuantizedEmbedding.from_weight(WEIGHT, dtype=ml_dtypes.bfloat16),
        QuantizedEmbedding.from_weight(wanted, dtype="bfloat16"),
        QuantizedEmbedding.from_table(wanted),
    ):
        assert table.table.dtype == ml_dtypes.bfloat16
        np.testing.assert_array_equal(table.dequantize(), wanted.astype(np.float32))
    codes = QuantizedEmbedding.from_weight(wanted, bits=8).table
    np.testing.assert_array_equal(codes, QuantizedEmbedding.from_weight(wanted.astype(np.float32), bits=8).table)


@pytest.mark.parametrize("bits", [8, 4])
def test_that_torch_reads_and_writes_the_same_tables(bits):
    torch = pytest.importorskip("torch", reason="torch is the oracle")
    name = "byte" if bits == 8 else "4bit"
    packed = getattr(torch.ops.quantized, f"embedding_bag_{name}_prepack")(torch.from_numpy(WEIGHT))
    table = QuantizedEmbeddingBag.from_weight(WEIGHT, bits=bits, mode="sum")
    np.testing.assert_array_equal(table.table, packed.numpy())
    indices, offsets = RNG.integers(0, 50, 300), np.arange(0, 300, 20)
    weights = RNG.standard_normal(300, dtype=np.float32)
    theirs = getattr(torch.ops.quantized, f"embedding_bag_{name}_rowwise_offsets")(
        packed,
        torch.from_numpy(indices),
        torch.from_numpy(offsets),
        mode=0,
        per_sample_weights=torch.from_numpy(weights),
    )
    np.testing.assert_allclose(table(indices, offsets, weights), theirs.numpy(), rtol=1e-4, atol=1e-3)


def test_padding_and_indices_outside():
    kind = {"bits": 8, "padding_idx": 2}
    lookup = QuantizedEmbedding.from_weight(WEIGHT, **kind)
    np.testing.assert_array_equal(lookup([2]), lookup.dequantize()[[2]])  # as torch, which returns the row
    bags = QuantizedEmbeddingBag.from_weight(WEIGHT, **kind, mode="mean")
    np.testing.assert_allclose(bags([[2, 1, 2], [2]]), [lookup.dequantize()[1], np.zeros(20)], atol=1e-6)
    for table in (lookup, bags):
        with pytest.raises(IndexError, match=r"indices must be in \[0, 50\), got 50 at position \(1, 0\)"):
            table([[1, 2], [50, -1]])
    clipped = QuantizedEmbedding.from_weight(WEIGHT, bits=4, on_invalid="clip")
    np.testing.assert_array_equal(clipped([-5, 77]), clipped.dequantize()[[0, 49]])
    for kind in KINDS:
        padded = QuantizedEmbedding.from_weight(WEIGHT, **kind, on_invalid="pad")
        np.testing.assert_array_equal(padded([1, 99]), [padded.dequantize()[1], np.zeros(20)])


def test_layers_whose_rows_change_when_they_are_read():
    limited = fastemb.Embedding(50, 20, max_norm=1.0, W=WEIGHT.copy())
    values = limited.quantize(dtype="float16").dequantize()
    np.testing.assert_allclose(values, limited(np.arange(50)), atol=1e-3)
    assert (np.linalg.norm(values, axis=1) < 1.01).all()
    adapted = fastemb.Embedding(50, 20, W=WEIGHT.copy(), lora_rank=2)
    adapted.lora.b.weight[:] = 1
    values = adapted.quantize(bits=8).dequantize()
    np.testing.assert_allclose(values, adapted(np.arange(50)), atol=0.03)
    np.testing.assert_array_equal(adapted.weight, WEIGHT)


@pytest.mark.parametrize("kind", KINDS[:2])
def test_rows_that_cannot_be_held(kind):
    weight = np.ones((3000, 40), np.float32)
    weight[2500, 7] = weight[2700, 0] = np.nan
    with pytest.raises(ValueError, match=r"weight must be finite to be quantized, got nan at position \(2500, 7\)"):
        QuantizedEmbedding.from_weight(weight, **kind)
    with pytest.raises(ValueError, match=r"row 1 of weight, from -3\S*e\+38 to 3\S*e\+38, is beyond what"):
        QuantizedEmbedding.from_weight(np.float32([[1, 2], [-3e38, 3e38]]), **kind)


def test_short_tables_keep_what_is_not_finite():
    weight = np.float32([[np.nan, np.inf, 1e-3]])
    for dtype in ("float16", "bfloat16"):
        np.testing.assert_allclose(QuantizedEmbedding.from_weight(weight, dtype=dtype)([0]), weight, rtol=1e-2)
    with pytest.raises(ValueError, match=r"row 0 of weight, from 1\.0 to 100000\.0, is beyond what float16 can hold"):
        QuantizedEmbedding.from_weight(np.float32([[1, 1e5]]), dtype=np.float16)


def test_that_a_table_is_not_trained():
    table = fastemb.Embedding(5, 4).quantize()
    assert table.bits == 8
    assert table.frozen
    assert table.parameters() == []
    assert table.eval() is table is table.train(False)
    for train in (lambda: table.backward(np.ones((1, 4))), lambda: table.train()):
        with pytest.raises(RuntimeError, match="a quantized table is for inference"):
            train()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"bits": 3}, ValueError, "bits must be one of 8, 4, got 3"),
        ({"bits": 8.0}, TypeError, "bits must be an integer"),
        ({"bits": 8, "dtype": "float16"}, ValueError, "bits or dtype must be given, not both"),
        ({"dtype": "float32"}, ValueError, "dtype must be one of 'float16', 'bfloat16', got 'float32'"),
        ({"device": "gpu"}, ValueError, "device must be one of"),
        ({"padding_idx": 50}, ValueError, "padding_idx must be an integer in"),
        ({"on_invalid": "ignore"}, ValueError, "on_invalid must be one of"),
        ({"mode": "median"}, ValueError, "mode must be one of"),
    ],
)
def test_arguments_that_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        QuantizedEmbeddingBag.from_weight(WEIGHT, **arguments)


@pytest.mark.parametrize(
    ("table", "arguments", "error", "message"),
    [
        (np.zeros((3, 7), np.uint8), {"bits": 8}, ValueError, "table must have at least 8 bytes a row"),
        (np.zeros((3, 20), np.uint8), {"bits": 8, "embedding_dim": 13}, ValueError, "has 21 bytes at bits=8, got 20"),
        (np.zeros((3, 20), np.int8), {"bits": 4}, TypeError, "table must be uint8 for bits=4, got int8"),
        (np.zeros((3, 20), np.uint8), {}, TypeError, "table must be float16 or bfloat16, or uint8 with bits"),
        (np.zeros(3, np.uint8), {"bits": 8}, ValueError, "table must have 2 dimensions"),
        (np.zeros((3, 4), np.float16), {"embedding_dim": 5}, ValueError, "embedding_dim must be that of the table, 4"),
    ],
)
def test_tables_that_are_refused(table, arguments, error, message):
    with pytest.raises(error, match=message):
        QuantizedEmbedding.from_table(table, **arguments)


def test_that_weights_do_not_go_with_extremes():
    with pytest.raises(ValueError, match="per_sample_weights do not go with mode='max'"):
        QuantizedEmbeddingBag.from_weight(WEIGHT, mode="max")([[1]], per_sample_weights=[[1.0]])


def test_that_threads_change_nothing():
    weight = RNG.standard_normal((5000, 64), dtype=np.float32)
    indices, offsets = RNG.integers(0, 5000, 60_000), np.arange(0, 60_000, 20)
    results = []
    for n in (1, 2, 3):
        with fastemb.num_threads(n):
            table = QuantizedEmbeddingBag.from_weight(weight, bits=8, mode="sum")
            results.append((table.table, table(indices, offsets)))
    for codes, sums in results[1:]:
        np.testing.assert_array_equal(codes, results[0][0])
        np.testing.assert_array_equal(sums, results[0][1])
