"""Every format: what is written is read again, and what cannot be written or read is told."""

import gzip
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fastemb import KeyedVectors, formats
from fastemb.corpus.vocabulary import Vocabulary
from fastemb.formats import Table, detect, read, write

FILES = ["a.safetensors", "a.vec", "a.bin", "a.glove", "a.npy", "a.vec.gz", "a.bin.gz", "a.glove.gz"]
TEXT = ["a.vec", "a.glove", "a.vec.gz"]
KEEPS_COUNTS = {"a.safetensors", "a.npy"}
PLAIN_WORDS = [
    "the",
    "naïve",
    "東京",
    "🙂",
    "a\tb",
    "x\u00a0y",
    "x\u2028y",
    "1",
    "0.5",
    "</s>",
    "\\n",
    "\ufeffbom",
    "é" * 200,
]


def make_table(words: list[str], dim: int = 7, counts: bool = True, seed: int = 0) -> Table:
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((len(words), dim)).astype(np.float32)
    occurrences = np.arange(len(words))[::-1] if counts else None
    return Table(Vocabulary.from_bytes([w.encode("utf-8", "surrogateescape") for w in words], occurrences), vectors)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("dim", [1, 7, 300])
def test_round_trip(tmp_path: Path, name: str, dim: int) -> None:
    table = make_table(PLAIN_WORDS, dim)
    write(tmp_path / name, table)
    again = read(tmp_path / name)
    assert again.words == table.words
    assert again.vectors.dtype == np.float32
    np.testing.assert_array_equal(again.vectors, table.vectors)
    if name in KEEPS_COUNTS:
        np.testing.assert_array_equal(again.counts, table.counts)
    else:
        assert again.counts is None
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("name", FILES)
def test_limit_reads_the_first_words(tmp_path: Path, name: str) -> None:
    table = make_table(["a", "b", "c"])
    write(tmp_path / name, table)
    again = read(tmp_path / name, limit=2)
    assert again.words == ["a", "b"]
    np.testing.assert_array_equal(again.vectors, table.vectors[:2])
    assert read(tmp_path / name, limit=99).words == ["a", "b", "c"]
    with pytest.raises(ValueError, match="limit must be an integer >= 1, got 0"):
        read(tmp_path / name, limit=0)


@pytest.mark.parametrize("name", FILES)
def test_more_rows_than_a_block(tmp_path: Path, name: str) -> None:
    table = make_table([f"word{i}" for i in range(30_000)], 20, counts=False)
    write(tmp_path / name, table)
    again = read(tmp_path / name)
    assert again.words == table.words
    np.testing.assert_array_equal(again.vectors, table.vectors)
    again = read(tmp_path / name, limit=29_000)
    assert again.words == table.words[:29_000]
    np.testing.assert_array_equal(again.vectors, table.vectors[:29_000])


@pytest.mark.parametrize("name", FILES)
def test_vectors_in_any_layout(tmp_path: Path, name: str) -> None:
    padded = np.random.default_rng(0).standard_normal((5, 16)).astype(np.float32)
    for vectors in (padded[:, :7], np.asfortranarray(padded[:, :7]), padded[::-1, 3:10]):
        table = Table(Vocabulary.from_words(list("abcde")), vectors)
        write(tmp_path / name, table)
        np.testing.assert_array_equal(read(tmp_path / name).vectors, vectors)


@pytest.mark.parametrize("name", FILES)
def test_writing_over_the_file_that_is_mapped(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, make_table(["a", "b"], seed=1))
    table = read(tmp_path / name)
    before = table.vectors.copy()
    write(tmp_path / name, table)
    np.testing.assert_array_equal(table.vectors, before)
    np.testing.assert_array_equal(read(tmp_path / name).vectors, before)


