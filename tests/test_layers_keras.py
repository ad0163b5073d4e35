"""Layers by Keras' and Lasagne's words: initializers, masks, documented examples."""

import os
import pickle

import numpy as np
import pytest

from fastemb import Embedding
from fastemb.layers import constraints, initializers, regularizers

V, D = 3000, 20


@pytest.fixture(scope="module")
def keras():
    pytest.importorskip("torch", reason="Keras runs on it")
    os.environ.setdefault("KERAS_BACKEND", "torch")
    return pytest.importorskip("keras", reason="Keras is the oracle")


def test_example_of_lasagne():
    """The example of `EmbeddingLayer`'s documentation."""
    W = np.arange(3 * 5).reshape((3, 5)).astype("float32")
    layer = Embedding(3, 5, W=W)
    out = layer(np.array([[0, 2], [1, 2]]).astype("int32"))
    assert repr(out) == (
        "array([[[ 0.,  1.,  2.,  3.,  4.],\n"
        "        [10., 11., 12., 13., 14.]],\n"
        "\n"
        "       [[ 5.,  6.,  7.,  8.,  9.],\n"
        "        [10., 11., 12., 13., 14.]]], dtype=float32)"
    )
    assert np.shares_memory(layer.weight, W)


def test_example_of_keras():
    """From `Embedding`'s documentation: [[4], [20]] becomes [[[0.25, 0.1]], [[0.6, -0.2]]]."""
    weights = np.zeros((1000, 2), np.float32)
    weights[4], weights[20] = [0.25, 0.1], [0.6, -0.2]
    layer = Embedding(1000, 2, embeddings_initializer=weights)
    out = layer(np.array([[4], [20]]))
    assert out.shape == (2, 1, 2)
    np.testing.assert_array_equal(out, np.float32([[[0.25, 0.1]], [[0.6, -0.2]]]))
    assert not np.shares_memory(layer.weight, weights)


def test_a_lookup_is_a_product_with_one_hot_rows():
    layer = Embedding(7, 3, seed=0)
    indices = np.array([3, 0, 6])
    np.testing.assert_array_equal(layer(indices), np.eye(7, dtype=np.float32)[indices] @ layer.weight)


def test_default_of_keras_by_name():
    """torch's default is N(0, 1), Keras' is "uniform"."""
    weight = Embedding(V, D, embeddings_initializer="uniform", seed=0).weight
    assert abs(weight).max() <= 0.05
    assert weight.std() == pytest.approx(0.1 / 12**0.5, rel=0.02)


@pytest.mark.parametrize("name", sorted(set(initializers.NAMES) - {"orthogonal", "identity"}))
def test_names_mean_what_they_mean_in_keras(keras, name):
    keras.utils.set_random_seed(0)
    theirs = np.asarray(keras.initializers.get(name)((V, D)).detach().cpu())
    ours = Embedding(V, D, embeddings_initializer=name, seed=0).weight
    assert ours.mean() == pytest.approx(theirs.mean(), abs=1.5e-3)
    assert ours.std() == pytest.approx(theirs.std(), rel=0.02)
    assert abs(ours).max() == pytest.approx(abs(theirs).max(), rel=0.25)


@pytest.mark.parametrize("shape", [(30, 5), (5, 30)])
def test_orthogonal(shape):
    weight = Embedding(*shape, embeddings_initializer=initializers.Orthogonal(2.0), dtype="float64", seed=0).weight
    product = weight.T @ weight if shape[0] > shape[1] else weight @ weight.T
    np.testing.assert_allclose(product, 4 * np.eye(5), atol=1e-12)


def test_identity():
    np.testing.assert_array_equal(Embedding(4, 3, embeddings_initializer="identity").weight, np.eye(4, 3))


