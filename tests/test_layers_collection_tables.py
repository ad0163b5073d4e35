"""EmbeddingBagCollection: what each of its tables can do is what an EmbeddingBag can do."""

import copy
import pickle

import numpy as np
import pytest

from fastemb import EmbeddingBag, EmbeddingBagCollection, optim

TABLES = {"user": (12, 3), "item": (20, 3), "city": (7, 3)}
FEATURES = {"user": "user", "clicked": "item", "home": "city", "bought": "item"}
BATCHES = [
    {"user": [1, 2, 3], "clicked": [[4, 4, 5], [], [19]], "home": [[0], [6, 6], [2]], "bought": [[4], [1, 2], [0]]},
    {"user": [0, 2, 11], "clicked": [4, 7, 5], "home": [1, 6, 2], "bought": [3, 3, 3]},
]
B = 3


def collection(features=FEATURES, tables=TABLES, **options):
    return EmbeddingBagCollection(tables, features=features, **{"dtype": "float64", "seed": 0, **options})


def bags_like(layer, features=FEATURES, **options):
    """An EmbeddingBag for each table, with its numbers: options by table."""
    made = {}
    for name, weight in layer.weights.items():
        own = {option: each[name] for option, each in options.items() if name in each}
        made[name] = EmbeddingBag(*weight.shape, **{"mode": "sum", "W": weight.copy(), **own})
    return made


def as_lists(column):
    return [np.atleast_1d(bag).tolist() for bag in column]


def grads(seed=3, features=FEATURES, tables=TABLES):
    random = np.random.default_rng(seed)
    return {name: random.standard_normal((B, tables[table][1])) for name, table in features.items()}


def step_both(layer, bags, batch, seed=3):
    """A forward and backward of both, a table's features in one call, so that both make one step."""
    found, grad = layer(batch), grads(seed)
    for table, own in bags.items():
        names = [name for name in FEATURES if FEATURES[name] == table]
        rows = own([bag for name in names for bag in as_lists(batch[name])])
        np.testing.assert_allclose(np.concatenate([found[name] for name in names]), rows, atol=1e-12)
        own.backward(np.concatenate([grad[name] for name in names]))
    layer.backward(grad)


def same_tables(layer, bags):
    for name, bag in bags.items():
        np.testing.assert_allclose(layer.weights[name], bag.weight, atol=1e-12)


@pytest.mark.parametrize("norm", [{"user": 0.5, "item": 1.0}, {"user": 0.5, "item": 0.5, "city": 0.5}])
@pytest.mark.parametrize("norm_type", [2.0, {"item": 1.0, "user": np.inf}])
def test_norms_are_bounded_by_table(norm, norm_type):
    layer = collection(max_norm=norm, norm_type=norm_type, optimizer=optim.SGD(lr=0.1))
    start = {name: weight.copy() for name, weight in layer.weights.items()}
    types = norm_type if isinstance(norm_type, dict) else dict.fromkeys(TABLES, norm_type)
    optimizers = {name: optim.SGD(lr=0.1) for name in TABLES}
    bags = bags_like(layer, max_norm=norm, norm_type=types, optimizer=optimizers)
    assert len(layer.arenas) == 1
    for batch in BATCHES:
        step_both(layer, bags, batch)
        same_tables(layer, bags)
    assert (layer.weights["user"][5] == start["user"][5]).all()
    frozen = collection(max_norm=norm, freeze=True).eval()
    frozen(BATCHES[1])
    assert np.linalg.norm(frozen.weights["user"][[0, 2, 11]], axis=1).max() <= 0.5 + 1e-12


def test_norms_and_optimizers_of_a_table_that_is_read_only():
    table = np.ones((3, 2))
    table.flags.writeable = False
    with pytest.raises(ValueError, match="max_norm changes the table in place, but table 'a' is read-only"):
        EmbeddingBagCollection.from_pretrained({"a": table}, max_norm=1.0)
    with pytest.raises(ValueError, match="optimizer would change table 'a', but its W is read-only"):
        EmbeddingBagCollection.from_pretrained({"a": table, "b": np.ones((2, 2))}, False, optimizer=optim.SGD())