def test_float32_survives_text_bit_for_bit(tmp_path: Path) -> None:
    bits = np.random.default_rng(0).integers(0, 1 << 32, 200_000, np.uint32)
    special = np.array([0, -0.0, 1e-45, -1.1754944e-38, 3.4028235e38, 16777216, 16777217, 0.1, 1 / 3, 1e10], np.float32)
    values = bits.view(np.float32)
    values = np.concatenate([special, values[np.isfinite(values)]])
    values = values[: len(values) // 100 * 100].reshape(-1, 100)
    write(tmp_path / "a.vec", Table(Vocabulary.from_words([f"w{i}" for i in range(len(values))]), values))
    np.testing.assert_array_equal(read(tmp_path / "a.vec").vectors.view(np.uint32), values.view(np.uint32))


def test_text_is_as_short_as_it_can_be(tmp_path: Path) -> None:
    vectors = np.array([[0.1, -0.25, 1e-7, 123456.79, 3.0]], np.float32)
    write(tmp_path / "a.vec", Table(Vocabulary.from_words(["w"]), vectors))
    assert (tmp_path / "a.vec").read_bytes() == b"1 5\nw 0.1 -0.25 1e-07 123456.79 3\n"


def test_binary_is_word2vec_c_dialect(tmp_path: Path) -> None:
    vectors = np.array([[1, 2], [3, 4]], np.float32)
    write(tmp_path / "a.bin", Table(Vocabulary.from_words(["x", "y"]), vectors))
    rows = [vectors[0].tobytes(), vectors[1].tobytes()]
    assert (tmp_path / "a.bin").read_bytes() == b"2 2\nx " + rows[0] + b"\ny " + rows[1] + b"\n"
    # gensim writes no newline, and some files have one before the word.
    for separator in (b"", b"\n"):
        (tmp_path / "a.bin").write_bytes(b"2 2\nx " + rows[0] + separator + b"y " + rows[1])
        table = read(tmp_path / "a.bin")
        assert table.words == ["x", "y"]
        np.testing.assert_array_equal(table.vectors, vectors)


def test_binary_vectors_that_look_like_spaces_and_newlines(tmp_path: Path) -> None:
    vectors = np.frombuffer(b" \n  \n\n 1" * 2, np.float32).reshape(2, 2)
    write(tmp_path / "a.bin", Table(Vocabulary.from_words(["x", "y"]), vectors))
    table = read(tmp_path / "a.bin", format="word2vec-binary")
    assert table.words == ["x", "y"]
    np.testing.assert_array_equal(table.vectors, vectors)


@pytest.mark.parametrize(
    "text",
    [
        b"2 2\nx 1 2\ny 3 4\n",
        b"2 2\nx 1 2 \ny 3 4 \n",  # word2vec.c
        b"2 2\r\nx 1 2\r\ny 3 4\r\n",
        b"2 2\nx 1 2\ny 3 4",
        b"2 2\nx\t1\t2\ny\t3\t4\n",
        b"2 2\nx 1 2\n\ny 3 4\n\n \n",
        b"x 1 2\ny 3 4\n",
        b"x 1.0 2e0 \ny 3 4 \n",
    ],
)
def test_text_dialects(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "a.txt").write_bytes(text)
    table = read(tmp_path / "a.txt")
    assert table.words == ["x", "y"]
    assert table.vectors.tolist() == [[1, 2], [3, 4]]
    assert read(tmp_path / "a.txt", limit=1).words == ["x"]


def test_glove_tokens_with_spaces(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"the 1 2\n. . . 3 4\nat name@domain.com 5 6\n 7 8\n95 9 0\n")
    table = read(tmp_path / "a.txt")
    assert detect(tmp_path / "a.txt") == "glove"
    assert table.words == ["the", ". . .", "at name@domain.com", "", "95"]
    assert table.vectors[:, 0].tolist() == [1, 3, 5, 7, 9]
    write(tmp_path / "b.glove", table)
    assert read(tmp_path / "b.glove").words == table.words


def test_word2vec_text_words_with_spaces_are_read_from_the_right(tmp_path: Path) -> None:
    (tmp_path / "a.vec").write_bytes(b"2 2\nnew york 1 2\nwindows 95 3 4\n")
    assert read(tmp_path / "a.vec").words == ["new york", "windows 95"]


@pytest.mark.parametrize("name", ["a.vec", "a.bin"])
@pytest.mark.parametrize("word", ["new york", "a\nb", " "])
def test_words_that_word2vec_cannot_hold(tmp_path: Path, name: str, word: str) -> None:
    (tmp_path / name).write_bytes(b"old")
    with pytest.raises(ValueError, match=r"word 1, .* cannot store; safetensors and npy can"):
        write(tmp_path / name, make_table(["ok", word]))
    assert (tmp_path / name).read_bytes() == b"old"
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("word", ["a\nb", "windows 95", "route 6.6"])
def test_words_that_glove_cannot_hold(tmp_path: Path, word: str) -> None:
    with pytest.raises(ValueError, match=r"word 1, .* cannot store; safetensors and npy can"):
        write(tmp_path / "a.glove", make_table(["ok", word]))


@pytest.mark.parametrize("name", ["a.safetensors", "a.npy"])
def test_any_word(tmp_path: Path, name: str) -> None:
    words = ["new york", "a\nb", "", " ", "\\n", "\\", "\\\\n", "a\tb", "\r", "\0", "\udcff\udc80", "x\r"]
    for counts in (True, False):
        write(tmp_path / name, make_table(words, counts=counts))
        again = read(tmp_path / name, errors="surrogateescape")
        assert again.words == words
        assert (again.counts is None) is not counts


@pytest.mark.parametrize("name", FILES)
def test_words_that_are_not_utf8(tmp_path: Path, name: str) -> None:
    table = make_table(["ok", "caf\udce9", "fine"])
    write(tmp_path / name, table)
    with pytest.raises(ValueError, match=r"word 1 is not UTF-8: b'caf\\xe9'; errors='surrogateescape'"):
        read(tmp_path / name)
    assert read(tmp_path / name, errors="replace").words == ["ok", "caf\ufffd", "fine"]
    assert read(tmp_path / name, errors="ignore").words == ["ok", "caf", "fine"]
    escaped = read(tmp_path / name, errors="surrogateescape")
    assert escaped.words == table.words
    write(tmp_path / ("b" + name), escaped)
    assert (tmp_path / ("b" + name)).read_bytes() == (tmp_path / name).read_bytes()
    with pytest.raises(ValueError, match="errors must be one of"):
        read(tmp_path / name, errors="backslashreplace")


def test_character_cut_in_two_by_the_offsets_is_not_utf8() -> None:
    words = Vocabulary(np.frombuffer("é".encode(), np.uint8), np.array([0, 1, 2]))
    with pytest.raises(ValueError, match="word 0 is not UTF-8"):
        formats.words.decoded(words, "strict")


def test_words_equal_after_ignored_bytes_are_dropped(tmp_path: Path) -> None:
    write(tmp_path / "a.vec", make_table(["caf", "caf\udce9"]))
    with pytest.warns(UserWarning, match="1 rows repeat an earlier word and are ignored, first row 1, 'caf'"):
        assert read(tmp_path / "a.vec", errors="ignore").words == ["caf"]


def test_first_of_repeated_words_is_kept(tmp_path: Path) -> None:
    rows = [b"%b %d %d\n" % (word, i, i) for i, word in enumerate([b"a", b"b", b"a", b"c", b"b", b"d"])]
    (tmp_path / "a.vec").write_bytes(b"6 2\n" + b"".join(rows))
    with pytest.warns(UserWarning, match="2 rows repeat an earlier word and are ignored, first row 2, 'a'"):
        table = read(tmp_path / "a.vec")
    assert table.words == ["a", "b", "c", "d"]
    assert table.vectors[:, 0].tolist() == [0, 1, 3, 5]


def test_first_of_repeated_words_counts_where_rows_stay(tmp_path: Path) -> None:
    write(tmp_path / "a.safetensors", make_table(["a", "b", "a"]))
    table = read(tmp_path / "a.safetensors")
    assert table.words == ["a", "b", "a"]
    assert table.vocabulary.key_to_index == {"a": 0, "b": 1}


@pytest.mark.parametrize("dtype", [np.float16, np.float64, ">f4", ">f8"])
def test_other_floats_are_converted(tmp_path: Path, dtype: str) -> None:
    vectors = np.arange(6, dtype=dtype).reshape(3, 2)
    (tmp_path / "a.vocab.txt").write_text("a\nb\nc\n")
    for order in ("C", "F"):
        np.save(tmp_path / "a.npy", np.asarray(vectors, order=order))
        table = read(tmp_path / "a.npy")
        assert table.vectors.dtype == np.float32
        assert table.vectors.tolist() == vectors.tolist()


def test_npy_is_a_memory_map_that_numpy_reads(tmp_path: Path) -> None:
    table = make_table(["a", "b\nc"])
    write(tmp_path / "a.npy", table)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), table.vectors)
    assert (tmp_path / "a.vocab.txt").read_text() == "a\t1\nb\\nc\t0\n"
    assert not read(tmp_path / "a.npy").vectors.flags.owndata


