"""Layers in training: torch's steps, fused equals collected, regularizers, constraints, LoRA."""

import copy

import numpy as np
import pytest

from fastemb import Embedding, EmbeddingBag, EmbeddingBagCollection, num_threads, optim
from fastemb.layers import constraints, regularizers

V, D = 40, 5


def table(seed=0):
    return np.random.default_rng(seed).standard_normal((V, D))


def batches(count=4, seed=1):
    random = np.random.default_rng(seed)
    return [(random.integers(0, 12, (6, 3)), random.standard_normal((6, D))) for _ in range(count)]


def trained(layer, optimizer=None):
    for indices, grad in batches():
        layer(indices)
        layer.backward(grad)
        if optimizer is not None:
            optimizer.step()
            optimizer.zero_grad()
    return layer


def bag(**options):
    return EmbeddingBag(V, D, mode="sum", W=table(), **options)


@pytest.mark.filterwarnings("ignore:Sparse invariant checks")
@pytest.mark.parametrize("name", ["SGD", "Adagrad", "SparseAdam"])
def test_steps_are_torchs(name):
    torch = pytest.importorskip("torch", reason="torch is the oracle")
    ours = trained(bag(optimizer=getattr(optim, name.removeprefix("Sparse"))(lr=0.1)))
    theirs = torch.nn.EmbeddingBag(V, D, mode="sum", sparse=True, _weight=torch.tensor(table()))
    optimizer = getattr(torch.optim, name)(theirs.parameters(), lr=0.1)
    for indices, grad in batches():
        optimizer.zero_grad()
        theirs(torch.tensor(indices)).backward(torch.tensor(grad))
        optimizer.step()
    np.testing.assert_allclose(ours.weight, theirs.weight.detach().numpy(), atol=1e-12)


@pytest.mark.parametrize("name", ["SGD", "Adagrad", "RowwiseAdagrad", "Adam", "AdamW", "FTRL"])
@pytest.mark.parametrize("options", [{}, {"embeddings_regularizer": "l1_l2", "embeddings_constraint": "unit_norm"}])
def test_fused_is_collected(name, options):
    make, rate = getattr(optim, name), {"alpha" if name == "FTRL" else "lr": 0.1}
    fused = trained(bag(optimizer=make(**rate), **options))
    layer = bag(**options)
    collected = trained(layer, make([layer], **rate))
    np.testing.assert_allclose(fused.weight, collected.weight, rtol=1e-12)
    assert (fused.weight != table()).any()


def test_rows_that_were_not_looked_up_keep_their_bits():
    layer = trained(bag(optimizer=optim.Adam(lr=0.1), embeddings_regularizer="l2", embeddings_constraint="unit_norm"))
    touched = np.unique(np.concatenate([indices.ravel() for indices, _ in batches()]))
    rest = np.setdiff1d(np.arange(V), touched)
    np.testing.assert_array_equal(layer.weight[rest], table()[rest])
    assert (layer.weight[touched] != table()[touched]).any(axis=1).all()


def test_number_of_threads_changes_nothing():
    results = []
    for threads in (1, 2, 3):
        with num_threads(threads):
            layer = EmbeddingBag(5000, 16, mode="mean", seed=0, optimizer=optim.Adagrad(lr=0.1))
            indices = np.random.default_rng(1).zipf(1.2, (2000, 20)) % 5000
            for _ in range(2):
                out = layer(indices)
                layer.backward(out)
        results.append(layer.weight)
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_a_batch_may_be_split():
    """One backward of a batch is two of its halves, where gradients are collected."""
    (indices, grad), whole, halves = batches()[0], bag(), bag()
    whole(indices)
    whole.backward(grad)
    halves(indices[:4])
    halves(indices[4:])
    halves.backward(grad[4:])
    halves.backward(grad[:4])
    np.testing.assert_allclose(halves.grad.to_dense(V), whole.grad.to_dense(V), rtol=1e-12)


