"""Collections of quantized tables: what an EmbeddingBag's small table gives for each feature, in one call."""

import pickle

import numpy as np
import pytest

from fastemb import EmbeddingBag, EmbeddingBagCollection, optim
from fastemb.layers.quantized_collection import QuantizedEmbeddingBagCollection

TABLES = {"user": (12, 8), "item": (20, 8), "city": (7, 5)}
FEATURES = {"user": "user", "clicked": "item", "home": "city", "bought": "item"}
RAGGED = {"user": [1, 2, 3], "clicked": [[4, 4, 5], [], [19]], "home": [[0], [6, 6], [2]], "bought": [[4], [1], [0]]}
SINGLE = {"user": [0, 2, 11], "clicked": [4, 7, 5], "home": [1, 6, 2], "bought": [3, 3, 3]}
KINDS = [{"bits": 8}, {"bits": 4}, {"dtype": "float16"}, {"dtype": "bfloat16"}, {}]


def collection(**options):
    return EmbeddingBagCollection(TABLES, features=FEATURES, **{"seed": 0, "mode": "mean", **options})


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(next(iter(kind.values()), "default")))
@pytest.mark.parametrize("output", ["dict", "concatenate"])
def test_features_one_by_one(kind, output):
    layer = collection(output=output, padding_idx={"item": 3})
    small = layer.quantize(**kind)
    assert len(small.arenas) == 2
    weights = {name: [np.full(np.size(bag), 1.5).tolist() for bag in column] for name, column in RAGGED.items()}
    tables = {
        name: EmbeddingBag(*weight.shape, mode="mean", W=weight, padding_idx=3 if name == "item" else None).quantize(
            **kind
        )
        for name, weight in layer.weights.items()
    }
    for batch, given in ((RAGGED, None), (SINGLE, None), (RAGGED, weights)):
        found = small(batch, given)
        expected = {
            name: tables[FEATURES[name]](
                [np.atleast_1d(bag).tolist() for bag in column], per_sample_weights=given and given[name]
            )
            for name, column in batch.items()
        }
        if output == "concatenate":
            np.testing.assert_array_equal(found, np.concatenate(list(expected.values()), axis=1))
        else:
            assert list(found) == list(FEATURES)
            for name, rows in found.items():
                assert rows.dtype == np.float32
                np.testing.assert_array_equal(rows, expected[name])
    for name, values in small.dequantize().items():
        np.testing.assert_array_equal(values, tables[name].dequantize())
        np.testing.assert_array_equal(small.tables[name], tables[name].table)
    assert small.nbytes == sum(table.nbytes for table in tables.values())


def test_frames_and_arrow_batches():
    pa = pytest.importorskip("pyarrow", reason="the batches are its")
    pd = pytest.importorskip("pandas", reason="the data frame is its")
    small = collection().quantize()
    expected = small(RAGGED)
    arrays = {name: pa.array(column) for name, column in RAGGED.items()}
    for batch in (pa.table(arrays), pa.record_batch(arrays), pd.DataFrame({**RAGGED, "label": 0})):
        for name, rows in small(batch).items():
            np.testing.assert_array_equal(rows, expected[name])


def test_state_and_copies():
    first, second = collection().quantize(bits=4), collection(seed=1).quantize(bits=4)
    state = first.state_dict()
    assert {name: table.dtype.name for name, table in state.items()} == {f"{name}.table": "uint8" for name in TABLES}
    second.load_state_dict(state)
    for copied in (second, pickle.loads(pickle.dumps(first))):
        np.testing.assert_array_equal(copied(RAGGED)["clicked"], first(RAGGED)["clicked"])
    with pytest.raises(KeyError, match="state_dict must have the names"):
        second.load_state_dict({})
    with pytest.raises(TypeError, match=r"user.table must be of dtype uint8, got float32"):
        second.load_state_dict({**state, "user.table": np.zeros((12, 8), np.float32)})
    with pytest.raises(ValueError, match=r"user.table must be of shape \(12, 8\), got \(3, 8\)"):
        second.load_state_dict({**state, "user.table": np.zeros((3, 8), np.uint8)})


def test_rows_are_what_lookups_find():
    layer = collection(max_norm={"item": 0.5}, optimizer=optim.SGD(lr=0.1, weight_decay=0.1, decay="exact"))
    layer(SINGLE)
    layer.backward({name: np.ones((3, TABLES[table][1]), np.float32) for name, table in FEATURES.items()})
    small = layer.quantize(dtype="float16")
    assert np.linalg.norm(small.dequantize()["item"], axis=1).max() < 0.501
    for name, rows in layer(RAGGED).items():
        np.testing.assert_allclose(small(RAGGED)[name], rows, atol=5e-3)


def test_mistakes():
    layer = collection(mode={"city": "max"}, on_invalid={"city": "hash"})
    layer.weights["item"][4, 1] = np.nan
    with pytest.raises(ValueError, match=r"table 'item': weight must be finite .* got nan at position \(4, 1\)"):
        layer.quantize()
    with pytest.raises(ValueError, match="bits or dtype must be given, not both"):
        layer.quantize(bits=8, dtype="float16")
    layer.weights["item"][4, 1] = 0
    small = layer.quantize()
    assert isinstance(small, QuantizedEmbeddingBagCollection)
    assert repr(small).startswith("QuantizedEmbeddingBagCollection({'user': (12, 8), 'item': (20, 8), 'city': (7, 5)}")
    small({**SINGLE, "home": [100, -1, 5]})
    with pytest.raises(IndexError, match=r"feature 'bought': indices must be in \[0, 20\), got 20"):
        small({**SINGLE, "bought": [20, 0, 0]})
    with pytest.raises(RuntimeError, match="a quantized table is for inference"):
        small.train()
    with pytest.raises(RuntimeError, match="a quantized table is for inference"):
        small.backward({})
    assert small.eval() is small is small.train(False) and small.parameters() == []
