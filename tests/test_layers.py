"""Embedding and EmbeddingBag: torch's results, gradients and meaning."""

import numpy as np
import pytest

from fastemb import Embedding, EmbeddingBag
from fastemb.optim import SGD

torch = pytest.importorskip("torch", reason="torch is the oracle")

V, D = 50, 6
DTYPES = {"float64": 1e-12, "float32": 1e-5, "float16": 2e-2}


def table(dtype="float32", seed=0):
    return np.random.default_rng(seed).standard_normal((V, D)).astype(dtype)


def draw(shape, seed=1, high=V):
    return np.random.default_rng(seed).integers(0, high, shape)


def close(ours, theirs, dtype="float32"):
    np.testing.assert_allclose(np.asarray(ours, np.float64), theirs.detach().double().numpy(), atol=DTYPES[dtype])


def twin_bags(mode="mean", dtype="float32", **options):
    weight = table(dtype)
    ours = EmbeddingBag(V, D, mode=mode, W=weight.copy(), **options)
    return ours, torch.nn.EmbeddingBag(V, D, mode=mode, _weight=torch.tensor(weight), **options)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    "options", [{}, {"padding_idx": 3}, {"padding_idx": -1}, {"scale_grad_by_freq": True}], ids=str
)
def test_embedding_is_torchs(dtype, options):
    weight, indices = table(dtype), draw((7, 5), high=12)
    grad = np.random.default_rng(2).standard_normal((7, 5, D)).astype(dtype)
    ours = Embedding(V, D, W=weight.copy(), **options)
    theirs = torch.nn.Embedding(V, D, _weight=torch.tensor(weight), **options)
    expected = theirs(torch.tensor(indices))
    np.testing.assert_array_equal(ours(indices), expected.detach().numpy())
    expected.backward(torch.tensor(grad))
    ours.backward(grad)
    close(ours.grad.to_dense(V), theirs.weight.grad, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
@pytest.mark.parametrize("padding_idx", [None, 3])
def test_bag_is_torchs(dtype, mode, padding_idx):
    ours, theirs = twin_bags(mode, dtype, padding_idx=padding_idx)
    indices, offsets = draw(40, high=12), np.array([0, 0, 5, 5, 17, 40])
    grad = np.random.default_rng(2).standard_normal((6, D)).astype(dtype)
    expected = theirs(torch.tensor(indices), torch.tensor(offsets))
    close(ours(indices, offsets), expected, dtype)
    expected.backward(torch.tensor(grad))
    assert ours.backward(grad) is None
    close(ours.grad.to_dense(V), theirs.weight.grad, dtype)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_gradient_of_a_bag_by_frequency(mode):
    """Divided by how often the row was looked up; torch's sums divide by the count of another row."""
    indices, grad = [[0, 0, 0, 5], [7, 5, 1, 1]], table("float64")[:2]
    dense = []
    for by_freq in (False, True):
        layer = EmbeddingBag(V, D, mode=mode, scale_grad_by_freq=by_freq, dtype="float64", seed=0)
        layer(indices)
        layer.backward(grad)
        dense.append(layer.grad.to_dense(V))
    counts = np.bincount(np.ravel(indices), minlength=V).clip(1)
    np.testing.assert_allclose(dense[1], dense[0] / counts[:, None])
    theirs = torch.nn.EmbeddingBag(V, D, mode="sum", scale_grad_by_freq=True)
    theirs(torch.tensor(indices[:1])).sum().backward()
    assert theirs.weight.grad[5, 0] != 1


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("padding_idx", [None, 3])
def test_weights_of_samples_are_torchs(dtype, padding_idx):
    ours, theirs = twin_bags("sum", dtype, padding_idx=padding_idx)
    indices, weights = draw((6, 8), high=12), table(dtype, 5)[:48, 0].reshape(-1)
    weights = np.resize(weights, (6, 8)).astype(dtype)
    grad = np.random.default_rng(2).standard_normal((6, D)).astype(dtype)
    psw = torch.tensor(weights, requires_grad=True)
    expected = theirs(torch.tensor(indices), per_sample_weights=psw)
    close(ours(indices, per_sample_weights=weights), expected, dtype)
    expected.backward(torch.tensor(grad))
    found = ours.backward(grad)
    assert found.shape == weights.shape
    close(found, psw.grad, dtype)
    close(ours.grad.to_dense(V), theirs.weight.grad, dtype)


@pytest.mark.parametrize("norm_type", [1.0, 2.0, 3.0, float("inf")])
def test_max_norm_is_torchs(norm_type):
    weight, indices = table("float64"), draw((7, 5))
    for eval_mode in (False, True):
        ours = Embedding(V, D, max_norm=1.0, norm_type=norm_type, W=weight.copy())
        theirs = torch.nn.Embedding(V, D, max_norm=1.0, norm_type=norm_type, _weight=torch.tensor(weight))
        if eval_mode:
            ours.eval()
        close(ours(indices), theirs(torch.tensor(indices)), "float64")
        close(ours.weight, theirs.weight, "float64")
    bag = EmbeddingBag(V, D, max_norm=1.0, norm_type=norm_type, W=weight.copy())
    bag(indices)
    close(bag.weight, theirs.weight, "float64")


def test_max_norm_in_a_frozen_table():
    layer = Embedding.from_pretrained(np.full((3, 4), 2.0), max_norm=1.0)
    layer([1])
    np.testing.assert_allclose(np.linalg.norm(layer.weight, axis=1), [4, 1, 4])


def test_offsets_with_a_last_one():
    ours, theirs = twin_bags("sum", include_last_offset=True)
    indices, offsets = draw(20), np.array([0, 4, 4, 20])
    close(ours(indices, offsets), theirs(torch.tensor(indices), torch.tensor(offsets)))


def test_first_numbers_are_torchs_normal_ones_with_a_row_of_zeros():
    layer = Embedding(2000, 16, padding_idx=-1, seed=0)
    assert layer.padding_idx == 1999
    assert not layer.weight[-1].any()
    assert abs(layer.weight[:-1].mean()) < 0.02
    assert abs(layer.weight[:-1].std() - 1) < 0.02


def test_seed():
    assert (Embedding(5, 4, seed=3).weight == Embedding(5, 4, seed=3).weight).all()
    assert (Embedding(5, 4, seed=3).weight != Embedding(5, 4, seed=4).weight).any()
    assert (Embedding(5, 4).weight != Embedding(5, 4).weight).any()


def test_from_pretrained():
    weight = table()
    layer = Embedding.from_pretrained(weight, padding_idx=2)
    assert np.shares_memory(layer.weight, weight)
    assert layer.weight[2].any()
    assert layer.frozen is True
    assert layer.parameters() == []
    layer([1])
    with pytest.raises(RuntimeError, match="the table is frozen"):
        layer.backward(np.zeros((1, D)))
    assert Embedding.from_pretrained(weight, False).frozen is False
    bag = EmbeddingBag.from_pretrained(weight, freeze=False, mode="sum", padding_idx=2)
    assert not bag([[2, 2]]).any()
    with pytest.raises(ValueError, match="embeddings must have 2 dimensions"):
        Embedding.from_pretrained(np.zeros(3))


def test_torch_tensors_share_memory():
    tensor = torch.zeros(3, 4)
    layer = Embedding.from_pretrained(tensor)
    tensor[1] = 5
    assert layer([1]).tolist() == [[5.0] * 4]
    assert layer(torch.tensor([1])).tolist() == [[5.0] * 4]


def test_forwards_are_undone_last_first():
    layer = Embedding(V, D, seed=0)
    layer([1, 2])
    layer([[3], [4], [5]])
    with pytest.raises(ValueError, match=r"grad_output must have shape \(3, 1, 6\), got \(2, 6\)"):
        layer.backward(np.ones((2, D)))
    layer.backward(np.ones((3, 1, D)))
    assert layer.grad.rows.tolist() == [3, 4, 5]
    layer.backward(np.ones((2, D)))
    assert layer.grad.rows.tolist() == [1, 2, 3, 4, 5]
    with pytest.raises(RuntimeError, match="backward needs a forward"):
        layer.backward(np.ones((2, D)))


def test_gradients_add_up():
    layer = EmbeddingBag(V, D, mode="sum", seed=0)
    for _ in range(3):
        layer([[1, 2]])
        layer.backward(np.ones((1, D)))
        assert layer.grad.rows.tolist() == [1, 2]
    assert (layer.grad.collect() == 3).all()
    layer.zero_grad()
    assert layer.grad is None


def test_nothing_is_remembered_in_evaluation():
    layer = Embedding(V, D, seed=0).eval()
    layer([1])
    with pytest.raises(RuntimeError, match="in training and in the same thread"):
        layer.backward(np.ones((1, D)))
    layer.train()([1])
    layer.forget()
    with pytest.raises(RuntimeError, match="backward needs a forward"):
        layer.backward(np.ones((1, D)))


@pytest.mark.parametrize("kind", [Embedding, EmbeddingBag])
def test_what_is_remembered_is_the_layers_own(kind):
    """A buffer that is filled again before the backward changes no gradient."""
    layer = kind(V, D, seed=0)
    indices, grad = np.array([[1, 2]]), np.ones((1, 2, D) if kind is Embedding else (1, D), np.float32)
    layer(indices)
    indices[:] = 9
    layer.backward(grad)
    expected = grad.reshape(-1, D)[:1] / (1 if kind is Embedding else 2)
    grad[:] = 7
    assert layer.grad.rows.tolist() == [1, 2]
    np.testing.assert_array_equal(layer.grad.collect(), np.repeat(expected, 2, axis=0))


@pytest.mark.parametrize("form", ["pair", "tensor", "series", "arrow"])
def test_what_is_remembered_of_other_libraries_arrays(form):
    layer, indices = EmbeddingBag(V, D, mode="sum", seed=0), np.array([1, 2])
    if form == "pair":
        layer((indices, np.array([0, 2])))
    elif form == "tensor":
        layer(torch.from_numpy(indices), torch.tensor([0]))
    elif form == "series":
        pandas = pytest.importorskip("pandas", reason="the series is its")
        layer(pandas.Series(indices, copy=False), [0])
    else:
        pyarrow = pytest.importorskip("pyarrow", reason="the array is its")
        layer(pyarrow.array([[1, 2]]))
    indices[:] = 9
    layer.backward(np.ones((1, D)))
    assert layer.grad.rows.tolist() == [1, 2]


def test_offsets_and_weights_that_change_later():
    layer = EmbeddingBag(V, D, mode="sum", include_last_offset=True, seed=0)
    offsets, weights = np.array([0, 1, 3]), np.ones(3, np.float32)
    layer(np.array([1, 2, 3]), offsets, weights)
    offsets[1], weights[:] = 3, 9
    layer.backward(np.array([[1.0], [2.0]], np.float32).repeat(D, axis=1))
    assert layer.grad.collect()[:, 0].tolist() == [1, 2, 2]


def test_frozen_rows_get_no_gradient():
    mask = np.zeros(V, bool)
    mask[[2, 3]] = True
    layer = Embedding(V, D, freeze=mask, seed=0)
    layer([1, 2, 3, 4, 1])
    layer.backward(np.ones((5, D)))
    assert layer.grad.rows.tolist() == [1, 4]
    mask[1] = True
    assert not layer.frozen[1]


def test_min_and_sqrtn():
    weight = table("float64")
    bags = [[1, 2, 3], [], [4]]
    low = EmbeddingBag(V, D, mode="min", W=weight.copy())(bags)
    root = EmbeddingBag(V, D, mode="sqrtn", W=weight.copy())(bags)
    np.testing.assert_allclose(low, [weight[1:4].min(axis=0), np.zeros(D), weight[4]])
    np.testing.assert_allclose(root, [weight[1:4].sum(axis=0) / 3**0.5, np.zeros(D), weight[4]])


@pytest.mark.parametrize("mode", ["sum", "mean", "sqrtn", "max", "min"])
def test_gradients_are_numerically_right(mode):
    weight = table("float64")[:8]
    bags, grad = [[1, 2, 3, 1], [], [4, 7]], np.random.default_rng(3).standard_normal((3, D))
    psw = None if mode in ("max", "min") else [[0.5, 1.5, 2.0, -0.3], [], [1.0, 0.25]]
    layer = EmbeddingBag(8, D, mode=mode, W=weight)
    layer(bags, per_sample_weights=psw)
    of_weights = layer.backward(grad)
    step, expected = 1e-6, np.zeros_like(weight)
    for place in np.ndindex(weight.shape):
        values = []
        for sign in (1, -1):
            weight[place] += sign * step
            values.append((layer.eval()(bags, per_sample_weights=psw) * grad).sum())
            weight[place] -= sign * step
        expected[place] = (values[0] - values[1]) / (2 * step)
    np.testing.assert_allclose(layer.grad.to_dense(8), expected, atol=1e-8)
    if psw is None:
        assert of_weights is None
        return
    flat = np.concatenate(psw)
    for j in range(len(flat)):
        values = []
        for sign in (1, -1):
            moved = flat.copy()
            moved[j] += sign * step
            values.append((layer(bags, per_sample_weights=moved) * grad).sum())
        assert of_weights[j] == pytest.approx((values[0] - values[1]) / (2 * step), abs=1e-8)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64])