def test_frozen_rows_stay_as_they_are():
    mask = np.arange(V) % 2 == 0
    layer = trained(bag(freeze=mask, optimizer=optim.Adam(lr=0.1), embeddings_regularizer="l2"))
    np.testing.assert_array_equal(layer.weight[mask], table()[mask])
    assert (layer.weight[1] != table()[1]).all()


def test_a_frozen_table_is_not_stepped():
    with pytest.raises(ValueError, match="optimizer would change the table, but it is frozen"):
        bag(freeze=True, optimizer=optim.SGD(lr=0.1))
    layer = bag(optimizer=optim.SGD(lr=0.1))
    layer([[1]])
    layer.frozen = True
    with pytest.raises(RuntimeError, match="the table is frozen"):
        layer.backward(np.ones((1, D)))


def test_a_read_only_table_is_not_stepped():
    weight = table()
    weight.flags.writeable = False
    with pytest.raises(ValueError, match="optimizer would change the table, but W is read-only"):
        EmbeddingBag(V, D, W=weight, optimizer=optim.SGD(lr=0.1))
    layer = EmbeddingBag(V, D, W=weight, lora_rank=2, optimizer=optim.SGD(lr=0.1))  # which trains other tables
    layer([[1]])
    layer.backward(np.ones((1, D)))
    assert layer.lora.b.weight.any()
    with pytest.raises(ValueError, match="merge_lora changes the table in place, but W is read-only"):
        layer.merge_lora()
    collected = EmbeddingBag(V, D, W=weight)
    collected([[1]])
    collected.backward(np.ones((1, D)))
    with pytest.raises(ValueError, match="read-only"):
        optim.SGD(collected, lr=0.1).step()


def test_padding_row_stays_as_it_is():
    layer = Embedding(V, D, padding_idx=3, W=table(), optimizer=optim.SGD(lr=1.0))
    np.testing.assert_array_equal(layer([3, 4])[0], table()[3])
    layer.backward(np.ones((2, D)))
    np.testing.assert_array_equal(layer.weight[3], table()[3])
    np.testing.assert_allclose(layer.weight[4], table()[4] - 1)


def test_a_layer_has_one_optimizer():
    own = optim.SGD(lr=0.1)
    own.bind(bag(optimizer=own))
    for layer in (bag(optimizer=own), EmbeddingBagCollection({"a": (3, 2)}, optimizer=own)):
        with pytest.raises(ValueError, match="parameters must have no optimizer of their own"):
            optim.SGD(layer, lr=0.1)


def test_several_layers_share_an_optimizer():
    first, second = bag(), Embedding(V, D, W=table(3))
    optimizer = optim.SGD([first, second], lr=0.5)
    first([[1]])
    second([2])
    second.backward(np.ones((1, D)))
    first.backward(np.ones((1, D)))
    optimizer.step()
    np.testing.assert_allclose(first.weight[1], table()[1] - 0.5)
    np.testing.assert_allclose(second.weight[2], table(3)[2] - 0.5)


def test_regularizer_has_a_value_and_a_gradient():
    layer = Embedding(V, D, W=table(), embeddings_regularizer=regularizers.L1L2(0.1, 0.2))
    weight = table()
    assert layer.regularization() == pytest.approx(0.1 * abs(weight).sum() + 0.2 * (weight**2).sum())
    layer([1, 1, 2])
    layer.backward(np.zeros((3, D)))
    layer([2])
    layer.backward(np.zeros((1, D)))
    assert layer.grad.rows.tolist() == [1, 2]
    np.testing.assert_allclose(layer.grad.collect(), 0.1 * np.sign(weight[1:3]) + 0.4 * weight[1:3])
    assert Embedding(V, D).regularization() == 0