def test_suffix_and_content_decide(tmp_path: Path) -> None:
    table = make_table(["a", "b"])
    for format in set(formats.FORMATS) - {"floret"}:  # which holds no words
        path = tmp_path / f"{format}.x"
        write(path, table, format=format)
        assert detect(path) == format
        assert read(path).words == ["a", "b"]
    for suffix, format in formats.SUFFIXES.items():
        if format == "floret":
            continue
        write(tmp_path / f"y{suffix}", table)
        assert detect(tmp_path / f"y{suffix}") == format
    os.replace(tmp_path / "y.bin", tmp_path / "y.txt")
    assert detect(tmp_path / "y.txt") == "word2vec-binary"


@pytest.mark.parametrize("name", ["a.csv", "a", "a.gz", ".vec"])
def test_unknown_suffix(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"cannot tell a format from the name .* \.safetensors"):
        write(tmp_path / name, make_table(["a"]))


def test_unknown_format(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"format must be one of 'safetensors', .* got 'csv'"):
        write(tmp_path / "a.vec", make_table(["a"]), format="csv")
    (tmp_path / "a.vec").write_text("1 1\na 1\n")
    with pytest.raises(ValueError, match=r"format must be one of 'safetensors', .* got 'csv'"):
        read(tmp_path / "a.vec", format="csv")
    with pytest.raises(ValueError, match="opened as memory maps and cannot be packed"):
        write(tmp_path / "a.npy.gz", make_table(["a"]))


