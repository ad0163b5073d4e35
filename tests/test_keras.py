"""fastemb.keras.Embedding against Keras' own, on the torch backend."""

import os
import subprocess
import sys

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")
os.environ.setdefault("KERAS_BACKEND", "torch")
keras = pytest.importorskip("keras", reason="Keras is not installed", exc_type=ImportError)
if keras.config.backend() != "torch":
    pytest.skip(f"Keras runs on {keras.config.backend()}, not on torch", allow_module_level=True)

from fastemb.keras import Embedding  # noqa: E402

# Keras reads torch's tensors in a way that NumPy will not allow for long.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

IDS = np.array([[4, 1, 0], [19, 4, 4]])


def pair(**options):
    """Fastemb's layer and Keras' own, with the same weights."""
    layers = []
    for kind in (Embedding, keras.layers.Embedding):
        keras.utils.set_random_seed(1)
        layer = kind(20, 3, **options)
        layer.build()
        layers.append(layer)
    return layers


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "mixed_bfloat16"])
def test_same_rows(dtype):
    ours, theirs = pair(dtype=dtype)
    for ids in (IDS, IDS.astype("float32"), IDS.astype("int32"), IDS[0], -1 - IDS):
        actual, expected = ours(ids), theirs(ids)
        assert actual.dtype == expected.dtype and (actual == expected).all()


def test_the_documented_example():
    """Keras' [[4], [20]] is [[0.25, 0.1], [0.6, -0.2]]."""
    weights = np.zeros((21, 2), np.float32)
    weights[[4, 20]] = [[0.25, 0.1], [0.6, -0.2]]
    rows = keras.ops.convert_to_numpy(Embedding(21, 2, weights=weights)(np.array([[4], [20]])))
    assert rows.tolist() == [[[0.25, np.float32(0.1)]], [[np.float32(0.6), np.float32(-0.2)]]]


def test_mask():
    ours, theirs = pair(mask_zero=True)
    assert (ours(IDS)._keras_mask == theirs(IDS)._keras_mask).all()
    assert ours.compute_mask(keras.ops.convert_to_tensor(IDS))[0].tolist() == [True, True, False]


@pytest.mark.parametrize("late", [False, True])
def test_lora(late):
    ours, theirs = pair() if late else pair(lora_rank=2, lora_alpha=3)
    change = np.arange(6, dtype=np.float32).reshape(2, 3)
    for layer in (ours, theirs):
        if late:
            keras.utils.set_random_seed(2)
            layer.enable_lora(2)
        layer.lora_embeddings_b.assign(change)
        assert len(layer.trainable_weights) == 2
    np.testing.assert_allclose(*(keras.ops.convert_to_numpy(layer(IDS)) for layer in (ours, theirs)), rtol=1e-5)
    gradients = []
    for layer in (ours, theirs):
        (layer(IDS) ** 2).sum().backward()
        gradients.append([weight.value.grad for weight in layer.trainable_weights])
    for actual, expected in zip(*gradients, strict=True):
        np.testing.assert_allclose(actual.numpy(), expected.numpy(), rtol=1e-4, atol=1e-4)


def test_configuration():
    options = {
        "embeddings_initializer": "ones",
        "embeddings_regularizer": "l2",
        "embeddings_constraint": "non_neg",
        "mask_zero": True,
        "name": "words",
    }
    ours, theirs = Embedding(20, 3, **options), keras.layers.Embedding(20, 3, **options)
    assert ours.get_config() == theirs.get_config()
    again = Embedding.from_config(ours.get_config())
    assert again.get_config() == ours.get_config()
    assert type(keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(ours))) is Embedding


def model(kind):
    keras.utils.set_random_seed(3)
    inputs = keras.Input((3,), dtype="int32")
    hidden = kind(20, 4, embeddings_regularizer="l2", mask_zero=True)(inputs)
    return keras.Model(inputs, keras.layers.Dense(1)(keras.layers.GlobalAveragePooling1D()(hidden)))


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_same_losses_in_fit(optimizer):
    rng = np.random.default_rng(0)
    ids, targets = rng.integers(0, 20, (64, 3)), rng.standard_normal((64, 1))
    losses = []
    for kind in (Embedding, keras.layers.Embedding):
        trained = model(kind)
        trained.compile(optimizer, "mse")
        losses.append(trained.fit(ids, targets, batch_size=16, epochs=3, shuffle=False, verbose=0).history["loss"])
    np.testing.assert_allclose(*losses, rtol=1e-5)


def test_models_are_saved_and_loaded(tmp_path):
    ours = model(Embedding)
    ours.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    assert type(again.layers[1]) is Embedding
    np.testing.assert_array_equal(again.predict(IDS, verbose=0), ours.predict(IDS, verbose=0))
    theirs = model(keras.layers.Embedding)
    theirs.set_weights(ours.get_weights())
    np.testing.assert_allclose(theirs.predict(IDS, verbose=0), ours.predict(IDS, verbose=0), rtol=1e-6)


def test_quantised_layers_are_keras():
    ours, theirs = pair()
    for layer in (ours, theirs):
        layer.quantize("int8")
    assert (ours(IDS) == theirs(IDS)).all()


def test_an_index_out_of_range():
    layer = Embedding(20, 3)
    with pytest.raises(IndexError, match=r"indices must be in \[0, 20\), got 20 at position \(0, 1\)"):
        layer(np.array([[-20, 20]]))
    with pytest.raises(IndexError, match=r"indices must be in \[0, 20\), got -21 at position \(0, 1\)"):
        layer(np.array([[-20, -21]]))


@pytest.mark.parametrize(
    ("before", "message"),
    [
        ("sys.modules['keras'] = None", "fastemb.keras needs Keras and PyTorch: pip install 'fastemb[keras]'"),
        ("sys.modules['torch'] = None", "fastemb.keras needs Keras and PyTorch: pip install 'fastemb[keras]'"),
        (
            "import keras; keras.config.backend = lambda: 'jax'",
            "fastemb.keras needs Keras on torch, got jax: set KERAS_BACKEND=torch",
        ),
    ],
)
def test_without_keras_on_torch_the_error_says_what_to_do(before, message):
    code = f"import sys\n{before}\ntry:\n    import fastemb.keras\nexcept ImportError as error:\n    print(error)"
    environment = {**os.environ, "KERAS_BACKEND": "torch"}
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert ran.stdout.strip() == message