def test_regularizer_of_ones_own():
    class Fourth:
        def __call__(self, rows):
            return float((rows**4).sum())

        def gradient(self, rows):
            return 4 * rows**3

    layer = Embedding(V, D, W=table(), embeddings_regularizer=Fourth())
    layer([1])
    layer.backward(np.zeros((1, D)))
    np.testing.assert_allclose(layer.grad.collect(), 4 * table()[1:2] ** 3)
    assert layer.regularization() == pytest.approx((table() ** 4).sum())


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_constraint_holds_after_a_step(dtype):
    layer = Embedding(V, D, dtype=dtype, seed=0, embeddings_constraint="unit_norm", optimizer=optim.SGD(lr=0.1))
    layer([1, 2])
    layer.backward(np.ones((2, D)))
    norms = np.linalg.norm(layer(range(3)).astype(np.float32), axis=1)
    np.testing.assert_allclose(norms[1:], 1, atol=1e-2)
    assert abs(norms[0] - 1) > 0.01


def test_constraint_of_ones_own():
    layer = Embedding(V, D, W=table(), embeddings_constraint=lambda rows: rows.clip(-0.1, 0.1))
    trained(bag())
    optimizer = optim.SGD([layer], lr=0.1)
    layer([7])
    layer.backward(np.ones((1, D)))
    optimizer.step()
    assert abs(layer.weight[7]).max() <= 0.1
    wrong = Embedding(V, D, W=table(), embeddings_constraint=lambda rows: rows[:, :2], optimizer=optim.SGD(lr=0.1))
    wrong([7])
    with pytest.raises(ValueError, match=r"must keep the rows' shape \(1, 5\), got \(1, 2\)"):
        wrong.backward(np.ones((1, D)))


@pytest.mark.parametrize(
    ("ours", "name", "options"),
    [
        (constraints.MaxNorm(1.5), "MaxNorm", {"max_value": 1.5, "axis": 1}),
        (
            constraints.MinMaxNorm(0.5, 1.5, 0.3),
            "MinMaxNorm",
            {"min_value": 0.5, "max_value": 1.5, "rate": 0.3, "axis": 1},
        ),
        (constraints.UnitNorm(), "UnitNorm", {"axis": 1}),
        (constraints.NonNeg(), "NonNeg", {}),
    ],
)
def test_constraints_are_kerass(keras, ours, name, options):
    theirs = getattr(keras.constraints, name)(**options)
    np.testing.assert_allclose(ours(table()), np.asarray(theirs(table())), rtol=1e-6)


def test_regularizers_are_kerass(keras):
    rows = table()
    for ours, theirs in [
        (regularizers.l1(0.3), keras.regularizers.L1(0.3)),
        (regularizers.l2(0.3), keras.regularizers.L2(0.3)),
        (regularizers.L1L2(0.3, 0.2), keras.regularizers.L1L2(0.3, 0.2)),
        (regularizers.get("l1"), keras.regularizers.get("l1")),
        (regularizers.get("l2"), keras.regularizers.get("l2")),
    ]:
        assert ours(rows) == pytest.approx(float(theirs(rows)), rel=1e-6)
    for regularizer in (regularizers.l1(0.3), regularizers.l2(0.3)):
        step = 1e-6
        numeric = [
            (regularizer(rows[:1] + step * e) - regularizer(rows[:1] - step * e)) / (2 * step) for e in np.eye(D)
        ]
        np.testing.assert_allclose(regularizer.gradient(rows[:1])[0], numeric, rtol=1e-6)


@pytest.fixture(scope="module")
def keras():
    pytest.importorskip("torch", reason="Keras runs on it")
    import os

    os.environ.setdefault("KERAS_BACKEND", "torch")
    return pytest.importorskip("keras", reason="Keras is the oracle")


def dense(layer):
    return layer.weight + layer.lora.scale * layer.lora.a.weight @ layer.lora.b.weight


