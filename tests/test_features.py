"""Bags of many features in one pass: the kernel against the reference, and which batches take that short way."""

import numpy as np
import pytest

from fastemb import EmbeddingBagCollection, num_threads, optim
from fastemb.engine import _features
from fastemb.engine.backend import kernels
from fastemb.engine.features import as_one, gather, join, plain_features
from fastemb.engine.quantized import HALF_BYTES, quantize

cpu, reference = kernels("cpu", "features"), kernels("reference", "features")
NO_PADDING = -2
TABLES = {"a": (40, 4), "b": (7, 4), "c": (90, 4), "wide": (20, 20)}
NAMES = ["a", "b", "c"]
B = 5
rng = np.random.default_rng(0)


def ragged(rows, num_bags, ids=np.int64):
    offsets = np.concatenate([[0], np.cumsum(rng.integers(0, 4, num_bags))]).astype(np.int64)
    return rng.integers(0, rows, offsets[-1]).astype(ids), offsets


def told(sizes, paddings):
    firsts = np.cumsum([0, *sizes[:-1]])
    return np.array([[0, 0, 0, *each] for each in zip(firsts, sizes, paddings, strict=True)], np.int64)


@pytest.mark.parametrize(("dtype", "ids"), [(np.float64, np.int64), (np.float32, np.int32)])
@pytest.mark.parametrize("dim", [1, 4, 20, 150])
@pytest.mark.parametrize("fault", [None, "index", "offsets"])
def test_kernel_matches_the_reference(dtype, ids, dim, fault):
    sizes, num_bags = [9, 1, 30], 150  # more bags than a block has
    weight = rng.standard_normal((sum(sizes), dim)).astype(dtype)
    batch = {name: ragged(size, num_bags, ids) for name, size in zip(NAMES, sizes, strict=True)}
    if fault == "index":
        for name in "bc":
            batch[name][0][-1] = 30
    elif fault == "offsets":
        batch["c"][1][70] = -1
    features, like, found_bags, num_lookups, kept = _features.columns(batch, NAMES, told(sizes, [0, NO_PADDING, 29]))
    assert found_bags == num_bags and num_lookups == sum(len(values) for values, _ in batch.values())
    for mode in range(3):
        expected, found, in_parallel = (np.full((num_bags, 3 * dim), 7, dtype) for _ in range(3))
        status = reference.reduce_features(expected, weight, features, like, mode, 0, num_bags)
        assert status == {None: -1, "index": 1, "offsets": 2}[fault]
        assert cpu.reduce_features(found, weight, features, like, mode, 0, num_bags) == status
        failed = cpu.parallel_reduce_features(in_parallel, weight, features, like, mode, 0, num_bags, 4)
        assert (failed == 0) == (fault is None)
        if fault is None:
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
            np.testing.assert_array_equal(in_parallel, found)
            part = np.full_like(found, 7)
            cpu.reduce_features(part, weight, features, like, mode, 10, 80)
            np.testing.assert_array_equal(part[10:80], found[10:80])
            assert (part[:10] == 7).all() and (part[80:] == 7).all()
    assert len(kept) == 6


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("dim", [1, 7, 16, 100])
def test_coded_kernel_matches_the_reference(bits, dim):
    sizes, num_bags = [9, 1, 30], 150
    table = quantize(rng.standard_normal((sum(sizes), dim)), bits, device="reference").array
    halves = HALF_BYTES[bits]
    batch = {name: ragged(size, num_bags) for name, size in zip(NAMES, sizes, strict=True)}
    features, like, *_ = _features.columns(batch, NAMES, told(sizes, [0, NO_PADDING, 29]))
    for mode in range(3):
        expected, found, in_parallel = (np.full((num_bags, 3 * dim), 7, np.float32) for _ in range(3))
        assert reference.reduce_coded_features(expected, table, halves, features, like, mode, 10, 140) == -1
        assert cpu.reduce_coded_features(found, table, halves, features, like, mode, 10, 140) == -1
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
        assert cpu.parallel_reduce_coded_features(in_parallel, table, halves, features, like, mode, 10, 140, 4) == 0
        np.testing.assert_array_equal(in_parallel, found)
    for name, place, value in (("b", 0, 1), ("c", 1, -1)):  # an index outside its table, offsets that fall
        before = batch[name][place][70 % len(batch[name][place])]
        batch[name][place][70 % len(batch[name][place])] = value
        for kernel in (reference.reduce_coded_features, cpu.reduce_coded_features):
            assert kernel(found, table, halves, features, like, 0, 0, num_bags) == NAMES.index(name)
        batch[name][place][70 % len(batch[name][place])] = before