def test_all_integers_are_indices(dtype):
    layer = Embedding(V, D, seed=0)
    indices = np.array([[3, 1], [49, 3]], dtype)
    np.testing.assert_array_equal(layer(indices), layer.weight[indices.astype(int)])
    layer.backward(np.ones((2, 2, D)))
    assert layer.grad.rows.tolist() == [1, 3, 49]


def test_bfloat16():
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="it makes bfloat16 of NumPy's")
    weight = table().astype(ml_dtypes.bfloat16)
    layer = EmbeddingBag(V, D, mode="sum", W=weight)
    assert np.shares_memory(layer.weight, weight)
    out = layer([[1, 2], [3, 4]])
    assert out.dtype == layer.weight.dtype == layer.dtype == ml_dtypes.bfloat16
    np.testing.assert_allclose(out.astype(float)[0], weight[1].astype(float) + weight[2].astype(float), rtol=1e-2)
    layer.backward(np.ones((2, D), ml_dtypes.bfloat16))
    assert layer.grad.collect().dtype == np.float32
    fresh = Embedding(1000, D, dtype="bfloat16", seed=0)
    assert fresh.dtype == ml_dtypes.bfloat16
    assert abs(fresh.weight.astype(float).std() - 1) < 0.05


@pytest.mark.parametrize(
    ("on_invalid", "expected"), [("clip", [49, 0, 5]), ("pad", [None, None, 5])], ids=["clip", "pad"]
)
def test_invalid_indices_by_policy(on_invalid, expected):
    layer = Embedding(V, D, on_invalid=on_invalid, seed=0)
    out = layer([50, -1, 5])
    rows = [np.zeros(D) if row is None else layer.weight[row] for row in expected]
    np.testing.assert_array_equal(out, rows)
    layer.backward(np.ones((3, D)))
    assert layer.grad.rows.tolist() == sorted(row for row in expected if row is not None)