def test_modes_by_table():
    modes = {"item": "max", "city": "mean"}
    layer = collection(mode=modes, optimizer=optim.SGD(lr=0.1))
    bags = bags_like(layer, mode=modes, optimizer={name: optim.SGD(lr=0.1) for name in TABLES})
    assert layer.mode == {"user": "sum", **modes} and "mode={" in repr(layer)
    for batch in BATCHES:
        step_both(layer, bags, batch)
    same_tables(layer, bags)
    weights = {"user": [1.0, 2.0, 3.0], "home": [[1.0], [0.5, 2.0], [3.0]]}
    found = layer(BATCHES[0], weights)
    np.testing.assert_allclose(found["home"], bags["city"](BATCHES[0]["home"], per_sample_weights=weights["home"]))
    np.testing.assert_allclose(found["clicked"], bags["item"](BATCHES[0]["clicked"]))
    assert list(layer.backward(grads())) == ["user", "home"]
    with pytest.raises(ValueError, match="per_sample_weights do not go with mode='max', that of feature 'clicked'"):
        layer(BATCHES[0], {**weights, "clicked": [[1.0] * 3, [], [1.0]]})


def test_optimizers_and_the_rest_by_table():
    rules = {"user": optim.Adam(lr=0.1), "item": optim.Adagrad(lr=0.2)}
    layer = collection(
        optimizer=rules,
        embeddings_regularizer={"item": "l2"},
        embeddings_constraint={"item": "non_neg"},
        on_invalid={"city": "clip"},
        padding_idx={"item": 4},
    )
    bags = bags_like(
        layer,
        optimizer={"user": optim.Adam(lr=0.1), "item": optim.Adagrad(lr=0.2)},
        embeddings_regularizer={"item": "l2"},
        embeddings_constraint={"item": "non_neg"},
        on_invalid={"city": "clip"},
        padding_idx={"item": 4},
    )
    assert len(layer.arenas) == 3 and layer.regularization() == pytest.approx(bags["item"].regularization())
    for batch in ({**BATCHES[0], "home": [[-3], [99, 6], [2]]}, BATCHES[1]):
        step_both(layer, bags, batch)
        same_tables(layer, bags)
    np.testing.assert_allclose(layer.grad["city"].collect(), bags["city"].grad.collect())
    with pytest.raises(IndexError, match=r"feature 'user': indices must be in \[0, 12\), got 12 at position \(0, 0\)"):
        layer({**BATCHES[1], "user": [12, 0, 0]})


def test_dtypes_by_table():
    layer = EmbeddingBagCollection(TABLES, dtype={"item": "float64"}, output="concatenate", seed=0)
    assert {name: weight.dtype.name for name, weight in layer.weights.items()} == {
        "user": "float32",
        "item": "float64",
        "city": "float32",
    }
    out = layer({"user": [1], "item": [2], "city": [3]})
    np.testing.assert_array_equal(out[0, 3:6], layer.weights["item"][2])


def test_rows_are_frozen():
    mask = np.zeros(20, bool)
    mask[4] = True
    layer = collection(freeze={"item": mask, "city": True}, optimizer=optim.SGD(lr=0.1))
    bags = bags_like(layer, freeze={"item": mask}, optimizer={name: optim.SGD(lr=0.1) for name in TABLES})
    start = layer.weights["city"].copy()
    step_both(layer, bags, BATCHES[0])
    bags["city"].weight[:] = start
    same_tables(layer, bags)
    assert len(layer.arenas) == 1
    layer.frozen = {"item": False, "user": True}
    assert layer.frozen == {"user": True, "item": False, "city": True}
    before = {name: weight.copy() for name, weight in layer.weights.items()}
    layer(BATCHES[0])
    layer.backward(grads())
    assert {name: bool((weight[4] != before[name][4]).any()) for name, weight in layer.weights.items()} == {
        "user": False,
        "item": True,
        "city": False,
    }
    layer.frozen = True
    assert not layer.remembers and layer.parameters() == []
    with pytest.raises(ValueError, match=r"a bool array of shape \(20,\), got bool of shape \(1,\)"):
        layer.frozen = {"item": [True]}