@pytest.mark.parametrize(("ids", "wide"), [(np.int64, np.int64), (np.int32, np.int32), (np.int32, np.int64)])
@pytest.mark.parametrize("is_single", [True, False])
@pytest.mark.parametrize("fault", [None, "index", "offsets"])
def test_gathering_matches_the_reference(ids, wide, is_single, fault):
    sizes, num_bags = [9, 1, 30], 50
    batch = {name: ragged(size, num_bags, ids) for name, size in zip(NAMES, sizes, strict=True)}
    if is_single:
        batch = {
            n: (rng.integers(0, s, num_bags).astype(ids), np.arange(num_bags + 1))
            for n, s in zip(NAMES, sizes, strict=True)
        }
    if fault == "index":
        for name in "bc":
            batch[name][0][-1] = -1
    elif fault == "offsets":
        batch["c"][1][30] = -1
    features, like, _, num_lookups, _ = _features.columns(batch, NAMES, told(sizes, [0, NO_PADDING, 29]))
    places = np.arange(3) if is_single else np.cumsum(features[:, 1]) - features[:, 1]
    expected, found, in_parallel = (
        (np.full(num_lookups, -7, wide), np.full(0 if is_single else 3 * num_bags, -7)) for _ in range(3)
    )
    rest = features, places, 3 if is_single else 1, like, 0, num_bags
    status = reference.gather(*expected, *rest)
    assert status == {None: -1, "index": 1, "offsets": 2}[fault]
    assert cpu.gather(*found, *rest) == status
    assert (cpu.parallel_gather(*in_parallel, *rest, 4) == 0) == (fault is None)
    if fault is None:
        for one, other, third in zip(found, expected, in_parallel, strict=True):
            np.testing.assert_array_equal(one, other)
            np.testing.assert_array_equal(third, other)


def test_single_lookups_that_are_not_one_a_bag_are_left_to_the_usual_way():
    batch = {"a": np.zeros((4, 1), int), "b": (np.zeros(4, int), np.array([0, 2, 2, 3, 4]))}
    assert gather(batch, ["a", "b"], told([1, 1], [NO_PADDING] * 2), False) is None
    assert gather({"a": batch["a"]}, ["a"], told([1], [NO_PADDING]), True)[0].tolist() == [0, 0, 0, 0]


def test_join_matches_the_reference():
    for dtype, dim in ((np.float64, 1), (np.float64, 9), (np.float32, 20), (np.float32, 33)):
        whole = rng.standard_normal((70, 4 * dim)).astype(dtype)
        parts = [
            whole[:, dim : 2 * dim],
            whole[::-1, :dim],
            np.broadcast_to(whole[3, :dim], (70, dim)),
            whole[:, -dim:],
        ]
        pieces = np.array([(part.__array_interface__["data"][0], part.strides[0]) for part in parts])
        for axis in (0, 1):
            expected, found = np.zeros((4, 70, dim), dtype), np.zeros((70, 4, dim), dtype)
            target = found if axis else expected.transpose(1, 0, 2)
            cpu.join(target, pieces, 3, 60)
            reference.join(expected.transpose(1, 0, 2) if axis else found, pieces, 3, 60)
            np.testing.assert_array_equal(found, expected.transpose(1, 0, 2))
            np.testing.assert_array_equal(found[3:60], np.stack(parts, axis=1)[3:60])
            assert not found[:3].any() and not found[60:].any()


