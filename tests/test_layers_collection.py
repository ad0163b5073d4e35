"""EmbeddingBagCollection: what its bags are one by one, in every form of a batch."""

import copy
import pickle

import numpy as np
import pytest

from fastemb import EmbeddingBag, EmbeddingBagCollection, optim
from fastemb.layers import regularizers

TABLES = {"user": (30, 4), "item": (50, 4), "city": (7, 3)}
FEATURES = {"user": "user", "clicked": "item", "home": "city", "bought": "item"}
B = 5


def ragged(seed, high):
    random = np.random.default_rng(seed)
    return [random.integers(0, high, n).tolist() for n in random.integers(0, 4, B)]


def rectangles():
    random = np.random.default_rng(0)
    return {
        "user": random.integers(0, 30, B),
        "clicked": random.integers(0, 50, (B, 3)),
        "home": random.integers(0, 7, (B, 1)),
        "bought": random.integers(0, 50, (B, 2)),
    }


def lists():
    batch = {name: ragged(n, TABLES[table][0]) for n, (name, table) in enumerate(FEATURES.items())}
    return {**batch, "user": rectangles()["user"]}


def as_lists(batch):
    return {name: [np.atleast_1d(row).tolist() for row in column] for name, column in batch.items()}


BATCHES = {
    "rectangles": rectangles(),
    "one": {name: c.reshape(B, -1)[:, 0] for name, c in rectangles().items()},
    "lists": lists(),
}


def collection(**options):
    return EmbeddingBagCollection(TABLES, features=FEATURES, **{"dtype": "float64", "seed": 0, **options})


def one_by_one(layer, **options):
    tables = layer.weights
    return {
        name: EmbeddingBag(*TABLES[t], mode=layer.mode, W=tables[t].copy(), **options) for name, t in FEATURES.items()
    }


def grads():
    random = np.random.default_rng(3)
    return {name: random.standard_normal((B, TABLES[table][1])) for name, table in FEATURES.items()}


def dense(layer):
    return {name: layer.grad[name].to_dense(TABLES[name][0]) for name in TABLES}


def dense_one_by_one(bags):
    total = {name: np.zeros(shape) for name, shape in TABLES.items()}
    for name, bag in bags.items():
        total[FEATURES[name]] += bag.grad.to_dense(bag.num_embeddings)
    return total


@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES)
@pytest.mark.parametrize("mode", ["sum", "mean", "sqrtn", "max", "min"])
@pytest.mark.parametrize("padding_idx", [None, 0])
def test_bags_one_by_one(batch, mode, padding_idx):
    layer = collection(mode=mode, padding_idx=padding_idx)
    bags = one_by_one(layer, padding_idx=padding_idx)
    found = layer(batch)
    assert list(found) == list(FEATURES)
    for name, column in as_lists(batch).items():
        np.testing.assert_allclose(found[name], bags[name](column), atol=1e-12)
    grad = grads()
    assert layer.backward(grad) is None
    for name, bag in bags.items():
        bag.backward(grad[name])
    expected = dense_one_by_one(bags)
    for name, gradient in dense(layer).items():
        np.testing.assert_allclose(gradient, expected[name], atol=1e-12)


@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES)
def test_side_by_side(batch):
    apart, joined = collection(), collection(output="concatenate")
    found, grad = apart(batch), grads()
    np.testing.assert_array_equal(joined(batch), np.concatenate([found[name] for name in FEATURES], axis=1))
    apart.backward(grad)
    joined.backward(np.concatenate([grad[name] for name in FEATURES], axis=1))
    for name, gradient in dense(joined).items():
        np.testing.assert_array_equal(gradient, dense(apart)[name])


def test_tables_of_one_width_side_by_side():
    tables = {"a": (5, 2), "b": (6, 2)}
    batch = {"a": np.array([1, 2, 3]), "b": np.array([5, 0, 1])}
    layer = EmbeddingBagCollection(tables, output="concatenate", seed=0)
    out = layer(batch)
    np.testing.assert_array_equal(out, np.concatenate([layer.weights[n][batch[n]] for n in "ab"], axis=1))
    grad = np.arange(12.0, dtype=np.float32).reshape(3, 4)
    layer.backward(grad)
    kept = layer.grad["b"]
    assert kept.rows.tolist() == [0, 1, 5]
    np.testing.assert_array_equal(kept.collect(), grad[[1, 2, 0], 2:])
    layer(batch)
    layer.zero_grad()
    layer.backward(grad)
    grad[:] = 0
    assert layer.grad["b"].collect().any()