@pytest.mark.parametrize(
    ("start", "what"),
    [
        (b"\x80\x04\x95", "a Python pickle"),
        (b"PK\x03\x04", "a zip archive"),
        (b"BZh9", "a bzip2 file"),
    ],
)
def test_files_of_other_programs_are_named(tmp_path: Path, start: bytes, what: str) -> None:
    (tmp_path / "a.bin").write_bytes(start + bytes(100))
    with pytest.raises(ValueError, match=what):
        read(tmp_path / "a.bin")


@pytest.mark.parametrize("format", [None, *formats.FORMATS])
def test_no_file(tmp_path: Path, format: str | None) -> None:
    with pytest.raises(FileNotFoundError, match=r"no such file: .*missing\.vec"):
        read(tmp_path / "missing.vec", format=format)
    with pytest.raises(IsADirectoryError, match="is a folder"):
        read(tmp_path, format=format)
    (tmp_path / "empty.vec").touch()
    with pytest.raises(ValueError, match=r"empty\.vec' is empty"):
        read(tmp_path / "empty.vec", format=format)


def test_npy_without_vocabulary(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 2), np.float32))
    with pytest.raises(FileNotFoundError, match=r"a\.vocab\.txt'; it must hold the words"):
        read(tmp_path / "a.npy")
    (tmp_path / "a.vocab.txt").write_text("one\n")
    with pytest.raises(ValueError, match=r"a\.npy' has 2 rows and .*a\.vocab\.txt' has 1 words"):
        read(tmp_path / "a.npy")
    (tmp_path / "a.vocab.txt").write_text("one\t1\ntwo\n")
    with pytest.raises(ValueError, match="line 2: either all lines have a tab and a count or none"):
        read(tmp_path / "a.npy")
    (tmp_path / "a.vocab.txt").write_text("one\t1\ntwo\tx\n")
    with pytest.raises(ValueError, match="line 2: the count must be an integer, got b'x'"):
        read(tmp_path / "a.npy")