def test_frozen_tables_give_the_gradient_of_weights():
    layer, bags = collection(freeze=True), bags_like(collection(), freeze=dict.fromkeys(TABLES, True))
    weights = {name: [[1.5] * len(bag) for bag in as_lists(column)] for name, column in BATCHES[0].items()}
    layer(BATCHES[0], weights)
    found, grad = layer.backward(grads()), grads()
    for name, table in FEATURES.items():
        bags[table](as_lists(BATCHES[0][name]), per_sample_weights=weights[name])
        np.testing.assert_allclose(found[name], bags[table].backward(grad[name]), atol=1e-12)
    layer(BATCHES[0])
    with pytest.raises(RuntimeError, match="all tables are frozen"):
        layer.backward(grads())


@pytest.mark.parametrize("rule", [optim.Adagrad, optim.RowwiseAdagrad, optim.Adam, optim.FTRL, optim.AdamW])
@pytest.mark.parametrize("fused", [True, False])
def test_a_table_is_resized(rule, fused):
    options = {"weight_decay": 0.1, "decay": "exact"} if rule is optim.AdamW else {}
    ones = {"embeddings_initializer": dict.fromkeys(TABLES, "ones")}
    layer = collection(**ones, optimizer=rule(**options) if fused else None, padding_idx={"item": 1})
    outer = None if fused else rule(layer, **options)
    bags = bags_like(
        layer, **ones, padding_idx={"item": 1}, optimizer={name: rule(**options) for name in TABLES}
    )  # one step a batch for each
    for bag in bags.values():
        bag.weight[:] = 1
    layer.weights["item"][1] = 1

    def step(batch):
        step_both(layer, bags, batch)
        if outer is not None:
            outer.step()
            outer.zero_grad()

    step(BATCHES[0])
    for name, size in (("user", 15), ("city", 9), ("item", 20), ("user", 14)):
        layer.resize(name, size)
        bags[name].resize(size)
        step({**BATCHES[1], "user": [0, 13, 2]} if name == "user" else {**BATCHES[1], "home": [8, 6, 2]})
    for bag in bags.values():
        bag.flush()
    layer.state_dict()  # which brings the rows up to date, too
    same_tables(layer, bags)
    assert {name: len(weight) for name, weight in layer.weights.items()} == {"user": 14, "item": 20, "city": 9}


def test_resizing_forgets_and_keeps_what_is_frozen():
    layer = collection(freeze={"item": np.arange(20) == 4}, padding_idx={"item": 10})
    layer(BATCHES[0])
    layer.resize("item", 30)
    with pytest.raises(RuntimeError, match="there is none"):
        layer.backward(grads())
    assert layer.frozen["item"].tolist() == [row == 4 for row in range(30)]
    layer({**BATCHES[1], "bought": [29, 28, 29]})
    layer.backward(grads())
    assert layer.grad["item"].rows.tolist() == [5, 7, 28, 29]
    with pytest.raises(ValueError, match="num_embeddings must leave the row padding_idx=10, got 5"):
        layer.resize("item", 5)
    with pytest.raises(ValueError, match="name must be one of 'user', 'item', 'city', got 'film'"):
        layer.resize("film", 5)


LORA = [4, {"item": 2, "city": 2}]


