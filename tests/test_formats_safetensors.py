"""safetensors: the same files as the safetensors package's, and no file that is wrong gets past the header."""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastemb.corpus.vocabulary import Vocabulary
from fastemb.formats import Table, read, write
from fastemb.formats.safetensors import read_tensors, write_tensors

DTYPES = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"]


def arrays() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    result = {dtype: rng.integers(0, 100, (3, 5)).astype(dtype) for dtype in DTYPES}
    return result | {
        "scalar": np.array(7.5, np.float32),
        "empty": np.zeros((0, 4), np.float32),
        "none": np.zeros(0, np.int64),
        "strided": rng.standard_normal((6, 8)).astype(np.float32)[::2, 1:6],
        "columns": np.asfortranarray(rng.standard_normal((7, 3))),
        "swapped": np.arange(5, dtype=">i4"),
        "größe \u2028": np.arange(3),
    }


def test_round_trip(tmp_path: Path) -> None:
    tensors, metadata = arrays(), {"a": "b", "é": '"\n'}
    write_tensors(tmp_path / "a", tensors, metadata)
    again, text = read_tensors(tmp_path / "a")
    assert text == metadata and set(again) == set(tensors)
    for name, value in tensors.items():
        np.testing.assert_array_equal(again[name], value)
        assert again[name].shape == value.shape
        assert again[name].dtype == value.dtype.newbyteorder("=")
        assert again[name].flags.aligned and not again[name].flags.writeable and not again[name].flags.owndata


def test_the_package_reads_ours(tmp_path: Path) -> None:
    package = pytest.importorskip("safetensors", reason="needs the safetensors package")
    numpy = pytest.importorskip("safetensors.numpy", reason="needs the safetensors package")
    write_tensors(tmp_path / "a", arrays(), {"key": "value"})
    again = numpy.load_file(tmp_path / "a")
    assert set(again) == set(arrays())
    for name, value in arrays().items():
        np.testing.assert_array_equal(again[name], value)
    with package.safe_open(tmp_path / "a", "numpy") as file:
        assert file.metadata() == {"key": "value"}


def test_we_read_the_packages(tmp_path: Path) -> None:
    numpy = pytest.importorskip("safetensors.numpy", reason="needs the safetensors package")
    tensors = {name: np.array(value, value.dtype.newbyteorder("="), order="C") for name, value in arrays().items()}
    numpy.save_file(tensors, tmp_path / "a", {"key": "value"})
    again, metadata = read_tensors(tmp_path / "a")
    assert metadata == {"key": "value"} and set(again) == set(tensors)
    for name, value in tensors.items():
        np.testing.assert_array_equal(again[name], value)


def test_nothing_at_all(tmp_path: Path) -> None:
    write_tensors(tmp_path / "a", {}, {})
    assert read_tensors(tmp_path / "a") == ({}, {})


