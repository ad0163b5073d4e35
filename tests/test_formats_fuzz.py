"""Files with flipped, dropped or added bytes are read or refused with a ValueError, and never anything else."""

import functools
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fastemb import formats
from fastemb.corpus.subwords import Subwords
from fastemb.corpus.vocabulary import Vocabulary
from fastemb.engine.product import ProductRows
from fastemb.formats import Table, read, write
from fastemb.formats.files import require_file
from fastemb.formats.subwords import SubwordTable

NAMES = ["a.safetensors", "a.vec", "a.bin", "a.glove", "a.npy", "a.vec.gz", "a.fifu"]
SUBWORDS = ["fasttext.bin", "pruned.ftz", "subwords.safetensors", "a.floret"]
WORDS = ["the", "naïve", "x", "東京", "word4"]
UNSEEN = Vocabulary.from_words(["these", "", "</s>"])


@functools.cache
def valid(name: str) -> tuple[bytes, bytes | None]:
    """Return a valid file, and the vocabulary beside it if the format has one."""
    vectors = np.random.default_rng(0).standard_normal((len(WORDS), 3)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder, name), Table(Vocabulary.from_words(WORDS, np.arange(5)), vectors))
        beside = Path(folder, "a.vocab.txt")
        return Path(folder, name).read_bytes(), beside.read_bytes() if beside.exists() else None


@functools.cache
def valid_subwords(name: str) -> bytes:
    """Return a valid file with rows of n-grams."""
    vocabulary = Vocabulary.from_words(WORDS, np.arange(5))
    random = np.random.default_rng(0)
    rows = random.standard_normal((len(WORDS) + 6, 3)).astype(np.float32)
    subwords = Subwords(2, 3, 6)
    if name == "a.floret":
        table = SubwordTable(vocabulary, rows[:6], Subwords(2, 3, 6, hash_count=2))
    elif name == "fasttext.bin":
        table = SubwordTable(vocabulary, rows, subwords)
    else:
        codes = random.integers(0, 256, (len(WORDS) + 2, 2), np.uint8)
        norms = codes[:, 0].copy(), random.random(256, np.float32)
        product = ProductRows(codes, random.random(3 * 256, np.float32), 2, *norms)
        kept, places = np.array([1, 4], np.int32), np.array([1, 0], np.int32)
        table = SubwordTable(vocabulary, product, Subwords(2, 3, 6, kept=kept, kept_rows=places))
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder, name), table)
        return Path(folder, name).read_bytes()


def changed(content: bytes, edits: list[tuple[str, float, int]]) -> bytes:
    """Return the content after some edits at places between 0 (the start) and 1 (the end)."""
    data = bytearray(content)
    for kind, place, value in edits:
        at = int(place * len(data))
        if kind == "flip" and at < len(data):
            data[at] ^= 1 << value % 8
        elif kind == "set" and at < len(data):
            data[at] = value
        elif kind == "insert":
            data.insert(at, value)
        elif kind == "drop":
            del data[at : at + value % 9]
        elif kind == "cut":
            del data[at:]
        elif kind == "repeat":
            data[at:at] = data[at : at + value]
    return bytes(data)


def check(path: Path, ways: Sequence[str] = formats.FORMATS) -> None:
    """Read a file in all ways; what comes out must be a whole table."""
    for format in (None, *ways):
        for errors in ("strict", "replace", "surrogateescape"):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", UserWarning)
                    table = read(path, format=format, errors=errors)
            except (ValueError, FileNotFoundError):
                continue
            assert table.vectors.shape[0] == len(table.words) == len(table.vocabulary.key_to_index) or format != "glove"
            with np.errstate(all="ignore"):
                table.vectors.sum()
                if isinstance(table, SubwordTable):
                    table.vectors_of(UNSEEN).sum()


edits = st.lists(
    st.tuples(
        st.sampled_from(["flip", "set", "insert", "drop", "cut", "repeat"]),
        st.floats(0, 1),
        st.sampled_from([*b' \n\r\t\0\xff0123456789.eE-+naif{}[]",:']) | st.integers(0, 255),
    ),
    min_size=1,
    max_size=4,
)


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=120, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(edits=edits)
def test_changed_files(name: str, edits: list[tuple[str, float, int]]) -> None:
    content, vocabulary = valid(name)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(changed(content, edits))
        if vocabulary is not None:
            Path(folder, "a.vocab.txt").write_bytes(vocabulary)
        check(path)