@pytest.mark.parametrize("rank", LORA)
@pytest.mark.parametrize("mode", ["sum", "mean"])
def test_lora(rank, mode):
    layer = collection(lora_rank=rank, lora_alpha=3.0, mode=mode, optimizer=optim.SGD(lr=0.1))
    ranks = rank if isinstance(rank, dict) else dict.fromkeys(TABLES, rank)
    start = {name: weight.copy() for name, weight in layer.weights.items()}
    random = np.random.default_rng(1)
    for name, table in layer.state_dict().items():
        if name.endswith("_b"):
            table[:] = random.standard_normal(table.shape)
    bags = bags_like(
        layer,
        mode=dict.fromkeys(TABLES, mode),
        optimizer={name: optim.SGD(lr=0.1) for name in TABLES},
        lora_rank=ranks,
        lora_alpha=dict.fromkeys(ranks, 3.0),
    )
    own = {name for name in layer.state_dict() if "lora" in name}
    assert own == {f"{name}.lora_embeddings_{which}" for name in ranks for which in "ab"}
    for name, bag in bags.items():
        if name in ranks:
            bag.load_state_dict(
                {key.partition(".")[2]: t for key, t in layer.state_dict().items() if key.partition(".")[0] == name}
            )
    for batch in BATCHES:
        step_both(layer, bags, batch)
    for name, bag in bags.items():
        for key, table in bag.state_dict().items():
            np.testing.assert_allclose(layer.state_dict()[f"{name}.{key}"], table, atol=1e-12)
    assert all((layer.weights[name] == start[name]).all() for name in ranks)
    found = layer(BATCHES[0])
    small = layer.quantize(dtype="float16")(BATCHES[0])
    np.testing.assert_allclose(small["clicked"], found["clicked"], atol=2e-2)
    twin = pickle.loads(pickle.dumps(layer))
    np.testing.assert_array_equal(twin(BATCHES[0])["clicked"], found["clicked"])
    layer.merge_lora()
    np.testing.assert_allclose(layer(BATCHES[0])["clicked"], found["clicked"])
    assert not any("lora" in name for name in layer.state_dict())
    layer.backward(grads())
    assert (layer.weights["item"] != twin.weights["item"]).any()
    with pytest.raises(ValueError, match="lora is not enabled, so there is nothing to merge"):
        layer.merge_lora()


def test_lora_is_enabled_later_and_grows_with_a_table():
    layer = collection(freeze={"item": np.arange(20) == 4}, optimizer=optim.SGD(lr=0.1, clip_norm=1.0))
    before = layer(BATCHES[0])
    layer.enable_lora(2, b_initializer="ones")
    assert layer.parameters()[0].weight.shape == (39, 2) and layer.parameters()[1].weight.shape == (6, 3)
    assert (layer(BATCHES[0])["clicked"][0] != before["clicked"][0]).all()
    layer.resize("user", 13)
    a = layer.state_dict()["item.lora_embeddings_a"].copy()
    layer({**BATCHES[0], "user": [12, 1, 1]})
    layer.backward(grads())
    changed = (layer.state_dict()["item.lora_embeddings_a"] != a).any(axis=1)
    assert np.flatnonzero(changed).tolist() == [0, 1, 2, 5, 19]  # not row 4, which was frozen
    with pytest.raises(ValueError, match="lora is already enabled"):
        layer.enable_lora(2)
    with pytest.raises(ValueError, match="lora has frozen table 'item': call merge_lora before"):
        layer.frozen = {"item": False}


def test_the_gradient_of_weights_sees_lora():
    layer, plain = collection(lora_rank=2, seed=0), collection(seed=0)
    layer.arenas[0].lora.b.weight[:] = 1
    weights = {name: [[1.0] * len(bag) for bag in as_lists(column)] for name, column in BATCHES[0].items()}
    layer(BATCHES[0], weights)
    found = layer.backward(grads())
    layer.merge_lora()
    plain.load_state_dict(layer.state_dict())
    plain(BATCHES[0], weights)
    for name, expected in plain.backward(grads()).items():
        np.testing.assert_allclose(found[name], expected, atol=1e-12)