@pytest.mark.parametrize("mode", ["fan_in", "fan_out", "fan_avg"])
@pytest.mark.parametrize("distribution", ["truncated_normal", "untruncated_normal", "uniform"])
def test_variance_scaling(keras, mode, distribution):
    keras.utils.set_random_seed(0)
    theirs = keras.initializers.VarianceScaling(3.0, mode, distribution)((V, D)).detach().cpu().numpy()
    ours = Embedding(V, D, embeddings_initializer=initializers.VarianceScaling(3.0, mode, distribution), seed=0).weight
    assert ours.std() == pytest.approx(theirs.std(), rel=0.02)


def test_initializers_of_ones_own(keras):
    def keras_way(shape, dtype=None):
        assert dtype == "float32"
        return np.full(shape, 2.0, dtype)

    assert (Embedding(5, 2, embeddings_initializer=keras_way).weight == 2).all()
    assert (Embedding(5, 2, W=lambda shape: np.full(shape, 3.0)).weight == 3).all()
    theirs = Embedding(5, 2, embeddings_initializer=keras.initializers.Constant(4.0))
    assert (theirs.weight == 4).all()
    with pytest.raises(ValueError, match=r"embeddings_initializer must give an array of shape \(5, 2\), got \(3, 2\)"):
        Embedding(5, 2, W=lambda shape: np.zeros((3, 2)))


def test_the_padding_row_of_a_callable_is_zeros():
    assert Embedding(3, 2, padding_idx=1, embeddings_initializer="ones").weight[:, 0].tolist() == [1, 0, 1]
    assert Embedding(3, 2, padding_idx=1, embeddings_initializer=np.ones((3, 2))).weight[:, 0].tolist() == [1, 1, 1]


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "bfloat16"])
def test_numbers_do_not_depend_on_blocks(dtype):
    """A table larger than what is drawn at a time begins as a smaller one does."""
    small, large = (Embedding(n, 100, dtype=dtype, seed=0).weight for n in (500, 2000))
    np.testing.assert_array_equal(small, large[:500])


def test_regularizers_and_constraints_of_keras(keras):
    for theirs, ours in (
        (keras.regularizers.L1(0.5), regularizers.L1L2(l1=0.5)),
        (keras.regularizers.L2(0.5), regularizers.L1L2(l2=0.5)),
        (keras.regularizers.L1L2(0.25, 0.5), regularizers.L1L2(0.25, 0.5)),
    ):
        assert regularizers.get(theirs) == ours
    with pytest.raises(TypeError, match="embeddings_regularizer must be a name, or a callable with a `gradient`"):
        regularizers.get(keras.regularizers.OrthogonalRegularizer())
    rows = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    bounded = constraints.get(keras.constraints.MaxNorm(1.0, axis=1))
    np.testing.assert_allclose(np.asarray(bounded(rows)), constraints.MaxNorm(1.0)(rows), rtol=1e-6)
    with pytest.raises(
        ValueError, match="embeddings_constraint must be one of rows, as Keras' with axis=1, got axis=0"
    ):
        constraints.get(keras.constraints.MaxNorm(1.0))


def test_mask():
    assert Embedding(5, 2).compute_mask([[4, 0]]) is None
    assert Embedding(5, 2, mask_zero=True).compute_mask(np.array([[4, 0]])).tolist() == [[True, False]]


def test_initializers_are_pickled():
    for initializer in set(initializers.NAMES.values()):
        assert pickle.loads(pickle.dumps(initializer)) == initializer


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: initializers.Uniform(1, 0), "maxval must be a finite number >= 1"),
        (lambda: initializers.Normal(stddev=-1), "stddev must be a finite number >= 0"),
        (lambda: initializers.Constant(float("nan")), "value must be a finite number"),
        (lambda: initializers.VarianceScaling(0), "scale must be a finite number > 0"),
        (lambda: initializers.VarianceScaling(mode="fan"), "mode must be one of"),
        (lambda: initializers.VarianceScaling(distribution="cauchy"), "distribution must be one of"),
    ],
)
def test_wrong_initializers(make, message):
    with pytest.raises(ValueError, match=message):
        make()