def test_lora_adds_a_product():
    layer = Embedding(V, D, W=table(), lora_rank=2, lora_alpha=3.0, seed=0)
    assert layer.frozen is True
    np.testing.assert_array_equal(layer([[1, 2]]), table()[[[1, 2]]])
    layer.lora.b.weight[:] = np.random.default_rng(4).standard_normal((2, D))
    assert layer.lora.scale == 1.5
    np.testing.assert_allclose(layer([[1, 2]])[0], dense(layer)[[1, 2]])
    before = dense(layer)
    layer.merge_lora()
    np.testing.assert_allclose(layer.weight, before)
    np.testing.assert_array_equal(layer([1, 2]), layer.weight[[1, 2]])
    assert layer.frozen is False
    assert layer.parameters() == [layer]


@pytest.mark.parametrize("kind", ["embedding", "sum", "mean"])
def test_lora_has_the_gradient_of_the_product(kind):
    make = Embedding if kind == "embedding" else lambda *a, **b: EmbeddingBag(*a, mode=kind, **b)
    layer = make(V, D, W=table(), lora_rank=2, seed=0)
    full = make(V, D, W=table())
    layer.lora.b.weight[:] = np.random.default_rng(4).standard_normal((2, D))
    indices = batches()[0][0]
    grad = np.random.default_rng(5).standard_normal(full(indices).shape)
    full.backward(grad)
    layer(indices)
    layer.backward(grad)
    whole, a, b = full.grad.to_dense(V), layer.lora.a, layer.lora.b
    np.testing.assert_allclose(a.grad.to_dense(V), layer.lora.scale * whole @ b.weight.T, atol=1e-12)
    np.testing.assert_allclose(b.grad.to_dense(2), layer.lora.scale * a.weight.T @ whole, atol=1e-12)
    assert layer.grad is None


def test_lora_is_trained_and_the_table_is_not():
    layer = bag(lora_rank=2, optimizer=optim.SGD(lr=0.1), seed=0)
    weights = [[1.0, 2.0]]
    layer([[1, 2]], per_sample_weights=weights)
    assert layer.backward(np.ones((1, D))).shape == (2,)
    np.testing.assert_array_equal(layer.weight, table())
    assert (layer.lora.b.weight != 0).any()
    collected = bag(lora_rank=2, seed=0)
    optimizer = optim.SGD(collected.parameters(), lr=0.1)
    collected([[1, 2]], per_sample_weights=weights)
    collected.backward(np.ones((1, D)))
    optimizer.step()
    np.testing.assert_allclose(collected.lora.b.weight, layer.lora.b.weight)
    with pytest.raises(RuntimeError, match="backward needs a forward"):
        layer.backward(np.ones((1, D)))


@pytest.mark.parametrize("mode", ["sum", "mean", "sqrtn"])
def test_the_gradient_of_weights_is_that_of_the_merged_table(mode):
    layer = EmbeddingBag(V, D, mode=mode, W=table(), lora_rank=2, seed=0)
    layer.lora.b.weight[:] = np.random.default_rng(4).standard_normal((2, D))
    weights, grad = np.array([[1.0, 2.0], [0.5, 3.0]]), np.random.default_rng(5).standard_normal((2, D))
    layer([[1, 2], [7, 1]], per_sample_weights=weights)
    layer([[3]])
    assert layer.backward(grad[:1]) is None  # the last forward had none
    found = layer.backward(grad)
    layer.merge_lora()
    layer([[1, 2], [7, 1]], per_sample_weights=weights)
    np.testing.assert_allclose(found, layer.backward(grad), atol=1e-12)


@pytest.mark.parametrize("kind", [Embedding, EmbeddingBag])
def test_with_lora_the_penalty_is_that_of_its_tables(kind, keras):
    layer = kind(V, D, W=table().astype(np.float32), embeddings_regularizer="l2", lora_rank=2, seed=0)
    layer.lora.b.weight[:] = 0.5
    theirs = keras.layers.Embedding(V, D, weights=[table()], embeddings_regularizer="l2")
    theirs.enable_lora(2)
    theirs.lora_embeddings_a.assign(layer.lora.a.weight)
    theirs.lora_embeddings_b.assign(layer.lora.b.weight)
    assert layer.regularization() == pytest.approx(sum(theirs.losses).item(), rel=1e-5)
    assert layer.regularization() == pytest.approx(sum(part.regularization() for part in layer.parameters()))