@pytest.mark.parametrize("name", SUBWORDS)
@settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(edits=edits)
def test_changed_subwords(name: str, edits: list[tuple[str, float, int]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        path.write_bytes(changed(valid_subwords(name), edits))
        check(path)


@pytest.mark.parametrize("name", ["gensim/crime-and-punishment.bin", "gensim/lee_fasttext.bin"])
@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(edits=edits, head=st.booleans())
def test_changed_models_of_fasttext(data: Path, name: str, edits: list[tuple[str, float, int]], head: bool) -> None:
    content = (data / "formats" / name).read_bytes()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.bin")
        # What stands in the first bytes decides what the rest is.
        path.write_bytes(changed(content[:200], edits) + content[200:] if head else changed(content, edits))
        check(path, ["fasttext"])


@pytest.mark.parametrize("name", SUBWORDS)
def test_every_truncation_of_subwords(tmp_path: Path, name: str) -> None:
    content = valid_subwords(name)
    ending = len(content.splitlines()[-1].rsplit(b" ", 1)[-1]) + 1 if name == "a.floret" else 0
    format = {".safetensors": "safetensors", ".floret": "floret"}.get(Path(name).suffix, "fasttext")
    for size in [*range(0, 300), *range(300, len(content) - ending, 31)]:
        (tmp_path / name).write_bytes(content[: min(size, len(content) - ending - 1)])
        with pytest.raises(ValueError, match=name):
            read(tmp_path / name, format=format)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(edits=edits)
def test_changed_vocabulary(edits: list[tuple[str, float, int]]) -> None:
    content, vocabulary = valid("a.npy")
    assert vocabulary is not None
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "a.npy").write_bytes(content)
        Path(folder, "a.vocab.txt").write_bytes(changed(vocabulary, edits))
        check(Path(folder, "a.npy"))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(content=st.binary(max_size=200))
@example(
    content=b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (1, 1), }" + b" " * 59 + b"\n"
)
def test_any_bytes(content: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a")
        path.write_bytes(content)
        Path(folder, "a.vocab.txt").write_bytes(b"word\n")
        check(path)


@pytest.mark.parametrize("name", NAMES)
def test_every_truncation(tmp_path: Path, name: str) -> None:
    content, vocabulary = valid(name)
    if vocabulary is not None:
        (tmp_path / "a.vocab.txt").write_bytes(vocabulary)
    refused = 0
    for size in range(len(content)):
        (tmp_path / name).write_bytes(content[:size])
        try:
            table = read(tmp_path / name)
        except ValueError:
            refused += 1
            continue
        assert len(table.words) == len(table.vectors)
    # Text may end inside its last number; without a header inside any row's, or anywhere in the first row, which tells
    # how many numbers there are. All else must be noticed.
    endings = [len(line.rsplit(b" ", 1)[-1]) + 1 for line in content.splitlines()]
    hidden = {"a.vec": endings[-1], "a.bin": 1, "a.glove": sum(endings) + content.index(b"\n")}
    assert refused >= len(content) - hidden.get(name, 0)


@pytest.mark.parametrize("name", ["a.vec", "a.bin", "a.safetensors", "a.npy", "a.fifu"])
def test_lying_headers_take_no_memory(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    refuse_large_arrays(monkeypatch)
    content, vocabulary = valid(name)
    lies = {
        "a.vec": content.replace(b"5 3\n", b"999999999999 300\n"),
        "a.bin": content.replace(b"5 3\n", b"999999999999 300\n"),
        "a.safetensors": content.replace(b"[5,3]", b"[9999999999999999,3]"),
        "a.fifu": content.replace((5).to_bytes(8, "little"), (1 << 40).to_bytes(8, "little")),
        "a.npy": content.replace(b"(5, 3), }" + b" " * 20, b"(999999999999999, 300000), }" + b" "),
    }
    assert lies[name] != content
    (tmp_path / name).write_bytes(lies[name])
    if vocabulary is not None:
        (tmp_path / "a.vocab.txt").write_bytes(vocabulary)
    with pytest.raises(ValueError, match=r"too small|truncated|cannot be read|needs|claims"):
        read(tmp_path / name)
    assert require_file(tmp_path / name)


def refuse_large_arrays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make ``np.empty`` fail where it is asked for more than a megabyte."""
    empty: Callable[..., np.ndarray] = np.empty

    def checked(shape: int | tuple[int, ...], *args: object, **kwargs: object) -> np.ndarray:
        assert np.prod(np.atleast_1d(np.array(shape, dtype=object))) < 1 << 18, f"asked for {shape}"
        return empty(shape, *args, **kwargs)

    monkeypatch.setattr(np, "empty", checked)