def test_clipping_by_the_norm_sees_all_tables():
    shapes = {"user": (12, 3), "item": (20, 4)}
    batch = {"user": [1, 2, 3], "item": [4, 4, 5]}
    fused = EmbeddingBagCollection(shapes, dtype="float64", seed=0, optimizer=optim.SGD(lr=1.0, clip_norm=0.5))
    collected = EmbeddingBagCollection(shapes, dtype="float64", seed=0)
    optimizer = optim.SGD(collected, lr=1.0, clip_norm=0.5)
    for layer in (fused, collected):
        layer(batch)
        layer.backward({name: np.ones((3, width)) for name, (_, width) in shapes.items()})
    optimizer.step()
    for name, weight in fused.weights.items():
        np.testing.assert_allclose(weight, collected.weights[name])
    other = EmbeddingBag(3, 2, optimizer=fused.arenas[0].optimizer)
    other([[1]])
    with pytest.raises(ValueError, match="clip_norm needs the gradients of all parameters"):
        other.backward(np.ones((1, 2)))


def test_tables_that_exist(tmp_path):
    user, item = np.arange(36.0).reshape(12, 3), np.arange(60.0).reshape(20, 3)
    np.save(tmp_path / "city.npy", np.ones((7, 3)))
    given = {"user": user, "item": item, "city": tmp_path / "city.npy"}
    layer = EmbeddingBagCollection.from_pretrained(
        given, freeze=["city"], features=FEATURES, optimizer=optim.SGD(lr=1.0)
    )
    assert np.shares_memory(layer.weights["user"], user) and not layer.weights["city"].flags.writeable
    found = layer(BATCHES[1])
    np.testing.assert_array_equal(found["bought"], np.tile(item[3], (3, 1)))
    layer.backward({name: np.ones((B, 3)) for name in FEATURES})
    assert item[3].tolist() == [6.0, 7.0, 8.0] and user[1].tolist() == [3.0, 4.0, 5.0]
    frozen = EmbeddingBagCollection.from_pretrained({"city": str(tmp_path / "city.npy")})
    assert frozen({"city": [[1, 1]]})["city"].tolist() == [[2.0, 2.0, 2.0]]
    with pytest.raises(ValueError, match="mapped for reading and cannot be resized"):
        frozen.resize("city", 9)


def test_tables_in_a_folder(tmp_path):
    folder = tmp_path / "tables"
    layer = collection(storage=folder, optimizer=optim.SGD(lr=1.0))
    assert sorted(path.name for path in folder.iterdir()) == ["city.npy", "item.npy", "user.npy"]
    np.testing.assert_array_equal(layer.weights["item"], collection().weights["item"])
    layer(BATCHES[0])
    layer.backward(grads())
    np.testing.assert_array_equal(np.load(folder / "item.npy"), layer.weights["item"])
    again = collection(storage=folder, seed=5)
    np.testing.assert_array_equal(again(BATCHES[0])["clicked"], layer(BATCHES[0])["clicked"])
    twin = pickle.loads(pickle.dumps(layer))
    layer.weights["user"][3] = 9
    assert (twin.weights["user"][3] == 9).all()
    layer.resize("user", 14)
    assert np.load(folder / "user.npy").shape == (14, 3)
    copied = copy.deepcopy(layer)
    layer.weights["user"][3] = 8
    assert (copied.weights["user"][3] == 9).all()


def test_storage_by_table(tmp_path):
    layer = collection(storage={"item": tmp_path / "i.npy", "city": "shared"})
    assert isinstance(layer.weights["item"], np.memmap) and len(layer.arenas) == 3
    twin = pickle.loads(pickle.dumps(layer))
    for name in TABLES:
        layer.weights[name][3] = 9
    assert {name: bool((twin.weights[name][3] == 9).all()) for name in TABLES} == {
        "user": False,
        "item": True,
        "city": True,
    }


def test_other_devices():
    layer = collection(max_norm=1.0, optimizer=optim.SGD(lr=0.1))
    twin = copy.deepcopy(layer).to("reference")
    for each in (layer, twin):
        each(BATCHES[0])
        each.backward(grads())
    for name, weight in twin.weights.items():
        np.testing.assert_allclose(weight, layer.weights[name])
    with pytest.raises(ValueError, match="device must be one of"):
        layer.to("tpu")