def test_weights_of_samples():
    batch = BATCHES["lists"]
    random = np.random.default_rng(4)
    weights = {name: [random.random(np.size(row)).tolist() for row in column] for name, column in batch.items()}
    weights["user"] = np.arange(1.0, B + 1)
    layer = collection(mode="mean")
    bags = one_by_one(layer)
    found, grad = layer(batch, weights), grads()
    of_weights = layer.backward(grad)
    assert list(of_weights) == list(FEATURES)
    for name, column in as_lists(batch).items():
        listed = [np.atleast_1d(w).tolist() for w in weights[name]]
        np.testing.assert_allclose(found[name], bags[name](column, per_sample_weights=listed))
        np.testing.assert_allclose(of_weights[name], bags[name].backward(grad[name]), atol=1e-12)
    expected = dense_one_by_one(bags)
    for name, gradient in dense(layer).items():
        np.testing.assert_allclose(gradient, expected[name], atol=1e-12)
    with pytest.raises(ValueError, match="per_sample_weights do not go with mode='max'"):
        collection(mode="max")(batch, weights)


@pytest.mark.parametrize("make", [optim.SGD, optim.Adagrad, optim.Adam])
def test_fused_is_collected(make):
    fused, collected = collection(optimizer=make(lr=0.1)), collection()
    optimizer = make(collected.parameters(), lr=0.1)
    start = {name: table.copy() for name, table in fused.weights.items()}
    for batch in BATCHES.values():
        fused(batch)
        fused.backward(grads())
        collected(batch)
        collected.backward(grads())
        optimizer.step()
        optimizer.zero_grad()
    for name, table in fused.weights.items():
        np.testing.assert_allclose(table, collected.weights[name], rtol=1e-12)
        assert (table != start[name]).any()


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
@pytest.mark.parametrize("name", ["SGD", "Adagrad"])
def test_steps_are_torchs(name):
    torch = pytest.importorskip("torch", reason="torch is the oracle")
    layer = collection(optimizer=getattr(optim, name)(lr=0.1))
    modules = {
        name: torch.nn.EmbeddingBag(*table.shape, mode="sum", sparse=True, _weight=torch.tensor(table))
        for name, table in layer.weights.items()
    }
    optimizer = getattr(torch.optim, name)([module.weight for module in modules.values()], lr=0.1)
    grad = grads()
    for batch in BATCHES.values():
        layer(batch)
        layer.backward(grad)
        optimizer.zero_grad()
        outputs = []
        for feature, column in as_lists(batch).items():
            starts = torch.tensor(np.cumsum([0, *map(len, column)])[:-1])
            flat = torch.tensor([index for bag in column for index in bag], dtype=torch.int64)
            outputs.append(modules[FEATURES[feature]](flat, starts))
        torch.autograd.backward(outputs, [torch.tensor(grad[feature]) for feature in batch])
        optimizer.step()
    for name, module in modules.items():
        np.testing.assert_allclose(layer.weights[name], module.weight.detach().numpy(), atol=1e-12)


def test_arrow_batches():
    pa = pytest.importorskip("pyarrow", reason="the batches are its")
    batch = BATCHES["lists"]
    arrays = {name: pa.array(column) for name, column in batch.items()}
    layer = collection()
    expected = layer(batch)
    large = {name: array.cast(pa.large_list(pa.int32())) for name, array in arrays.items() if name != "user"}
    padded = pa.concat_tables([pa.table(arrays), pa.table(arrays)]).slice(B)
    for columns in (pa.record_batch(arrays), pa.table(arrays), arrays, {**arrays, **large}, padded):
        for name, rows in layer(columns).items():
            np.testing.assert_array_equal(rows, expected[name])


def test_pandas_data_frames():
    pd = pytest.importorskip("pandas", reason="the data frame is its")
    batch = BATCHES["lists"]
    layer = collection()
    frame = pd.DataFrame({**batch, "label": 0.5})
    for name, rows in layer(frame).items():
        np.testing.assert_array_equal(rows, layer(batch)[name])


def test_polars_data_frames():
    """What is asked of one: its columns' names, and each as an Arrow array."""
    pa = pytest.importorskip("pyarrow", reason="the columns are its")

    class Series:
        def __init__(self, values):
            self.values = values

        def to_arrow(self):
            return pa.array(self.values)

    frame = type(
        "DataFrame", (), {"columns": list(FEATURES), "__getitem__": lambda self, name: Series(lists()[name])}
    )()
    for name, rows in collection()(frame).items():
        np.testing.assert_array_equal(rows, collection()(lists())[name])