def test_empty_input():
    layer = Embedding(V, D, seed=0)
    assert layer(np.zeros((0, 3), int)).shape == (0, 3, D)
    layer.backward(np.zeros((0, 3, D)))
    assert len(layer.grad.rows) == 0
    bag = EmbeddingBag(V, D, seed=0)
    assert bag([]).shape == (0, D)
    bag.backward(np.zeros((0, D)))
    assert Embedding(0, D)([]).shape == (0, D)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((V, 0), {}, ValueError, "embedding_dim must be an integer >= 1, got 0"),
        ((-1, D), {}, ValueError, "num_embeddings must be an integer >= 0, got -1"),
        ((V, 2.0), {}, TypeError, "embedding_dim must be an integer"),
        ((V, D), {"padding_idx": V}, ValueError, r"padding_idx must be an integer in \[-50, 49\], got 50"),
        ((V, D), {"max_norm": float("nan")}, ValueError, "max_norm must be a finite number"),
        ((V, D), {"dtype": "int32"}, TypeError, "dtype must be one of float64, float32, float16, bfloat16, got int32"),
        ((V, D), {"W": np.zeros((V, 3))}, ValueError, r"W must be of shape .* = \(50, 6\), got \(50, 3\)"),
        ((V, D), {"W": np.zeros((V, D), int)}, TypeError, "W must be float64, float32, float16 or bfloat16"),
        ((V, D), {"W": np.zeros((D, V)).T}, ValueError, "W is changed in place"),
        ((V, D), {"W": np.zeros((V, D)), "storage": "shared"}, ValueError, "give one of them"),
        ((V, D), {"freeze": [True, False]}, ValueError, r"freeze must be a bool or a bool array of shape \(50,\)"),
        ((V, D), {"freeze": "yes"}, TypeError, "freeze must be True or False, got 'yes'"),
        ((V, D), {"on_invalid": "ignore"}, ValueError, "on_invalid must be one of"),
        ((V, D), {"device": "tpu"}, ValueError, "device must be one of"),
        ((V, D), {"embeddings_initializer": "gaussian"}, ValueError, "embeddings_initializer must be one of"),
        ((V, D), {"embeddings_initializer": 3}, TypeError, "must be a name, a callable or an array, got 3"),
        ((V, D), {"embeddings_initializer": np.zeros((2, 2))}, ValueError, r"shape \(50, 6\), got \(2, 2\)"),
        ((V, D), {"embeddings_constraint": "small"}, ValueError, "embeddings_constraint must be one of"),
        ((V, D), {"embeddings_constraint": 1}, TypeError, "embeddings_constraint must be a name or a callable"),
        ((V, D), {"embeddings_regularizer": abs}, TypeError, "a callable with a `gradient`"),
    ],
)
def test_wrong_arguments(arguments, options, error, message):
    with pytest.raises(error, match=message):
        Embedding(*arguments, **options)