@pytest.mark.parametrize(
    "array",
    [np.zeros(3, np.float32), np.zeros((2, 2, 2), np.float32), np.zeros((2, 2), np.int64), np.zeros((2, 2), "U3")],
)
def test_npy_of_something_else(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", array)
    (tmp_path / "a.vocab.txt").write_text("one\ntwo\n")
    with pytest.raises(ValueError, match=r"must hold float16|must have two dimensions"):
        read(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"\x93NUMPY\x01", b"\x93NUMPY\x09", "is not an .npy file"),
        (b"\x93NUMPY", b"not numpy", "is not an .npy file"),
        (b"NUMPY\x01\x00v\x00", b"NUMPY\x01\x00\xff\xff", "claims a header of 65535 bytes; it is truncated or corrupt"),
        (b"{'descr'", b"{'other'", "the .npy header cannot be read: 'descr'"),
        (b"{'descr'", b"{{{{{{{{", "the .npy header cannot be read"),
        (b"(2, 3), }", b"(2, 4), }", "2 rows of 4 float32 need 32 bytes, and 24 are there; it is truncated or corrupt"),
        (b"(2, 3), }", b"(True,3)}", r"must have two dimensions, words and vector size, got \(True, 3\)"),
        (b"(2, 3), }", b"(-2,-3) }", r"must have two dimensions, words and vector size, got \(-2, -3\)"),
    ],
)
def test_wrong_npy(tmp_path: Path, old: bytes, new: bytes, message: str) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 3), np.float32))
    (tmp_path / "a.vocab.txt").write_text("one\ntwo\n")
    content = (tmp_path / "a.npy").read_bytes()
    assert old in content
    (tmp_path / "a.npy").write_bytes(content.replace(old, new))
    with pytest.raises(ValueError, match=r"a\.npy'.*" + message):
        read(tmp_path / "a.npy", format="npy")


@pytest.mark.parametrize("suffix", ["model", "kv", "wordvectors", "safetensors", "bin"])
def test_what_gensim_saves_is_refused_with_a_way_out(tmp_path: Path, suffix: str) -> None:
    gensim = pytest.importorskip("gensim.models", reason="gensim is not installed")
    path = tmp_path / f"vectors.{suffix}"
    model = gensim.Word2Vec([["a", "b"]] * 10, min_count=1, vector_size=4)
    for saved in (model, model.wv):
        saved.save(str(path))
        with pytest.raises(ValueError, match=r"is a Python pickle.*write its vectors with save_word2vec_format"):
            read(path)
    model.wv.save_word2vec_format(str(path), binary=True)
    np.testing.assert_array_equal(read(path, format="word2vec-binary").vectors, model.wv.vectors)


@pytest.mark.parametrize("suffix", ["model", "kv", "wordvectors"])
def test_names_that_gensims_users_give(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"vectors.{suffix}"
    table = Table(Vocabulary.from_words(["a"], [3]), np.ones((1, 2), np.float32))
    write(path, table)
    assert detect(path) == "safetensors" and read(path).counts.tolist() == [3]


def test_npy_with_pickled_objects_runs_nothing(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[print]], object), allow_pickle=True)
    (tmp_path / "a.vocab.txt").write_text("one\n")
    with pytest.raises(ValueError, match=r"must hold float16, float32 or float64, got dtype '\|O'"):
        read(tmp_path / "a.npy")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"2 2\nx 1 2\ny 3\n", "line 3: must be a word and 2 numbers, got 2 fields"),
        (b"2 2\nx 0.5 2 3.5\ny 3 4\n", "line 2: must be a word and 2 numbers, got more numbers"),
        (b"2 2\nx 1 2\ny 3 nan\n", "line 3: b'nan' is not a finite float32"),
        (b"2 2\nx 1 2\ny inf 4\n", "line 3: b'inf' is not a finite float32"),
        (b"2 2\nx 1 2\ny 1e39 4\n", "line 3: b'1e39' is not a finite float32"),
        (b"2 2\nx 1 2\ny 1 2x\n", "line 3: b'2x' is not a number"),
        (b"2 2\nx 1 2\ny 1 1_0\n", "line 3: b'1_0' is not a number"),
        (b"2 2\nx 1 2\ny 1  2\n", "line 3: b'' is not a number"),
        (b"3 2\nx 1 2\ny 3 4\n", "line 1 claims 3 words, and 2 lines follow"),
        (b"3 2\nx 1 2\n\ny 3 4\n\n", "line 1 claims 3 words, and 2 follow"),
        (b"1 2\nx 1 2\ny 3 4\n", "line 1 claims 1 words, and more follow"),
        (b"2 0\nx\ny\n", "line 1: the vector size must be at least 1, got 0"),
        (b"1000000000000 300\nx 1 2\n", "line 1: claims 1000000000000 words of size 300, and the file is too small"),
        (b"1 1000000000000\nx 1 2\n", "line 1: claims 1 words of size 1000000000000, and the file is too small"),
        (b"9" * 50 + b" 5\nx 1 2\n", "line 1: claims 9{50} words of size 5, and the file is too small"),
        (b"-1 5\nx 1 2\n", "line 1: must be the number of words and the vector size, got b'-1 5"),
        (b"\n1 5\nx 1 2\n", "line 1: must be the number of words and the vector size"),
    ],
)
def test_wrong_text(tmp_path: Path, text: bytes, message: str) -> None:
    (tmp_path / "a.vec").write_bytes(text)
    with pytest.raises(ValueError, match=r"a\.vec'.*" + message):
        read(tmp_path / "a.vec", format="word2vec")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"x 1 2\ny 3\nz 5 6", "line 2: must be a word and 2 numbers, got 2 fields"),
        (b"x 1 2\ny 3 4\nz 0.5 1 2\n", "line 3: must be a word and 2 numbers, got more numbers"),
        (b"x 1 2\ny 3 4\nz z 0.5 1 2\n", "line 3: must be a word and 2 numbers, got more numbers"),
        (b"x 1 2\ny a 4\nz 5 6", "line 2: b'a' is not a number"),
        (b"x\ny\n", "line 1: must be a word and its numbers"),
        (b"one two\n", "line 1: must be a word and its numbers"),
    ],
)
def test_wrong_glove(tmp_path: Path, text: bytes, message: str) -> None:
    (tmp_path / "a.glove").write_bytes(text)
    with pytest.raises(ValueError, match=r"a\.glove'.*" + message):
        read(tmp_path / "a.glove", format="glove")