def test_lora_on_a_pretrained_table_with_an_optimizer():
    layer = Embedding.from_pretrained(table(), lora_rank=2, seed=0, optimizer=optim.SGD(lr=0.1))
    layer([1])
    layer.backward(np.ones((1, D)))
    assert (layer.lora.b.weight != 0).any()
    np.testing.assert_array_equal(layer.weight, table())


def test_lora_on_a_pretrained_table():
    layer = Embedding.from_pretrained(table(), padding_idx=3, lora_rank=2, seed=0)
    assert not layer.lora.a.weight[3].any()
    layer([1, 3])
    layer.backward(np.ones((2, D)))
    assert layer.lora.a.grad.rows.tolist() == [1]
    layer.merge_lora()
    assert layer.frozen is True


def test_lora_is_kerass(keras):
    theirs = keras.layers.Embedding(V, D, weights=[table()])
    theirs.enable_lora(2, lora_alpha=3)  # its constructor's own lora_alpha is lost
    ours = Embedding(V, D, W=table().astype(np.float32), lora_rank=2, lora_alpha=3)
    a = np.asarray(theirs.lora_embeddings_a.value.detach())
    ours.lora.a.weight[:] = a
    b = np.random.default_rng(1).standard_normal((2, D)).astype(np.float32)
    theirs.lora_embeddings_b.assign(b)
    ours.lora.b.weight[:] = b
    indices = np.array([[1, 2], [3, 39]])
    np.testing.assert_allclose(ours(indices), theirs(indices).detach().numpy(), rtol=1e-5)
    fresh = Embedding(5000, D, lora_rank=4, seed=0).lora.a.weight
    assert abs(fresh).max() <= (6 / 5000) ** 0.5
    assert abs(fresh).max() > 0.99 * (6 / 5000) ** 0.5


def test_lora_refuses():
    with pytest.raises(ValueError, match="lora is incompatible with embeddings_constraint"):
        Embedding(V, D, embeddings_constraint="non_neg", lora_rank=2)
    with pytest.raises(ValueError, match="lora is already enabled"):
        Embedding(V, D, lora_rank=2).enable_lora(2)
    with pytest.raises(ValueError, match="lora trains two tables, and clip_norm needs the gradients of both"):
        Embedding(V, D, lora_rank=2, optimizer=optim.SGD(clip_norm=1.0))
    with pytest.raises(ValueError, match="lora_rank must be an integer >= 1"):
        Embedding(V, D, lora_rank=0)
    with pytest.raises(ValueError, match="lora needs a mode that sums, got 'max'"):
        EmbeddingBag(V, D, mode="max", lora_rank=2)
    with pytest.raises(ValueError, match="lora is not enabled"):
        Embedding(V, D).merge_lora()
    layer = Embedding(V, D, lora_rank=2)
    layer([1])
    with pytest.raises(ValueError, match=r"grad_output must have shape \(1, 5\), got \(2, 5\)"):
        layer.backward(np.ones((2, D)))
    layer.eval()
    layer.forget()
    layer([1])
    with pytest.raises(RuntimeError, match="backward needs a forward"):
        layer.backward(np.ones((1, D)))


def test_resize_keeps_rows_and_what_the_optimizer_knows():
    layer = trained(bag(optimizer=optim.Adagrad(lr=0.1), freeze=np.arange(V) == 3))
    kept = layer.weight.copy()
    layer.resize(V + 3)
    np.testing.assert_array_equal(layer.weight[:V], kept)
    assert layer.weight[V:].all()
    assert layer.frozen.shape == (V + 3,)
    state = layer.optimizer.state_dict()["state"][0]
    layer([[0, V + 2]])
    layer.backward(np.ones((1, D)))
    grown = layer.optimizer.state_dict()["state"][0]
    assert grown["step"] == state["step"] + 1 if "step" in state else True
    layer.resize(10)
    np.testing.assert_array_equal(layer.weight[4], kept[4])
    with pytest.raises(IndexError, match=r"\[0, 10\), got 10"):
        layer([[10]])


