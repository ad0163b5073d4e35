"""Orthogonal Procrustes: what was turned is turned back, and no other rotation fits better."""

import numpy as np
import pytest

from fastemb import KeyedVectors


def turned(kv: KeyedVectors, seed: int = 1) -> tuple[KeyedVectors, np.ndarray]:
    """Return the same words in a space that is turned, and the rotation there."""
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((kv.vector_size, kv.vector_size)))
    return KeyedVectors(kv.vectors @ rotation, kv.vocabulary), rotation


@pytest.fixture(scope="module")
def kv() -> KeyedVectors:
    vectors = np.random.default_rng(0).standard_normal((300, 20))
    return KeyedVectors.from_words([f"w{i}" for i in range(300)], vectors, np.arange(300, 0, -1))


@pytest.mark.parametrize("normalize", [True, False])
def test_a_turn_is_undone(kv: KeyedVectors, normalize: bool) -> None:
    source, rotation = turned(kv)
    found = source.align_to(kv, normalize=normalize)
    np.testing.assert_allclose(found.rotation, rotation.T, atol=1e-6)
    assert found.residual < 1e-6 and found.scale == 1 and found.num_pairs == 300
    wanted = kv.get_normed_vectors() if normalize else kv.vectors
    np.testing.assert_allclose(found.vectors.vectors, wanted, atol=1e-5)
    assert found.vectors.counts is not None and found.vectors.counts[0] == 300
    assert found.vectors.most_similar("w3")[0][1] == pytest.approx(source.most_similar("w3")[0][1], abs=1e-6)


def test_shift_and_scale_are_undone(kv: KeyedVectors) -> None:
    source, _ = turned(kv)
    source.vectors = 3 * source.vectors + 7
    options = {"normalize": False, "center": True, "scale": True}
    found = source.align_to(kv, **options)
    np.testing.assert_allclose(found.vectors.vectors, kv.vectors, atol=1e-4)
    assert found.scale == pytest.approx(1 / 3) and found.residual < 1e-5
    for left_out in ("center", "scale"):
        assert source.align_to(kv, **options | {left_out: False}).residual > 0.1


def test_no_other_rotation_fits_better(kv: KeyedVectors) -> None:
    rng = np.random.default_rng(2)
    source, _ = turned(kv)
    source.vectors = source.vectors + rng.standard_normal(source.vectors.shape)
    found = source.align_to(kv, normalize=False)
    gap = np.linalg.norm(source.vectors @ found.rotation - kv.vectors)
    assert found.residual == pytest.approx(gap / np.linalg.norm(kv.vectors), rel=1e-5) and found.residual < 1.2
    np.testing.assert_allclose(found.rotation @ found.rotation.T, np.eye(20), atol=1e-9)
    for size in (1e-3, 1e-2, 1):
        other, _ = np.linalg.qr(found.rotation + size * rng.standard_normal((20, 20)))
        other *= np.sign(np.diag(other.T @ found.rotation))
        assert np.linalg.norm(source.vectors @ other - kv.vectors) > gap


def test_words_in_common_and_given_pairs(kv: KeyedVectors) -> None:
    source, _ = turned(kv)
    renamed = KeyedVectors.from_words([f"v{i}" if i % 2 else f"w{i}" for i in range(300)], source.vectors)
    assert renamed.align_to(kv).num_pairs == 150
    assert renamed.align_to(kv, restrict_vocab=100).num_pairs == 50
    pairs = [(f"v{i}", f"w{i}") for i in range(1, 300, 2)] + [("nowhere", "w1"), ("v1", "nowhere")]
    found = renamed.align_to(kv, pairs)
    assert found.num_pairs == 150 and found.residual < 1e-6
    np.testing.assert_allclose(found.vectors["w0"], kv.get_vector("w0", norm=True), atol=1e-5)


def test_compact_vectors_can_be_aligned(kv: KeyedVectors) -> None:
    source, _ = turned(kv)
    found = source.quantize(bits=8).align_to(kv.quantize(dtype="float16"))
    assert found.residual < 0.02 and found.vectors.vectors.dtype == np.float32


def test_bad_arguments(kv: KeyedVectors) -> None:
    with pytest.raises(ValueError, match="vectors of one size, got 20 and 5"):
        kv.align_to(KeyedVectors.from_words(["w1"], np.ones((1, 5))))
    with pytest.raises(ValueError, match="words in common, or known pairs of words, got none"):
        kv.align_to(KeyedVectors.from_words(["other"], np.ones((1, 20))))
    with pytest.raises(ValueError, match="words in common, or known pairs of words, got none"):
        kv.align_to(kv, [("no", "no")])
    broken = KeyedVectors(kv.vectors.copy(), kv.vocabulary)
    broken.vectors[7, 3] = np.nan
    with pytest.raises(ValueError, match="the vector of 'w7' is not finite"):
        broken.align_to(kv)