def test_line_that_never_ends(tmp_path: Path) -> None:
    (tmp_path / "a.vec").write_bytes(b"2 2\n" + b"x" * (4 << 20))
    with pytest.raises(ValueError, match=r"line 2: is too long|and 1 lines follow"):
        read(tmp_path / "a.vec")
    (tmp_path / "a.vec").write_bytes(b"2 2\n" + b"x" * (4 << 20) + b" 1 2\ny 1 2\n")
    with pytest.raises(ValueError, match="line 2: is too long"):
        read(tmp_path / "a.vec")


@pytest.mark.parametrize("cut", [1, 3, 5, 10, 12])
def test_truncated_binary(tmp_path: Path, cut: int) -> None:
    write(tmp_path / "a.bin", make_table(["aa", "bb"], 2))
    whole = (tmp_path / "a.bin").read_bytes()
    (tmp_path / "a.bin").write_bytes(whole[: -cut - 1])
    with pytest.raises(ValueError, match=r"ends in row 1 of the 2 that line 1 claims|the file is too small"):
        read(tmp_path / "a.bin", format="word2vec-binary")


def test_wrong_binary(tmp_path: Path) -> None:
    row = np.ones(2, np.float32).tobytes()
    path = tmp_path / "a.bin"
    path.write_bytes(b"1 2\nx " + row + b"\ny " + row)
    with pytest.raises(ValueError, match="line 1 claims 1 words, and more bytes follow"):
        read(path)
    assert read(path, limit=1).words == ["x"]
    path.write_bytes(b"2 2\nx " + row + b"\ny " + np.array([1, np.nan], np.float32).tobytes())
    with pytest.raises(ValueError, match=r"the vector of row 1 \(b'y'\) is not finite"):
        read(path)
    path.write_bytes(b"1000000000000 300\nx " + row)
    with pytest.raises(ValueError, match="claims 1000000000000 words of size 300, and the file is too small"):
        read(path)
    path.write_bytes(b"2 2\n" + b"x" * 200_000)
    with pytest.raises(ValueError, match="the word of row 0 does not end"):
        read(path, format="word2vec-binary")