def test_pairs_of_values_and_offsets():
    batch, layer = BATCHES["lists"], collection()
    pairs = {
        name: (np.concatenate(rows).astype(np.int16), np.cumsum([0, *map(len, rows)]))
        for name, rows in as_lists(batch).items()
    }
    for name, rows in layer(pairs).items():
        np.testing.assert_array_equal(rows, layer(batch)[name])


def test_pairs_of_one_index_a_sample():
    layer, offsets = collection(output="concatenate"), np.arange(B + 1)
    pairs = {name: (column, offsets) for name, column in BATCHES["one"].items()}
    np.testing.assert_array_equal(layer(pairs), layer(BATCHES["one"]))
    pairs["home"] = (pairs["home"][0], np.array([0, 0, 2, 3, 4, 5]))
    first, second = BATCHES["one"]["home"][:2]
    np.testing.assert_allclose(layer(pairs)[1, 8:11], layer.weights["city"][[first, second]].sum(axis=0))


def test_frozen_tables():
    layer = collection(freeze=["item"], optimizer=optim.SGD(lr=0.1))
    start = {name: table.copy() for name, table in layer.weights.items()}
    layer(BATCHES["rectangles"])
    layer.backward(grads())
    changed = {name: bool((table != start[name]).any()) for name, table in layer.weights.items()}
    assert changed == {"user": True, "item": False, "city": True}
    frozen = collection(freeze=True)
    frozen(BATCHES["rectangles"])
    assert frozen.parameters() == []
    with pytest.raises(RuntimeError, match="all tables are frozen"):
        frozen.backward(grads())
    whole = collection(freeze=["city"])
    whole(BATCHES["rectangles"])
    whole.backward(grads())
    assert sorted(whole.grad) == ["item", "user"]


@pytest.mark.parametrize("on_invalid", ["clip", "pad", "hash"])
@pytest.mark.parametrize("padding_idx", [None, {"item": 1}])
def test_invalid_indices_by_policy(on_invalid, padding_idx):
    layer = collection(on_invalid=on_invalid, padding_idx=padding_idx)
    bags = {
        name: EmbeddingBag(
            *TABLES[t],
            mode="sum",
            W=layer.weights[t].copy(),
            on_invalid=on_invalid,
            padding_idx=1 if padding_idx and t == "item" else None,
        )
        for name, t in FEATURES.items()
    }
    for batch in BATCHES.values():
        wrong = as_lists(batch)
        wrong["clicked"][2] = [50, -1, 1000, 1]
        wrong["home"][0] = [7]
        for name, rows in layer(wrong).items():
            np.testing.assert_allclose(rows, bags[name](wrong[name]), atol=1e-12)
    block = {name: np.full((B, 2), 1000) for name in FEATURES}
    for name, rows in layer(block).items():
        np.testing.assert_allclose(rows, bags[name](block[name]), atol=1e-12)


def test_initial_numbers():
    layer = collection(
        embeddings_initializer={"user": "ones", "city": np.full((7, 3), 2.0)}, padding_idx={"user": 1, "city": 1}
    )
    weights = layer.weights
    assert weights["user"][:, 0].tolist() == [1.0, 0.0] + [1.0] * 28
    assert (weights["city"] == 2).all()
    assert abs(weights["item"].std() - 1) < 0.3
    layer.weights["user"][:] = 5
    assert layer({**BATCHES["one"]})["user"].tolist() == [[5.0] * 4] * B


def test_state_and_copies():
    layer = collection(optimizer=optim.Adagrad(lr=0.1))
    other = collection(seed=1)
    other.load_state_dict(layer.state_dict())
    np.testing.assert_array_equal(other.weights["item"], layer.weights["item"])
    with pytest.raises(
        KeyError, match=r"state_dict must have the names \['city.weight', 'item.weight', 'user.weight'\]"
    ):
        other.load_state_dict({})
    batch = BATCHES["lists"]
    layer(batch)
    for twin in (pickle.loads(pickle.dumps(layer)), copy.deepcopy(layer)):
        twin(batch)
        twin.backward(grads())
    layer.backward(grads())
    np.testing.assert_array_equal(twin.weights["user"], layer.weights["user"])