def test_wrong_inputs():
    layer = Embedding(10, 2, seed=0)
    for bad in (10, -1):
        with pytest.raises(IndexError, match=rf"indices must be in \[0, 10\), got {bad} at position \(1, 0\)"):
            layer([[1, 2], [bad, 3]])
    with pytest.raises(TypeError, match="input must be integers, got float64"):
        layer([0.5])
    bag = EmbeddingBag(10, 2, mode="max", seed=0)
    with pytest.raises(ValueError, match="per_sample_weights do not go with mode='max'"):
        bag([[1]], per_sample_weights=[[1.0]])
    with pytest.raises(IndexError, match=r"got 11 at position \(1, 0\)"):
        bag([[1, 2], [11]])
    with pytest.raises(ValueError, match="mode must be one of"):
        EmbeddingBag(10, 2, mode="median")
    with pytest.raises(RuntimeError, match="backward needs a forward"):
        bag.backward(np.zeros((2, 2)))


def test_max_norm_of_a_table_that_cannot_change():
    weight = table()
    weight.flags.writeable = False
    assert Embedding.from_pretrained(weight)([1]).shape == (1, D)
    with pytest.raises(ValueError, match="max_norm changes the table in place, but the table is read-only"):
        Embedding.from_pretrained(weight, max_norm=1.0)


