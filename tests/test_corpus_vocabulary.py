"""Vocabularies, sizes, and the words that gensim finds."""

import pickle

import numpy as np
import pytest

from fastemb.corpus.reader import parse_size, read_corpus
from fastemb.corpus.vocabulary import Vocabulary


def test_words_are_packed_and_decoded_when_asked_for():
    words = ["the", "é", "日本", "b\udce9", "a"]
    vocabulary = Vocabulary.from_words(words, [5, 4, 3, 2, 1])
    assert bytes(vocabulary.packed) == "theé日本b".encode() + b"\xe9a"
    assert vocabulary.offsets.tolist() == [0, 3, 5, 11, 13, 14]
    assert vocabulary.words == words and vocabulary.words is vocabulary.words
    assert vocabulary.key_to_index == {word: number for number, word in enumerate(words)}
    assert "é" in vocabulary and "x" not in vocabulary and 3 not in vocabulary
    assert vocabulary.counts.dtype == np.int64 and not vocabulary.counts.flags.writeable
    assert repr(vocabulary) == "Vocabulary(5 words, 15 occurrences)"
    copy = pickle.loads(pickle.dumps(vocabulary))
    assert copy.words == words and copy.counts.tolist() == [5, 4, 3, 2, 1]


def test_arrays_are_not_copied():
    packed, offsets, counts = np.frombuffer(b"ab", np.uint8), np.array([0, 1, 2]), np.array([2, 1])
    vocabulary = Vocabulary(packed, offsets, counts)
    assert np.shares_memory(vocabulary.packed, packed) and np.shares_memory(vocabulary.counts, counts)
    assert counts.flags.writeable


def test_an_empty_vocabulary():
    vocabulary = Vocabulary.from_words([])
    assert len(vocabulary) == 0 and vocabulary.words == [] and "a" not in vocabulary


@pytest.mark.parametrize(
    ("words", "counts", "error", "message"),
    [
        (["a", "b", "a"], None, ValueError, "words must differ, got 'a' at positions 0 and 2"),
        (["a", 1], None, TypeError, "words must be str, got 1 at position 1"),
        (["a", "\ud800"], None, ValueError, r"words must be valid Unicode, got .* in '.ud800' at position 1"),
        (["é", "\udcc3\udca9"], None, ValueError, "words must differ, got 'é' at positions 0 and 1"),
        (["a", "b"], [1], ValueError, "counts must have 2 entries, one a word, got 1"),
        (["a", "b"], [[1, 2]], ValueError, "counts must have one dimension"),
        (["a"], [1.5], ValueError, "counts must hold integers, got float64"),
    ],
)
def test_words_that_make_no_vocabulary(words, counts, error, message):
    with pytest.raises(error, match=message):
        Vocabulary.from_words(words, counts)


def test_counts_may_be_unknown():
    vocabulary = Vocabulary.from_words(["a", "b"])
    assert vocabulary.counts is None and len(vocabulary) == 2 and repr(vocabulary) == "Vocabulary(2 words)"
    assert pickle.loads(pickle.dumps(vocabulary)).counts is None
    assert vocabulary.first(1).counts is None and vocabulary.take(np.array([1])).counts is None


def test_the_first_of_repeated_words_counts():
    vocabulary = Vocabulary.from_bytes([b"a", b"b", b"a"], np.array([3, 2, 1]))
    assert vocabulary.words == ["a", "b", "a"] and vocabulary.key_to_index == {"a": 0, "b": 1}


def test_parts():
    vocabulary = Vocabulary.from_words(["the", "é", "", "a"], [4, 3, 2, 1])
    assert vocabulary.as_bytes() == [b"the", "é".encode(), b"", b"a"]
    assert vocabulary.as_bytes(1, 3) == ["é".encode(), b""]
    assert vocabulary.as_bytes(4) == [] and vocabulary.as_bytes(3, 9) == [b"a"]
    first, taken = vocabulary.first(2), vocabulary.take(np.array([3, 0]))
    assert first.words == ["the", "é"] and first.counts.tolist() == [4, 3]
    assert np.shares_memory(first.packed, vocabulary.packed)
    assert taken.words == ["a", "the"] and taken.counts.tolist() == [1, 4]
    assert vocabulary.first(0).words == []


def test_bytes_must_be_bytes():
    with pytest.raises(ValueError, match="packed must hold uint8, got int64"):
        Vocabulary(np.array([97, 98]), np.array([0, 2]))


@pytest.mark.parametrize("offsets", [[], [0], [0, 1], [1, 2], [0, 3], [0, 2, 1, 2], [-1, 2]])
def test_offsets_that_do_not_fit(offsets):
    with pytest.raises(ValueError, match="offsets must"):
        counts = np.zeros(max(len(offsets) - 1, 0), np.int64)
        Vocabulary(np.frombuffer(b"ab", np.uint8), np.array(offsets, np.int64), counts)


@pytest.mark.parametrize(
    ("size", "value"),
    [(0, 0), (np.int64(7), 7), ("100", 100), ("1k", 1024), ("1.5 MiB", 3 << 19), ("2gb", 2 << 30), (" 1T ", 1 << 40)],
)
def test_sizes(size, value):
    assert parse_size(size) == value


@pytest.mark.parametrize("size", ["", "G", "1X", "-1", "1G 2", "1e3", -1, 1.5, True, None])
def test_what_is_no_size(size):
    with pytest.raises((ValueError, TypeError), match="budget must be"):
        parse_size(size, "budget")


def test_gensim_finds_the_same_words():
    models = pytest.importorskip("gensim.models", reason="gensim is not installed")
    from gensim.test.utils import datapath

    path = datapath("lee_background.cor")
    with open(path, encoding="utf-8") as file:
        sentences = [line.split() for line in file]
    theirs = models.Word2Vec(min_count=5)
    theirs.build_vocab(sentences)
    counts = [theirs.wv.get_vecattr(word, "count") for word in theirs.wv.index_to_key]
    for ours in (read_corpus(path), read_corpus(sentences)):
        assert ours.vocabulary.counts.tolist() == counts
        # gensim's sort leaves words of one count in any order.
        by_count = sorted(zip(ours.vocabulary.counts.tolist(), ours.vocabulary.words, strict=True))
        assert by_count == sorted(zip(counts, theirs.wv.index_to_key, strict=True))
        assert ours.num_words == theirs.corpus_total_words and ours.num_sentences_read == theirs.corpus_count


@pytest.mark.parametrize("name", ["aozora_ja_sample.txt.gz", "zhwiki_sample.txt.gz", "773_ruby_5968.txt"])
def test_multilingual_texts(data, name):
    import gzip

    path = data / "multilingual" / name
    raw = path.read_bytes()
    raw = gzip.decompress(raw) if name.endswith(".gz") else raw
    text = raw.decode("utf-8", "surrogateescape")
    corpus = read_corpus(path, min_count=1, errors="surrogateescape", lowercase=True, workers=2, _block_bytes=10_000)
    words = [word for line in text.lower().split("\n") for word in line.split()]
    assert [corpus.vocabulary.words[number] for number in corpus.ids] == words