@pytest.mark.parametrize("name", ["a.vec.gz", "a.bin.gz"])
def test_wrong_gzip(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, make_table([f"word{i}" for i in range(1000)]))
    whole = (tmp_path / name).read_bytes()
    for broken in (whole[:-1], whole[: len(whole) // 2], whole[:200] + b"\xff" * 50 + whole[250:], whole[:12]):
        (tmp_path / name).write_bytes(broken)
        with pytest.raises(ValueError, match="is a truncated or corrupt gzip file"):
            read(tmp_path / name)
    (tmp_path / name).write_bytes(gzip.compress(b"1000000000000 300\nx 1 2\n"))
    with pytest.raises(ValueError, match="and the file is too small"):
        read(tmp_path / name)


@pytest.mark.parametrize("name", ["a.vec", "a.npy", "a.bin", "a.safetensors"])
def test_table_of_no_words(tmp_path: Path, name: str) -> None:
    write(tmp_path / name, make_table([], 3))
    table = read(tmp_path / name)
    assert table.words == [] and table.vectors.shape == (0, 3)


@pytest.mark.parametrize("name", FILES)
def test_vectors_of_size_0(tmp_path: Path, name: str) -> None:
    table = make_table(["a", "b"], 0)
    if name in KEEPS_COUNTS:
        write(tmp_path / name, table)
        assert read(tmp_path / name).vectors.shape == (2, 0)
    else:
        with pytest.raises(ValueError, match="files cannot hold vectors of size 0"):
            write(tmp_path / name, table)
        assert not list(tmp_path.iterdir())


def test_table_checks_its_shapes() -> None:
    words = Vocabulary.from_words(["a", "b"])
    with pytest.raises(ValueError, match=r"vectors must have shape \(2, vector_size\), got \(3, 2\)"):
        Table(words, np.zeros((3, 2), np.float32))
    with pytest.raises(ValueError, match="vectors must be float32, got float64"):
        Table(words, np.zeros((2, 2)))


# ru_maxrss begins with the size of the parent, as which a child starts.
_MEMORY = """
import re, sys
from fastemb import KeyedVectors, formats
from fastemb.corpus.vocabulary import Vocabulary
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) * 1024
before = peak()
table = formats.read(sys.argv[1])
formats.write(sys.argv[2], table)
print((peak() - before) / table.vectors.nbytes)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize(("source", "target"), [("a.vec", "b.bin"), ("a.bin", "b.npy"), ("a.npy", "b.safetensors")])
def test_memory_is_little_more_than_the_vectors(tmp_path: Path, source: str, target: str) -> None:
    num_words, dim = 200_000, 100
    numbers = np.resize(np.random.default_rng(0).standard_normal(1000).astype(np.float32), (num_words, dim))
    words = [f"word{i}" for i in range(num_words)]
    if source == "a.vec":
        tail = " ".join(f"{number:.6g}" for number in numbers[0])
        (tmp_path / source).write_text(f"{num_words} {dim}\n" + "".join(f"{word} {tail}\n" for word in words))
    else:
        write(tmp_path / source, Table(Vocabulary.from_words(words), numbers))
    command = [sys.executable, "-c", _MEMORY, str(tmp_path / source), str(tmp_path / target)]
    ratio = float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert ratio < 1.3


@pytest.mark.parametrize("suffix", ["txt", "bin", "glove"])
def test_vectors_that_are_not_finite_are_refused_where_they_could_not_be_read(tmp_path, suffix):
    kv = KeyedVectors.from_words(["a", "b"], np.array([[1, 2], [3, np.nan]], np.float32))
    with pytest.raises(ValueError, match="vector 1, of 'b', is not finite"):
        kv.save(tmp_path / f"vectors.{suffix}")
    assert not list(tmp_path.iterdir())
    kv.save(tmp_path / "vectors.safetensors")
    assert np.isnan(KeyedVectors.load(tmp_path / "vectors.safetensors")["b"][1])


def test_glove_text_refuses_a_first_row_like_a_header(tmp_path):
    kv = KeyedVectors.from_words(["1", "2"], np.ones((2, 1), np.float32))
    with pytest.raises(ValueError, match="word2vec's header"):
        kv.save(tmp_path / "vectors.glove")
    KeyedVectors.from_words(["x", "2"], np.ones((2, 1), np.float32)).save(tmp_path / "vectors.glove")
    assert KeyedVectors.load(tmp_path / "vectors.glove").index_to_key == ["x", "2"]