@pytest.mark.parametrize(
    ("tensors", "metadata", "error", "message"),
    [
        ({"a": np.zeros(2, complex)}, {}, TypeError, "tensor 'a' has dtype complex128, must be one of"),
        ({"a": np.zeros(2, "U3")}, {}, TypeError, "tensor 'a' has dtype <U3"),
        ({"a": np.array([None])}, {}, TypeError, "tensor 'a' has dtype object"),
        ({5: np.zeros(2)}, {}, TypeError, "a tensor's name must be a str, got 5"),
        ({"__metadata__": np.zeros(2)}, {}, ValueError, "a tensor cannot be called '__metadata__'"),
        ({}, {"a": 1}, TypeError, "metadata must map str to str, got 'a': 1"),
        ({}, {1: "a"}, TypeError, "metadata must map str to str, got 1: 'a'"),
    ],
)
def test_what_cannot_be_written(
    tmp_path: Path, tensors: Any, metadata: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        write_tensors(tmp_path / "a", tensors, metadata)
    assert not list(tmp_path.iterdir())


def pack(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def entry(dtype: Any = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


GOOD = entry()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"abc", "it has 3 bytes, too few for a header"),
        (pack({"a": GOOD}, bytes(8), 1 << 40), "claims a header of 1099511627776 bytes, and"),
        (pack({"a": GOOD}, bytes(8), (1 << 64) - 1), "claims a header of 18446744073709551615 bytes"),
        (pack({"a": GOOD}, bytes(8), 10), "its header cannot be read"),
        (pack(b"\xff\xfe"), "its header cannot be read"),
        (pack(b"[" * 100_000), "its header cannot be read"),
        (pack(b"[1]"), "its header is not a JSON object"),
        (pack(b'{"a": 1' + b"9" * 10_000 + b"}"), "its header cannot be read|must have dtype"),
        (pack(b'{"a": {}, "a": {}}'), "a name is in the header twice"),
        (pack({"__metadata__": {"a": 1}}), "its __metadata__ must map text to text"),
        (pack({"__metadata__": "a"}), "its __metadata__ must map text to text"),
        (pack({"a": [1]}), "tensor 'a' must have dtype, shape and data_offsets"),
        (pack({"a": {"dtype": "F32"}}), "tensor 'a' must have dtype, shape and data_offsets"),
        (pack({"a": GOOD | {"more": 1}}, bytes(8)), "tensor 'a' must have dtype, shape and data_offsets"),
        (pack({"a": entry("F99")}, bytes(8)), "tensor 'a' has dtype 'F99', must be one of F64"),
        (pack({"a": entry("F8_E5M2", (8,))}, bytes(8)), "tensor 'a' has dtype 'F8_E5M2'"),
        (pack({"a": entry(["F32"])}, bytes(8)), r"tensor 'a' has dtype \['F32'\]"),
        (pack({"a": entry(shape=2)}, bytes(8)), "tensor 'a' has shape 2"),
        (pack({"a": entry(shape=(-2,))}, bytes(8)), r"tensor 'a' has shape \[-2\]"),
        (pack({"a": entry(shape=(2.0,))}, bytes(8)), r"tensor 'a' has shape \[2.0\]"),
        (pack({"a": entry(shape=(True, 2))}, bytes(8)), r"tensor 'a' has shape \[True, 2\]"),
        (pack({"a": entry(shape=[1] * 33 + [2])}, bytes(8)), "tensor 'a' has shape"),
        (pack({"a": entry(shape=(0, 1 << 62, 1 << 62), offsets=(0, 0))}), "tensor 'a' has an impossible shape"),
        (pack({"a": entry(shape=(1 << 70, 0), offsets=(0, 0))}), "tensor 'a' has shape"),
        (pack({"a": entry(offsets=(0,))}, bytes(8)), r"tensor 'a' has data_offsets \[0\]"),
        (pack({"a": entry(offsets=(8, 0))}, bytes(8)), r"tensor 'a' has data_offsets \[8, 0\]"),
        (pack({"a": entry(offsets=(-8, 0))}, bytes(8)), r"tensor 'a' has data_offsets \[-8, 0\]"),
        (pack({"a": entry(offsets=(0, 4))}, bytes(8)), "tensor 'a' needs 8 bytes and has 4"),
        (pack({"a": entry(shape=(1 << 40, 1 << 40))}, bytes(8)), "tensor 'a' needs .* bytes and has 8"),
        (pack({"a": entry(offsets=(4, 12))}, bytes(12)), "tensor 'a' begins at byte 4 of the data, must begin at 0"),
        (pack({"a": GOOD, "b": entry(offsets=(4, 12))}, bytes(12)), "tensor 'b' begins at byte 4 of the data"),
        (pack({"a": GOOD, "b": entry(offsets=(0, 8))}, bytes(8)), "tensor 'b' begins at byte 0 of the data"),
        (pack({"a": GOOD, "b": entry(offsets=(12, 20))}, bytes(20)), "tensor 'b' begins at byte 12 of the data"),
        (pack({"a": GOOD}, bytes(7)), "its tensors need 8 bytes of data and it has 7; is it truncated"),
        (pack({"a": GOOD}, bytes(9)), "its tensors need 8 bytes of data and it has 9"),
    ],
)
def test_wrong_files(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.safetensors' is not a valid safetensors file: .*" + message):
        read_tensors(tmp_path / "a.safetensors")
    with pytest.raises(ValueError, match=r"a\.safetensors' is not a valid safetensors file: .*" + message):
        read(tmp_path / "a.safetensors")


def table_tensors() -> dict[str, np.ndarray]:
    return {
        "vectors": np.arange(6, dtype=np.float32).reshape(3, 2),
        "words": np.frombuffer(b"abcd", np.uint8),
        "words_offsets": np.array([0, 1, 2, 4]),
        "counts": np.array([3, 2, 1]),
    }


def test_a_model_with_more_tensors(tmp_path: Path) -> None:
    more = {"outputs": np.zeros((3, 2), np.float32), "seed": np.array(3)}
    write_tensors(tmp_path / "m.safetensors", table_tensors() | more, {"kind": "model"})
    table = read(tmp_path / "m.safetensors")
    assert table.words == ["a", "b", "cd"]
    assert table.vectors.tolist() == [[0, 1], [2, 3], [4, 5]]
    assert table.counts is not None and table.counts.tolist() == [3, 2, 1]
    assert table.metadata == {"kind": "model"}


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_floats_are_converted(tmp_path: Path, dtype: type) -> None:
    tensors = table_tensors()
    write_tensors(tmp_path / "a.safetensors", tensors | {"vectors": tensors["vectors"].astype(dtype)}, {})
    table = read(tmp_path / "a.safetensors")
    assert table.vectors.dtype == np.float32
    assert table.vectors.tolist() == [[0, 1], [2, 3], [4, 5]]


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("vectors", np.zeros((3, 2), np.int32), r"'vectors' must be a table of floats, got int32 of shape \(3, 2\)"),
        ("vectors", np.zeros(3, np.float32), r"'vectors' must be a table of floats, got float32 of shape \(3,\)"),
        ("vectors", np.zeros((4, 2), np.float32), r"'words_offsets' must be int64 of shape \(5,\)"),
        ("words", np.zeros(4, np.int8), "'words' must be uint8 of one dimension"),
        ("words", np.zeros((2, 2), np.uint8), "'words' must be uint8 of one dimension"),
        (
            "words_offsets",
            np.array([0, 1, 2, 4], np.int32),
            r"'words_offsets' must be int64 of shape \(4,\), got int32",
        ),
        ("words_offsets", np.array([0, 1, 4]), r"'words_offsets' must be int64 of shape \(4,\), got int64"),
        ("words_offsets", np.array([0, 2, 1, 4]), "offsets must rise from 0 to 4, the number of bytes"),
        ("words_offsets", np.array([0, 1, 2, 5]), "offsets must rise from 0 to 4, the number of bytes"),
        ("words_offsets", np.array([0, 1, 2, 3]), "offsets must rise from 0 to 4, the number of bytes"),
        ("words_offsets", np.array([1, 1, 2, 4]), "offsets must rise from 0 to 4, the number of bytes"),
        ("words_offsets", np.array([0, -(1 << 62), 1 << 62, 4]), "offsets must rise from 0 to 4, the number of bytes"),
        ("counts", np.array([1, 2]), r"'counts' must be int64 of shape \(3,\)"),
        ("counts", np.array([1, 2, 3], np.int32), r"'counts' must be int64 of shape \(3,\), got int32"),
    ],
)
def test_wrong_tables(tmp_path: Path, name: str, value: np.ndarray, message: str) -> None:
    write_tensors(tmp_path / "a.safetensors", table_tensors() | {name: value}, {})
    with pytest.raises(ValueError, match=message):
        read(tmp_path / "a.safetensors")