@pytest.mark.parametrize("by_sample", [True, False])
def test_join_is_stack(by_sample):
    pieces = [rng.standard_normal((3000, 8)) for _ in range(3)]
    for each in (pieces, [pieces[0].astype(np.float32), *pieces[1:]], [piece[:, ::2] for piece in pieces]):
        found = join(each, by_sample)
        np.testing.assert_array_equal(found, np.stack(each, axis=int(by_sample)))
    assert not np.shares_memory(join(pieces[:1], by_sample), pieces[0])


@pytest.mark.parametrize("by_sample", [True, False])
def test_as_one_is_join_in_place(by_sample):
    whole = rng.standard_normal((3000, 160)).astype(np.float32)
    memory = rng.standard_normal(400_000).astype(np.float32)
    apart = [memory[place : place + 96_000].reshape(3000, 32) for place in (200_004, 8, 100_000)]
    repeated = np.broadcast_to(whole[3, :32], (3000, 32))
    for pieces in (apart, [whole[:, :32], whole[:, 41:73]], [repeated, whole[:, 3:35]]):
        rows, places = as_one(pieces, by_sample)
        np.testing.assert_array_equal(rows[places], join(pieces, by_sample).reshape(-1, 32))
        assert np.shares_memory(pieces[0], rows) and rows.flags.writeable
        assert rows.base.pieces is pieces  # which are kept alive


def test_what_is_not_one_in_place():
    piece = rng.standard_normal((3000, 16))
    for pieces in (
        [piece[:100]],
        [piece, piece.astype(np.float32)],
        [piece, piece[::-1]],
        [np.repeat(piece, 2, axis=1)[:, ::2]] * 3,
        [np.broadcast_to(piece[0], piece.shape)] * 3,
        [piece.astype(np.float16)] * 9,
        [piece[:, :15]] * 3,
    ):
        assert as_one(pieces, True) is None