def test_a_frozen_table_may_be_in_any_order():
    weight = np.asfortranarray(table())
    np.testing.assert_array_equal(Embedding.from_pretrained(weight)([3, 1]), weight[[3, 1]])


@pytest.mark.parametrize("kind", [Embedding, EmbeddingBag])
def test_both_devices_agree(kind):
    weight, indices = table("float64"), draw((7, 5), high=12)
    found = []
    for device in ("cpu", "reference"):
        layer = kind(V, D, W=weight.copy(), max_norm=2.0, padding_idx=1, device=device)
        out = layer(indices)
        layer.backward(out)
        found.append((out, layer.grad.to_dense(V), layer.weight))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_representation():
    assert repr(Embedding(10, 3, padding_idx=0, max_norm=1.0)) == "Embedding(10, 3, padding_idx=0, max_norm=1.0)"
    assert repr(EmbeddingBag(10, 3)) == "EmbeddingBag(10, 3, mode='mean')"


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"optimizer": "sgd"}, TypeError, "optimizer must be an optimizer of fastemb.optim, got 'sgd'"),
        ({"optimizer": SGD}, TypeError, "optimizer must be an optimizer of fastemb.optim, got <class"),
        ({"max_norm": 1, "norm_type": float("nan")}, ValueError, "norm_type must be a finite number >= -inf, got nan"),
        ({"norm_type": "2"}, TypeError, "norm_type must be a finite number >= -inf, got '2'"),
        ({"storage": 3}, TypeError, "storage must be 'shared' or the path of an .npy file, got 3"),
        ({"W": lambda shape: np.ones(shape, complex)}, TypeError, "filled with real numbers, got complex128"),
    ],
)
@pytest.mark.parametrize("kind", [Embedding, EmbeddingBag])
def test_errors_name_the_argument(kind, options, error, message):
    with pytest.raises(error, match=message):
        kind(10, 2, **options)


def test_a_state_of_other_numbers_changes_nothing():
    layer = Embedding(3, 2, embeddings_initializer="ones")
    with pytest.raises(TypeError, match="filled with real numbers, got complex128"):
        layer.load_state_dict({"weight": np.full((3, 2), 1j)})
    assert (layer.weight == 1).all()
    assert Embedding(3, 2, max_norm=1, norm_type=float("inf"), W=np.full((3, 2), 4.0))([1]).max() < 1.001
