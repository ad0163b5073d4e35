"""Sentences that are lists of tokens."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastemb.corpus._ids import cut_sentences, remap
from fastemb.corpus._scan import Scanner
from fastemb.corpus._table import WordTable
from fastemb.corpus.reader import ERRORS, read_corpus

WORDS = [
    "a",
    "b",
    "B",
    "the",
    "new york",
    "sixteen-bytes-xy",
    "seventeen-bytes-x",
    "x" * 100,
    "é",
    "É",
    "\u03a3\u03c2",
    "\0",
    "",
]


@settings(max_examples=200, deadline=None)
@given(
    sentences=st.lists(st.lists(st.sampled_from(WORDS) | st.text(max_size=3), max_size=20), min_size=1, max_size=20),
    min_count=st.integers(0, 2),
    lowercase=st.booleans(),
    max_sentence_length=st.integers(1, 5) | st.just(1000),
    block_bytes=st.integers(1, 100),
    workers=st.integers(1, 3),
)
def test_tokens_are_taken_as_they_are(sentences, min_count, lowercase, max_sentence_length, block_bytes, workers):
    lists = [[token.lower() if lowercase else token for token in sentence if token] for sentence in sentences]
    counts = {}
    for token in itertools.chain.from_iterable(lists):
        counts[token] = counts.get(token, 0) + 1
    kept = [word for word in counts if counts[word] >= min_count]
    kept.sort(key=lambda word: -counts[word])
    kept_lists = [[kept.index(token) for token in sentence if token in kept] for sentence in lists]
    options = {
        "min_count": min_count,
        "lowercase": lowercase,
        "max_sentence_length": max_sentence_length,
        "workers": workers,
        "_block_bytes": block_bytes,
    }
    if not kept:
        with pytest.raises(ValueError):
            read_corpus(iter(sentences), **options)
        return
    corpus = read_corpus(iter(sentences), **options)
    assert corpus.vocabulary.words == kept
    assert corpus.vocabulary.counts.tolist() == [counts[word] for word in kept]
    assert corpus.ids.tolist() == list(itertools.chain.from_iterable(kept_lists))
    cut = [
        len(sentence[start : start + max_sentence_length])
        for sentence in kept_lists
        for start in range(0, len(sentence), max_sentence_length)
    ]
    assert np.diff(corpus.offsets).tolist() == cut
    assert corpus.num_words == sum(map(len, lists)) and corpus.num_sentences_read == len(sentences)


def test_any_iterables_do():
    want = ["the", "cat"]
    for sentences in (
        [["the", "cat", "the"]],
        (("the", "cat", "the"),),
        (iter(["the", "cat", "the"]) for _ in range(1)),
        [np.array(["the", "cat", "the"])],
        {("the", "cat", "the"): None},
    ):
        assert read_corpus(sentences, min_count=1).vocabulary.words == want


@pytest.mark.parametrize(
    ("sentences", "error", "message"),
    [
        (["the cat"], TypeError, r"sentence 0 must be a list of tokens, got the str 'the cat'; .*sentence\.split\(\)"),
        ([["a"], "x" * 500], TypeError, r"sentence 1 must be .* got the str 'x{59}\.\.\.;"),
        ([b"the cat"], TypeError, "sentence 0 must be a list of tokens, got the bytes b'the cat'"),
        ([["a", "b"], ["c", 3]], TypeError, "tokens must be str, got the int 3 at position 1 of sentence 1"),
        ([["a", b"b"]], TypeError, "tokens must be str, got the bytes b'b' at position 1 of sentence 0"),
        ([[["a"]]], TypeError, "tokens must be str, got the list"),
        ([["a", None]], TypeError, "tokens must be str, got the NoneType None"),
        ([3], TypeError, "sentence 0 must be a list of tokens, got 3"),
        (3, TypeError, "source must be a path, '-' or an iterable of token lists, got 3"),
        (b"text.txt", TypeError, "source must be a path"),
        ([], ValueError, "source holds no sentences"),
        ([[], [""]], ValueError, "all of its sentences are empty"),
        ([["a"]], ValueError, "'a', occurs once; a min_count of at most 1 keeps words"),
        ([["a", "\udce9"]], ValueError, r"tokens must be valid Unicode, got '.udce9' at position 1 of sentence 0"),
        ([["a", "x" * (1 << 20) + "x"]], ValueError, "tokens must have at most 1,048,576 bytes, got b'xxx"),
    ],
)
def test_what_is_not_a_list_of_tokens(sentences, error, message):
    with pytest.raises(error, match=message):
        read_corpus(sentences)


def test_an_error_of_the_iterable_comes_through():
    def sentences():
        yield ["a"]
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine"):
        read_corpus(sentences(), workers=2, _block_bytes=1)


def test_surrogates_follow_errors():
    word = b"caf\xe9".decode("utf-8", "surrogateescape")
    words = {}
    for errors in ERRORS[1:]:
        words[errors], _ = read_corpus([[word, "a"]], min_count=1, errors=errors).vocabulary.words
    assert words == {
        "replace": "caf?",
        "ignore": "caf",
        "surrogateescape": word,
        "backslashreplace": r"caf\udce9",
    }


def test_a_generator_is_read_once_and_lazily():
    alive = 0
    most = 0

    class Sentence(list):
        def __init__(self):
            nonlocal alive, most
            super().__init__(["a", "b"])
            alive += 1
            most = max(most, alive)

        def __del__(self):
            nonlocal alive
            alive -= 1

    corpus = read_corpus((Sentence() for _ in range(10_000)), workers=2, _block_bytes=1000)
    assert corpus.num_sentences_read == 10_000 and most < 10


# ---- what the compiled modules refuse, which no caller does


def test_records_that_are_none():
    good = np.array([0, 1, 1, 2, 3], np.int32)
    numbers = np.array([5, -1], np.int32)
    assert remap(good, 3, numbers) == 1 and good.tolist()[0] == 5 and good.tolist()[3:] == [1, 1]
    for bad in ([0, 2, 1, 2, 3], [0, -1, 1, 2, 3], [0, 0, 0, 2, 4], [0, 0, 0, 3, 2], [0, 0, 0, -1, 3]):
        with pytest.raises(ValueError, match="a record must hold"):
            remap(np.array(bad, np.int32), 3, numbers)
    with pytest.raises(ValueError, match=r"num_words must be in \[0, 5\], got 6"):
        remap(good, 6, numbers)
    with pytest.raises(ValueError, match="line ends must rise"):
        cut_sentences(np.array([2, 1], np.int32), 3, 0, 0, 10)
    with pytest.raises(ValueError, match="cannot begin at 5"):
        cut_sentences(np.array([2, 1], np.int32), 3, 4, 5, 10)


def test_blocks_may_come_out_of_order():
    scanner = Scanner()
    text = np.zeros(100, np.uint8)
    for block, base in ((b"c a ", 1000), (b"a b b ", 0), (b"b c ", 2000)):
        text[: len(block)] = np.frombuffer(block, np.uint8)
        scanner.scan_text(text, len(block), base, False)
    table = scanner.table
    found = {table.word(i): (table.counts()[i], table.first_places()[i]) for i in range(len(table))}
    assert found == {b"c": (2, 1000), b"a": (2, 0), b"b": (3, 2)}


def test_blocks_that_are_none():
    scanner = Scanner()
    with pytest.raises(ValueError, match=r"size must be in \[0, 36\], got 37"):
        scanner.scan_text(np.zeros(100, np.uint8), 37, 0, False)
    text, lines = np.zeros(100, np.uint8), np.zeros(0, np.int32)
    for edges in ([0, 37], [1, 2], [0, 2, 2], [0, 3, 2], []):
        with pytest.raises(ValueError, match="edges must rise"):
            scanner.scan_tokens(text, np.array(edges, np.uint32), lines, 0, False)
    with pytest.raises(IndexError, match=r"order must be in \[0, 0\), got 0 at position 0"):
        WordTable().pack(np.zeros(1, np.int64))
    with pytest.raises(IndexError, match=r"number must be in \[0, 0\), got 0"):
        WordTable().word(0)
    with pytest.raises(ValueError, match="a word must have 1 to"):
        WordTable().add(b"", 1, 0)
    with pytest.raises(ValueError, match="offsets must rise"):
        WordTable().add_packed(np.zeros(3, np.uint8), np.array([0, 4]))
