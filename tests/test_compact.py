"""Vectors in less memory: the same answers within rounding, the same files, nothing that can be changed."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastemb import KeyedVectors
from fastemb.formats.compact import KINDS, CompactVectors
from fastemb.formats.safetensors import read_tensors, write_tensors

WAYS: dict[str, dict[str, Any]] = {
    "int8": {"bits": 8},
    "int4": {"bits": 4},
    "float16": {"dtype": "float16"},
    "bfloat16": {"dtype": "bfloat16"},
}
kinds = pytest.mark.parametrize("kind", KINDS)


def make(num_words: int = 3000, dim: int = 33) -> KeyedVectors:
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((num_words // 20, dim))
    vectors = np.repeat(centres, 20, axis=0) + 0.7 * rng.standard_normal((num_words, dim))
    return KeyedVectors.from_words([f"w{i}" for i in range(num_words)], vectors, np.arange(num_words, 0, -1))


@pytest.fixture(scope="module")
def kv() -> KeyedVectors:
    return make()


@kinds
def test_rows_are_those_of_the_decoded_table(kv: KeyedVectors, kind: str) -> None:
    small = kv.quantize(**WAYS[kind])
    whole = np.array(small.vectors)
    assert whole.dtype == np.float32 and whole.shape == kv.vectors.shape
    for rows in (slice(0, 5), slice(7, None, 3), np.array([4, 0, 4]), slice(0, 0), np.zeros(0, np.int64), -1, 2):
        np.testing.assert_array_equal(small.vectors[rows], whole[rows])
    error = np.abs(whole - kv.vectors).max()
    step = np.ptp(kv.vectors, axis=1).max()
    assert 0 < error <= {"int8": 0.51 * step / 255, "int4": 0.55 * step / 15, "float16": 0.004, "bfloat16": 0.02}[kind]
    assert small.vectors.nbytes < kv.vectors.nbytes * {"int8": 0.32, "int4": 0.17}.get(kind, 0.51)
    assert repr(small) == f"KeyedVectors(3000 words, vector_size=33, {kind})"


@kinds
def test_questions_are_answered_as_from_the_decoded_table(kv: KeyedVectors, kind: str) -> None:
    small = kv.quantize(**WAYS[kind])
    whole = KeyedVectors(np.array(small.vectors), kv.vocabulary)
    words = kv.index_to_key
    assert small.most_similar("w5") == whole.most_similar("w5")
    assert small.most_similar([words[5], words[7]], [words[9]], restrict_vocab=100) == whole.most_similar(
        [words[5], words[7]], [words[9]], restrict_vocab=100
    )
    assert small.most_similar_batch(words[:300], workers=2) == whole.most_similar_batch(words[:300])
    assert small.similarity("w1", "w2") == whole.similarity("w1", "w2")
    assert small.most_similar_cosmul("w5", "w9") == whole.most_similar_cosmul("w5", "w9")
    assert small.closer_than("w5", "w9") == whole.closer_than("w5", "w9")
    np.testing.assert_allclose(small.most_similar("w5", topn=None), whole.most_similar("w5", topn=None), atol=1e-6)
    np.testing.assert_array_equal(small.norms, whole.norms)
    assert small.doesnt_match(words[:5]) == whole.doesnt_match(words[:5])
    np.testing.assert_array_equal(small[["w5", "w7"]], whole[["w5", "w7"]])


@kinds
def test_few_neighbors_are_lost(kv: KeyedVectors, kind: str) -> None:
    ids, _ = kv.most_similar_batch(kv.index_to_key[:500], arrays=True)
    found, _ = kv.quantize(**WAYS[kind]).most_similar_batch(kv.index_to_key[:500], arrays=True)
    recall = np.mean([len(np.intersect1d(a, b)) / 10 for a, b in zip(ids, found, strict=True)])
    assert recall > {"int8": 0.98, "int4": 0.75, "float16": 0.995, "bfloat16": 0.97}[kind]


@kinds
def test_files(kv: KeyedVectors, kind: str, tmp_path: Path) -> None:
    small = kv.quantize(**WAYS[kind])
    small.metadata["language"] = "en"
    small.save(tmp_path / "a.safetensors")
    again = KeyedVectors.load(tmp_path / "a.safetensors")
    assert isinstance(again.vectors, CompactVectors) and again.vectors.kind == kind
    assert again.metadata == {"language": "en"} and again.get_vecattr("w3", "count") == 2997
    stored = again.vectors.stored
    assert not stored.flags.owndata and not stored.flags.writeable
    np.testing.assert_array_equal(stored, small.vectors.stored)
    assert again.most_similar("w5") == small.most_similar("w5")
    assert len(KeyedVectors.load(tmp_path / "a.safetensors", limit=7).vectors) == 7
    for name in ("a.vec", "a.bin", "a.npy", "a.glove"):
        small.save(tmp_path / name)
        np.testing.assert_array_equal(KeyedVectors.load(tmp_path / name).vectors, np.array(small.vectors))


@pytest.mark.parametrize(("kind", "dtype"), [("float16", "float16"), ("bfloat16", "bfloat16")])
def test_short_floats_are_what_other_programs_read(kv: KeyedVectors, kind: str, dtype: str, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch knows bfloat16")
    package = pytest.importorskip("safetensors.torch", reason="needs the safetensors package")
    kv.quantize(dtype=dtype).save(tmp_path / "a.safetensors")
    tensor = package.load_file(tmp_path / "a.safetensors")["vectors"]
    assert tensor.dtype == getattr(torch, dtype)
    assert torch.equal(tensor, torch.from_numpy(kv.vectors).to(tensor.dtype))


def test_bfloat16_of_another_program_is_read(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="torch knows bfloat16")
    package = pytest.importorskip("safetensors.torch", reason="needs the safetensors package")
    words = KeyedVectors.from_words(["a", "b"], np.eye(2)).vocabulary
    tensors = {"vectors": torch.tensor([[1.5, 2], [0, -3]]).bfloat16(), "words": torch.tensor(words.packed)}
    package.save_file(tensors | {"words_offsets": torch.tensor(words.offsets)}, tmp_path / "a.safetensors")
    assert KeyedVectors.load(tmp_path / "a.safetensors")[["a", "b"]].tolist() == [[1.5, 2], [0, -3]]


def test_there_and_back(kv: KeyedVectors) -> None:
    small = kv.quantize(dtype=np.float16)
    whole = small.quantize(dtype="float32")
    np.testing.assert_array_equal(whole.vectors, kv.vectors.astype(np.float16))
    whole["w0"] = np.ones(33)
    assert pickle.loads(pickle.dumps(small)).most_similar("w5") == small.most_similar("w5")
    np.testing.assert_array_equal(small.quantize(bits=8).vectors.stored, whole_codes(kv))


def whole_codes(kv: KeyedVectors) -> np.ndarray:
    return CompactVectors.of(kv.vectors.astype(np.float16).astype(np.float32), "int8").stored


def test_compact_vectors_cannot_be_changed(kv: KeyedVectors) -> None:
    small = kv.quantize()
    for change in (
        lambda: small.add_vectors(["new"], np.ones((1, 33))),
        lambda: small.__setitem__("w0", np.ones(33)),
        small.unit_normalize_all,
    ):
        with pytest.raises(TypeError, match=r"int8 vectors cannot be changed; quantize\(dtype='float32'\)"):
            change()
    assert len(small) == 3000 and "new" not in small
    with pytest.raises(ValueError, match="without a copy"):
        np.array(small.vectors, copy=False)
    small.sort_by_descending_frequency()
    assert small.most_similar("w5") == kv.quantize().most_similar("w5")


def test_bad_arguments(kv: KeyedVectors) -> None:
    with pytest.raises(ValueError, match="bits or dtype must be given, not both"):
        kv.quantize(bits=8, dtype="float16")
    with pytest.raises(ValueError, match="bits must be one of 8, 4, got 3"):
        kv.quantize(bits=3)
    with pytest.raises(ValueError, match="dtype must be one of 'float16', 'bfloat16', 'float32', got 'int8'"):
        kv.quantize(dtype=np.int8)
    broken = KeyedVectors.from_words(["a", "b"], np.array([[1, 2], [np.inf, 0]]))
    for way in WAYS.values():
        with pytest.raises(ValueError, match="vectors must be finite to be quantized, row 1 is not"):
            broken.quantize(**way)
    with pytest.raises(ValueError, match=r"int4 vectors of size 5 must be stored as uint8 of shape \(num_words, 7\)"):
        CompactVectors(np.zeros((2, 8), np.uint8), "int4", 5)
    with pytest.raises(ValueError, match="kind must be one of 'int8'"):
        CompactVectors(np.zeros((2, 8), np.uint8), "int2", 5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fastemb.kind": "int4"}, r"int4 vectors of size 3 must be stored as uint8 of shape \(num_words, 6\)"),
        ({"fastemb.kind": "int2"}, "kind must be one of 'int8', 'int4'"),
        ({"fastemb.vector_size": "many"}, "fastemb.vector_size must be a number, got 'many'"),
        ({"fastemb.vector_size": "9" * 40}, "fastemb.vector_size must be a number"),
    ],
)
def test_files_that_lie_about_their_codes(tmp_path: Path, change: dict[str, str], message: str) -> None:
    path = tmp_path / "a.safetensors"
    KeyedVectors.from_words(["a", "b"], np.ones((2, 3))).quantize().save(path)
    tensors, metadata = read_tensors(path)
    write_tensors(path, {name: array.copy() for name, array in tensors.items()}, metadata | change)
    with pytest.raises(ValueError, match=message):
        KeyedVectors.load(path)


def test_attributes_that_do_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    KeyedVectors.from_words(["a", "b"], np.ones((2, 3))).save(path)
    tensors, metadata = read_tensors(path)
    tensors = {name: array.copy() for name, array in tensors.items()} | {"attribute.x": np.zeros(3)}
    write_tensors(path, tensors, metadata)
    with pytest.raises(ValueError, match=r"attribute 'x' must have 2 values, got shape \(3,\)"):
        KeyedVectors.load(path)


@kinds
def test_tables_without_words(kind: str) -> None:
    empty = KeyedVectors(vector_size=5).quantize(**WAYS[kind])
    assert len(empty) == 0 and empty.most_similar(np.ones(5)) == [] and np.array(empty.vectors).shape == (0, 5)
