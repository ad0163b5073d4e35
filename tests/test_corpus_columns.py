"""Sentences from columns of Arrow, pandas and polars."""

import sys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastemb.corpus.reader import read_corpus

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")

ROWS = st.lists(
    st.none() | st.sampled_from(["", "a", "a b", " c\n\nd ", "é É\u3000x", "\n", "long word list here"]), max_size=12
)
TOKENS = st.lists(
    st.none() | st.lists(st.none() | st.sampled_from(["", "a", "two words", "é", "x\n"]), max_size=6), max_size=9
)
TEXT_TYPES = [pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
LIST_TYPES = [pa.list_(pa.string()), pa.large_list(pa.large_string()), pa.list_(pa.dictionary(pa.int8(), pa.string()))]


def chunked(rows, kind, cuts):
    """Return a ChunkedArray of several chunks, each a slice of a longer array."""
    bounds = sorted({0, len(rows), *(min(cut, len(rows)) for cut in cuts)})
    chunks = []
    for start, stop in pairwise(bounds):
        part = [rows[0], *rows[start:stop], rows[-1]]
        kinds = {"type": kind.value_type} if pa.types.is_dictionary(kind) else {"type": kind}
        array = pa.array(part, **kinds)
        chunks.append((array.dictionary_encode() if pa.types.is_dictionary(kind) else array)[1:-1])
    return pa.chunked_array(chunks, type=kind)


def agree(column, sentences, rows, **options):
    """Compare what is read of a column with what is read of lists of words."""
    if not any(sentences):
        with pytest.raises(ValueError, match=r"holds no (words|sentences)"):
            read_corpus(column, min_count=1, **options)
        return
    ours, wanted = read_corpus(column, min_count=1, **options), read_corpus(sentences, min_count=1, lowercase=True)
    assert ours.vocabulary.words == wanted.vocabulary.words
    np.testing.assert_array_equal(ours.ids, wanted.ids)
    np.testing.assert_array_equal(ours.offsets, wanted.offsets)
    assert ours.num_sentences_read == rows


@settings(max_examples=80, deadline=None, derandomize=True)
@given(rows=ROWS, cuts=st.lists(st.integers(0, 12), max_size=2), block=st.integers(1, 30), workers=st.integers(1, 2))
@pytest.mark.parametrize("kind", TEXT_TYPES, ids=str)
def test_rows_of_text(kind, rows, cuts, block, workers):
    lines = [line for row in rows for line in (row or "").split("\n")]
    column = chunked(rows, kind, cuts)
    agree(column, [line.split() for line in lines], len(lines), lowercase=True, _block_bytes=block, workers=workers)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(rows=TOKENS, cuts=st.lists(st.integers(0, 9), max_size=2), block=st.integers(1, 30), workers=st.integers(1, 2))
@pytest.mark.parametrize("kind", LIST_TYPES, ids=str)
def test_rows_of_tokens(kind, rows, cuts, block, workers):
    column = chunked(rows, kind, cuts)
    sentences = [[token for token in row or [] if token] for row in rows]
    agree(column, sentences, len(rows), lowercase=True, _block_bytes=block, workers=workers)


def test_arrays_of_a_fixed_length():
    column = pa.array([["a", "b"], None, ["c", "a"]], pa.list_(pa.string(), 2))
    assert read_corpus(column, min_count=1).offsets.tolist() == [0, 2, 4]


@pytest.mark.parametrize("make", [list, np.array, dict])
def test_pandas(make):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    texts, tokens = ["the cat sat", None, "the dog"], [["the", "cat"], None, ["the dog"]]
    for kind in ("str", object, "string"):
        series = pandas.Series(texts, dtype=kind, index=[3, 1, 2])
        assert read_corpus(series, min_count=1).vocabulary.words == ["the", "cat", "sat", "dog"]
        assert read_corpus(series[[True, False, True]], min_count=1).offsets.tolist() == [0, 3, 5]
    if make is not dict:
        rows = [row if row is None else make(row) for row in tokens]
        assert read_corpus(pandas.Series(rows), min_count=1).vocabulary.words == ["the", "cat", "the dog"]
    with pytest.raises(TypeError, match=r"one column, such as table\['text'\], got a table with the columns 'a', 'b'"):
        read_corpus(pandas.DataFrame({"a": ["x"], "b": ["y"]}))
    with pytest.raises(TypeError, match="a column of strings or of lists of strings"):
        read_corpus(pandas.Series(["x", 1], dtype=object))


def test_polars():
    polars = pytest.importorskip("polars", reason="polars is not installed")
    series = polars.Series(["the cat sat", None, "the dog"])
    assert read_corpus(series, min_count=1).offsets.tolist() == [0, 3, 5]
    assert read_corpus(polars.Series([["a", "b c"], [], ["a"]]), min_count=1).vocabulary.words == ["a", "b c"]
    assert read_corpus(series.cast(polars.Categorical), min_count=1).num_words == 5
    with pytest.raises(TypeError, match="one column"):
        read_corpus(polars.DataFrame({"a": ["x"]}))


@pytest.mark.parametrize(
    ("column", "error", "message"),
    [
        (pa.array([1, 2]), TypeError, "a column of strings or of lists of strings, got one of int64"),
        (pa.array([[1], [2]]), TypeError, "got one of list<item: int64>"),
        (pa.array([], pa.string()), ValueError, "source holds no sentences: the column is empty"),
        (pa.array([], pa.list_(pa.string())), ValueError, "source holds no sentences: the column is empty"),
        (pa.array([None, None]), ValueError, "all rows of the column are empty"),
        (pa.array([[], [""]], pa.list_(pa.string())), ValueError, "all of its sentences are empty"),
        (pa.table({"a": ["x"]}), TypeError, "got a table with the columns 'a'"),
        (pa.array(["fine", "not \0 fine"]), ValueError, "the column, from row 0 on: looks like a binary file"),
        (pa.array(["x" * (1 << 20) + "y"]), ValueError, "the column, from row 0 on: no white space in the"),
        (pa.array([["x" * (1 << 20) + "y"]]), ValueError, "tokens must have at most 1,048,576 bytes"),
    ],
    ids=range(10),
)
def test_what_is_no_column_of_sentences(column, error, message):
    with pytest.raises(error, match=message):
        read_corpus(column, min_count=1)


def test_without_pyarrow(monkeypatch):
    column = pa.array(["a b"])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pip install 'fastemb\[arrow\]'"):
        read_corpus(column)