@pytest.mark.parametrize("length", [1, 3])
@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_a_step_by_gradients_in_place_is_one_by_joined_gradients(length, mode):
    num_bags, names = 600, list(TABLES)[:3]
    batch = {name: rng.integers(0, TABLES[name][0], (num_bags, length)) for name in names}
    tables = {name: (TABLES[name][0], 36) for name in names}
    whole = rng.standard_normal((num_bags, 3 * 36)).astype(np.float32)
    columns = {name: whole[:, 36 * n : 36 * n + 36] for n, name in enumerate(names)}
    memory = np.empty(3 * (whole.size // 3 + 4), np.float32)
    apart = {}
    for part, name in zip(memory.reshape(3, -1), names, strict=True):  # from row to row 16 bytes would do
        apart[name] = part[4:].reshape(num_bags, 36)
        apart[name][:] = columns[name]
    compiled = kernels("cpu", "updates").step.overloads, kernels("cpu", "updates").parallel_step.overloads
    found, counts = [], []
    for given in (whole, columns, apart):
        twin = EmbeddingBagCollection(tables, mode=mode, seed=0, optimizer=optim.Adagrad(lr=0.1))
        for _ in range(2):
            twin(batch)
            twin.backward(given)
        found.append(twin.weights)
        counts.append(list(map(len, compiled)))
    for name in names:
        np.testing.assert_array_equal(found[1][name], found[0][name])
        np.testing.assert_array_equal(found[2][name], found[0][name])
    assert counts[2] == counts[0]


def layer(**options):
    return EmbeddingBagCollection(TABLES, **{"dtype": "float64", "seed": 0, **options})


def columns():
    return {name: ragged(rows, B) for name, (rows, _) in TABLES.items()}


ONE = {name: rng.integers(0, rows, B) for name, (rows, _) in TABLES.items()}
TWO = {name: rng.integers(0, rows, (B, 2 + len(name))) for name, (rows, _) in TABLES.items()}
BATCHES = {"pairs": columns(), "one": ONE, "two": TWO, "mixed": {**columns(), "b": ONE["b"], "c": TWO["c"]}}


def is_served(layer, batch):
    return all(arena.serve(batch) is not None for arena in layer.arenas)


@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES)
@pytest.mark.parametrize("options", [{}, {"padding_idx": 0}, {"mode": "mean", "output": "concatenate"}])
def test_inference_gives_what_training_gives(batch, options):
    bags = layer(**options)
    wanted = bags(batch)
    bags.eval()
    assert is_served(bags, batch)
    found = bags(batch)
    if options.get("output") == "concatenate":
        np.testing.assert_allclose(found, wanted, atol=1e-12)
    else:
        assert list(found) == list(wanted)
        for name, rows in wanted.items():
            np.testing.assert_allclose(found[name], rows, atol=1e-12)


def test_any_number_of_threads():
    bags = layer().eval()
    batch = {name: ragged(rows, 5000) for name, (rows, _) in TABLES.items()}
    found = []
    for threads in (1, 2, 3):
        with num_threads(threads):
            found.append(bags(batch))
    for name in TABLES:
        np.testing.assert_array_equal(found[0][name], found[1][name])
        np.testing.assert_array_equal(found[0][name], found[2][name])


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def test_read_only_columns_are_read():
    batch = {name: (read_only(values), read_only(offsets)) for name, (values, offsets) in BATCHES["pairs"].items()}
    assert is_served(layer(), batch)


@pytest.mark.parametrize(
    "column",
    [
        [1, 2, 3, 4, 5],
        ONE["a"].astype(np.int32),
        ONE["a"].astype(np.uint64),
        ONE["a"].astype(float),
        np.repeat(ONE["a"], 2)[::2],
        ONE["a"][:4],
        np.zeros((B, 0), np.int64),
        np.zeros((B, 1, 1), np.int64),
        (ONE["a"], [0, 1, 2, 3, 4, 5]),
        (ONE["a"], np.arange(B)),
        (ONE["a"], np.arange(1, B + 2)),
        (ONE["a"], np.arange(B + 1).astype(np.int32)),
        (ONE["a"], np.zeros(0, np.int64)),
        (ONE["a"],),
        np.full(B, 40),
        np.full(B, -1),
        (ONE["a"], np.array([0, 3, 1, 3, 4, 5])),
        None,
    ],
)
def test_other_columns_give_way(column):
    batch = {**ONE, "a": column}
    assert layer().arenas[0].serve(batch) is None


def test_other_layers_give_way():
    bags = layer(on_invalid="clip")
    assert not is_served(bags, ONE)
    bags = layer(optimizer=optim.SGD(lr=0.1, weight_decay=0.1, decay="exact"))
    assert not is_served(bags, ONE)
    assert plain_features(np.zeros((1, 1)), {}, ["a"], told([1], [NO_PADDING]), "sum") is None


@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES)
@pytest.mark.parametrize("kind", [{"bits": 8}, {"bits": 4}, {"dtype": "float16"}, {"dtype": "bfloat16"}], ids=str)
def test_quantized_tables_are_served(batch, kind):
    bags = layer(mode="mean", padding_idx=0).quantize(**kind)
    assert is_served(bags, batch)
    found = bags(batch)
    given = bags(
        {
            name: (list(column[0]), column[1]) if isinstance(column, tuple) else column.tolist()
            for name, column in batch.items()
        }
    )
    for name, rows in found.items():
        assert rows.dtype == np.float32
        np.testing.assert_allclose(rows, given[name], rtol=1e-6, atol=1e-6)
    empty = bags({name: np.zeros(0, np.int64) for name in TABLES})
    assert {name: rows.shape for name, rows in empty.items()} == {name: (0, dim) for name, (_, dim) in TABLES.items()}
    with pytest.raises(IndexError, match=r"feature 'c': indices must be in .*90"):
        bags({**ONE, "c": np.full(B, 90)})


@pytest.mark.parametrize("value", [40, -1])
def test_errors_are_those_of_training(value):
    bags = layer().eval()
    batch = {**BATCHES["pairs"], "a": (np.array([3, value]), np.array([0, 0, 1, 2, 2, 2]))}
    with pytest.raises(IndexError, match=rf"feature 'a': .*{value}"):
        bags(batch)
    with pytest.raises(ValueError, match=r"feature 'wide' must have 5 rows as those before, got 4"):
        bags({**ONE, "wide": ONE["wide"][:4]})