def test_resize_forgets_forwards_and_gradients():
    layer = bag(lora_rank=None, embeddings_initializer="ones")
    layer([[1]])
    layer([[1]])
    layer.backward(np.ones((1, D)))
    layer.resize(V + 1)
    assert layer.weight[V].tolist() == [1.0] * D
    assert layer.grad is None
    with pytest.raises(RuntimeError, match="the table was resized after the forward"):
        layer.backward(np.ones((1, D)))
    with pytest.raises(ValueError, match="num_embeddings must leave the row padding_idx=20, got 20"):
        Embedding(V, D, padding_idx=20).resize(20)
    adapted = Embedding(V, D, lora_rank=2)
    adapted.resize(V + 1)
    assert adapted([V]).shape == (1, D)


@pytest.mark.parametrize("fused", [True, False])
def test_state_has_all_of_an_exact_decay(fused):
    """As if every step had decayed the whole table, though only the rows that were looked up were touched."""
    layer = bag()
    optimizer = optim.SGD(None if fused else [layer], lr=0.1, weight_decay=0.5, decay="exact")
    if fused:
        layer.optimizer = optimizer
        trained(layer)
    else:
        trained(layer, optimizer)
    untouched = np.setdiff1d(np.arange(V), np.concatenate([indices.ravel() for indices, _ in batches()]))
    found = layer.state_dict()["weight"]
    np.testing.assert_allclose(found[untouched], table()[untouched] * 0.95**4)


def test_a_copy_trains_by_itself():
    layer = trained(bag(optimizer=optim.Adagrad(lr=0.1)))
    layer([[1]])
    twin = copy.deepcopy(layer)
    with pytest.raises(RuntimeError, match="backward needs a forward"):
        twin.backward(np.ones((1, D)))
    for one in (layer, twin):
        one.forget()
        one([[1, 2]])
        one.backward(np.ones((1, D)))
    np.testing.assert_array_equal(layer.weight, twin.weight)
    assert not np.shares_memory(layer.weight, twin.weight)
    assert np.shares_memory(copy.copy(layer).weight, layer.weight)


def test_optimizer_state_follows_layers_in_the_order_in_which_they_were_made():
    """Not in that of their first steps, which another run may take in another order."""

    def make():
        optimizer = optim.Adagrad(lr=0.1)
        return optimizer, [Embedding(4, 2, embeddings_initializer="zeros", optimizer=optimizer) for _ in range(2)]

    def step(layer, gradient):
        layer([1])
        layer.backward(np.full((1, 2), gradient, np.float32))

    optimizer, (first, second) = make()
    step(second, 5.0)
    step(first, 1.0)
    again, (one, two) = make()
    again.load_state_dict(optimizer.state_dict())
    assert again.state_of(one)["sum"][1].tolist() == [1.0, 1.0]
    assert again.state_of(two)["sum"][1].tolist() == [25.0, 25.0]


def test_a_frozen_bag_gives_the_gradient_of_its_weights():
    weight = np.random.default_rng(0).normal(size=(V, D)).astype(np.float32)
    kept, indices, weights = weight.copy(), np.array([[1, 2], [3, 3]]), np.array([[0.5, 2.0], [1.0, -1.0]], np.float32)
    frozen, trained = (EmbeddingBag.from_pretrained(w, freeze=w is weight, mode="sum") for w in (weight, kept))
    grad = np.ones((2, D), np.float32)
    results = []
    for layer in (frozen, trained):
        layer(indices, per_sample_weights=weights)
        results.append(layer.backward(grad))
    np.testing.assert_array_equal(*results)
    assert frozen.grad is None and trained.grad is not None
    frozen(indices)
    with pytest.raises(RuntimeError, match="the table is frozen"):
        frozen.backward(grad)