def test_shared_memory():
    layer = collection(storage="shared")
    twin = pickle.loads(pickle.dumps(layer))
    layer.weights["user"][3] = 9
    assert (twin.weights["user"][3] == 9).all()


def test_bfloat16():
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="it makes bfloat16 of NumPy's")
    layer = collection(dtype="bfloat16", output="concatenate")
    assert layer(BATCHES["lists"]).dtype == ml_dtypes.bfloat16
    layer.backward(np.ones((B, 15), np.float32))
    assert layer.weights["city"].dtype == ml_dtypes.bfloat16


def test_penalty_and_constraint():
    layer = collection(embeddings_regularizer="l2", embeddings_constraint="non_neg", optimizer=optim.SGD(lr=0.1))
    assert layer.regularization() == pytest.approx(sum(0.01 * (table**2).sum() for table in layer.weights.values()))
    layer(BATCHES["one"])
    layer.backward(grads())
    assert (layer.weights["user"][BATCHES["one"]["user"]] >= 0).all()
    penalties = {name: regularizers.l2(0.5) for name in layer.weights}  # the same one for all
    assert len(collection(embeddings_regularizer=penalties).arenas) == len(layer.arenas)


def test_evaluation_remembers_nothing():
    layer = collection().eval()
    layer(BATCHES["one"])
    with pytest.raises(RuntimeError, match="backward needs a forward"):
        layer.backward(grads())


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"home": [[1], [2, 7], [], [], []]},
            IndexError,
            r"feature 'home': indices must be in \[0, 7\), got 7 at position \(1, 1\)",
        ),
        ({"home": [[1], [2, -1], [], [], []]}, IndexError, r"feature 'home': .* got -1 at position \(1, 1\)"),
        (
            {"clicked": np.full((B, 2), 50)},
            IndexError,
            r"feature 'clicked': indices must be in \[0, 50\), got 50 at position \(0, 0\)",
        ),
        ({"clicked": np.array([1, 2, 3, -5, 4])}, IndexError, r"feature 'clicked': .* got -5 at position \(3, 0\)"),
        ({"clicked": np.ones((B, 2))}, TypeError, "feature 'clicked': input must be integers, got float64"),
        ({"clicked": [[1]] * (B + 1)}, ValueError, "feature 'clicked' must have 5 rows as 'user' has, got 6"),
        ({"home": [[1]] * (B + 1)}, ValueError, "feature 'home' must have 5 rows as those before, got 6"),
        ({"home": ([1, 2], [0, 2, 1, 1, 2, 2])}, ValueError, "feature 'home': offsets must not fall, got 1 after 2"),
    ],
)
def test_wrong_batches(change, error, message):
    with pytest.raises(error, match=message):
        collection()({**BATCHES["rectangles"], **change})


@pytest.mark.parametrize("output", ["dict", "concatenate"])
@pytest.mark.parametrize("column", [[], np.zeros(0, int), np.zeros((0, 3), int), (np.zeros(0, int), np.zeros(1, int))])
@pytest.mark.parametrize("tables", [{"a": (5, 2), "b": (6, 2)}, {"a": (5, 2), "b": (6, 3)}])
def test_a_batch_of_no_rows(output, column, tables):
    layer = EmbeddingBagCollection(tables, output=output, optimizer=optim.SGD(lr=1.0), seed=0)
    before = {name: table.copy() for name, table in layer.weights.items()}
    out = layer(dict.fromkeys(tables, column))
    shapes = [rows.shape for rows in out.values()] if output == "dict" else [out.shape]
    widths = [width for _, width in tables.values()]
    assert shapes == [(0, width) for width in (widths if output == "dict" else [sum(widths)])]
    layer.backward(out)
    for name, table in layer.weights.items():
        np.testing.assert_array_equal(table, before[name])


def test_wrong_columns():
    batch = dict(BATCHES["one"])
    del batch["home"]
    with pytest.raises(KeyError, match="batch must have a feature 'home', got 'user', 'clicked', 'bought'"):
        collection()(batch)
    with pytest.raises(TypeError, match="batch must be a dict, a data frame or an Arrow batch, got list"):
        collection()([1])
    with pytest.raises(KeyError, match="per_sample_weights must have a feature 'user', got 'home'"):
        collection()(BATCHES["one"], {"home": [1.0] * B})
    pa = pytest.importorskip("pyarrow", reason="the column is its")
    with pytest.raises(TypeError, match="feature 'user': input must hold no null among its integers, got 1"):
        collection()({**BATCHES["one"], "user": pa.array([1, None, 2, 3, 4])})