@pytest.mark.parametrize("name", ["vectors", "words", "words_offsets"])
def test_missing_tensors(tmp_path: Path, name: str) -> None:
    tensors = table_tensors()
    del tensors[name]
    write_tensors(tmp_path / "a.safetensors", tensors, {})
    with pytest.raises(ValueError, match=rf"has no tensor '{name}', only counts, "):
        read(tmp_path / "a.safetensors")


def test_a_million_words_open_as_a_memory_map(tmp_path: Path) -> None:
    num_words = 1_000_000
    offsets = 4 * np.arange(num_words + 1)
    packed = np.frombuffer(b"".join(b"%04x" % (i % 65536) for i in range(num_words)), np.uint8)
    words = Vocabulary(packed, offsets, np.zeros(num_words, np.int64))
    write(tmp_path / "a.safetensors", Table(words, np.zeros((num_words, 4), np.float32)))
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        table = read(tmp_path / "a.safetensors")
        seconds.append(time.perf_counter() - start)
    assert not table.vectors.flags.owndata and not table.vectors.flags.writeable
    assert "words" not in vars(table.vocabulary), "words must stay packed until they are asked for"
    # Milliseconds; to decode the words takes a hundred times as long.
    assert min(seconds) < 0.1
    assert table.vocabulary.as_bytes(999_999, 1_000_000) == [b"%04x" % (999_999 % 65536)]