def test_wrong_gradients():
    layer = collection()
    layer(BATCHES["one"])
    with pytest.raises(KeyError, match="grad_output must have the feature 'user', got 'home'"):
        layer.backward({"home": 0})
    with pytest.raises(ValueError, match=r"grad_output\['user'\] must have shape \(5, 4\), got \(5, 3\)"):
        layer.backward({**grads(), "user": np.ones((B, 3))})
    with pytest.raises(ValueError, match=r"grad_output must have shape \(5, 15\), got \(5, 3\)"):
        layer.backward(np.ones((B, 3)))
    layer.backward(grads())


@pytest.mark.parametrize(
    ("tables", "options", "error", "message"),
    [
        ({"a": 3}, {}, TypeError, r"tables\['a'\] must be \(num_embeddings, embedding_dim\), got 3"),
        ({"a": (3, 0)}, {}, ValueError, "embedding_dim of 'a' must be an integer >= 1, got 0"),
        ({}, {}, ValueError, "features must name at least one"),
        ({"a": (3, 2)}, {"features": {"x": "b"}}, ValueError, "the table of feature 'x' must be one of 'a', got 'b'"),
        ([(3, 2)], {}, TypeError, "tables must be a dict from names to shapes, got list"),
        ({"a": (3, 2)}, {"optimizer": "sgd"}, TypeError, "optimizer must be an optimizer of fastemb.optim"),
        ({"a": (3, 2)}, {"freeze": ["b"]}, ValueError, "freeze must be a bool, or names of tables"),
        ({"a": (3, 2)}, {"freeze": "a"}, ValueError, "freeze must be a bool, or names of tables"),
        ({"a": (3, 2)}, {"output": "stack"}, ValueError, "output must be one of 'dict', 'concatenate'"),
        ({"a": (3, 2)}, {"storage": "file.npy"}, ValueError, "storage must be 'shared', the path of a folder"),
        ({"a": (3, 2)}, {"padding_idx": 3}, ValueError, "table 'a': padding_idx must be an integer"),
        ({"a": (3, 2)}, {"max_norm": -1}, ValueError, "table 'a': max_norm must be a finite number >= 0, got -1"),
        ({"a": (3, 2)}, {"mode": {"b": "max"}}, ValueError, "a table of mode must be one of 'a', got 'b'"),
        ({"a": (3, 2)}, {"mode": "median"}, ValueError, "table 'a': mode must be one of"),
        ({"a": (3, 2)}, {"lora_rank": 0}, ValueError, "lora_rank must be an integer >= 1, got 0"),
        ({"a": (3, 2)}, {"lora_rank": 1, "mode": "max"}, ValueError, "lora needs a mode that sums, got 'max'"),
        ({"a": (3, 2)}, {"lora_rank": 1, "embeddings_constraint": "non_neg"}, ValueError, "lora is incompatible with"),
        ({"a": (3, 2)}, {"W": np.zeros((3, 2))}, TypeError, "W must be a dict from tables' names to arrays"),
        ({"a": (3, 2)}, {"W": {"a": np.zeros((2, 2))}}, ValueError, r"table 'a': W must be of shape .* got \(2, 2\)"),
        (
            {"a": (3, 2)},
            {"embeddings_initializer": {"a": np.ones(2)}},
            ValueError,
            "table 'a': embeddings_initializer must give an array",
        ),
        ({"../a": (3, 2)}, {"storage": "folder"}, ValueError, "table '../a' cannot be a file of its name"),
        (
            {"a": (3, 2)},
            {"freeze": True, "optimizer": optim.SGD()},
            ValueError,
            "nothing to change: freeze names all tables",
        ),
        (
            {"a": (3, 2), "b": (3, 2)},
            {"freeze": ["a"], "optimizer": {"a": optim.SGD()}},
            ValueError,
            "nothing to change: freeze names table 'a'",
        ),
        ({"a": (3, 2)}, {"freeze": {"a": [True]}}, ValueError, r"table 'a': freeze must be .* of shape \(3,\)"),
        (
            {"a": (3, 2)},
            {"storage": {"a": 3}},
            TypeError,
            "storage must be 'shared' or the path of an .npy file, got 3",
        ),
    ],
)
def test_wrong_arguments(tables, options, error, message):
    with pytest.raises(error, match=message):
        EmbeddingBagCollection(tables, **options)
