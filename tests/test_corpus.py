"""Reading text: against what Python's own split, lower and codecs make of it."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from fastemb.corpus._scan import classes_of
from fastemb.corpus.reader import ERRORS, read_corpus

SPACES = "\x85\xa0\u1680\u2000\u200a\u2028\u2029\u202f\u205f\u3000"
CHARACTERS = SPACES + "\u200b\u3001\ufeff\xe9\xc9\u03a3\u03c2\u03c3\u212a\u0130\u65e5\U0001f600"
FRAGMENTS = [
    *(b"a", b"B", b"the", b"The", b"sixteen-bytes-xy", b"seventeen-bytes-x", b"a-word-of-25-bytes-or-more", b"x" * 130),
    *(b" ", b"\n", b"\r\n", b"\t", b"\v", b"\x0c", b"\x1c", b"\x1f", b"\x1b", b"\x7f", b"!"),
    *(character.encode() for character in CHARACTERS),
    *(bytes([byte]) for byte in set(CHARACTERS.encode())),
    *(b"\xff", b"\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xc0\xaf", b"\xe0\x80\x80", b"\xf0\x80\x80\x80"),
]
TEXTS = st.lists(st.sampled_from(FRAGMENTS) | st.binary(max_size=3), max_size=60).map(b"".join)


def expected(text, min_count=1, lowercase=False, max_sentence_length=1000, errors="strict"):
    """Return words, counts, ids, offsets, words read and lines read, by plain Python."""
    text = text.removeprefix(b"\xef\xbb\xbf")
    decoded = text.decode("utf-8", errors)
    decoded = decoded.lower() if lowercase else decoded
    lines = [line.split() for line in decoded.split("\n")]
    counts = Counter(word for line in lines for word in line)
    kept = sorted((word for word in counts if counts[word] >= min_count), key=counts.__getitem__, reverse=True)
    numbers = {word: number for number, word in enumerate(kept)}
    ids, offsets = [], [0]
    for line in lines:
        ids += [numbers[word] for word in line if word in numbers]
        while len(ids) - offsets[-1] > max_sentence_length:
            offsets.append(offsets[-1] + max_sentence_length)
        if len(ids) > offsets[-1]:
            offsets.append(len(ids))
    num_lines = len(lines) - (not decoded or decoded.endswith("\n"))
    return kept, [counts[word] for word in kept], ids, offsets, counts.total(), num_lines


def found(corpus):
    """Return a corpus in the form of `expected`."""
    assert corpus.ids.dtype == np.int32 and corpus.offsets.dtype == np.int64
    assert corpus.vocabulary.counts.dtype == np.int64
    return (
        corpus.vocabulary.words,
        corpus.vocabulary.counts.tolist(),
        corpus.ids.tolist(),
        corpus.offsets.tolist(),
        corpus.num_words,
        corpus.num_sentences_read,
    )


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("corpus") / "text.txt"


@settings(max_examples=300, deadline=None)
@given(
    text=TEXTS,
    min_count=st.integers(0, 3),
    lowercase=st.booleans(),
    max_sentence_length=st.integers(1, 6) | st.just(1000),
    errors=st.sampled_from(ERRORS),
    block_bytes=st.integers(1, 200),
    workers=st.integers(1, 3),
    max_memory=st.sampled_from([None, 0, 100]),
)
@example(b"a\xe3\x80\x80b \xe3\x80", 1, False, 1000, "replace", 3, 1, None)
@example(b"K k \xe2\x84\xaa", 1, True, 1000, "strict", 64, 2, None)
def test_text_is_read_as_python_reads_it(
    path, text, min_count, lowercase, max_sentence_length, errors, block_bytes, workers, max_memory
):
    assume(not text.startswith(b"\x1f\x8b\x08"))
    path.write_bytes(text)
    kinds = {"min_count": min_count, "lowercase": lowercase, "max_sentence_length": max_sentence_length}
    ways = {"workers": workers, "max_memory": max_memory, "_block_bytes": block_bytes}
    try:
        want = expected(text, errors=errors, **kinds)
    except UnicodeDecodeError:
        want = None
    if want is None or not want[0] or (errors == "strict" and b"\0" in text):
        with pytest.raises(ValueError):
            read_corpus(path, errors=errors, **kinds, **ways)
        return
    got = found(read_corpus(path, errors=errors, **kinds, **ways))
    if errors == "ignore":
        # Words and lines of which nothing is left have been read all the same.
        assert got[:4] == want[:4] and got[4] >= want[4] and got[5] >= want[5]
    else:
        assert got == want


def test_every_character_separates_words_as_in_str_split(path):
    codes = [*range(1, 0xD800), *range(0xE000, 0x10000), *range(0x10000, 0x110000, 97)]
    characters = [chr(code) for code in codes]
    text = "".join(f"x{character}y " for character in characters)
    path.write_text(text, encoding="utf-8", newline="")
    corpus = read_corpus(path, min_count=1, workers=2, _block_bytes=10_000)
    assert found(corpus)[:5] == expected(text.encode())[:5]


@pytest.mark.parametrize("shift", range(64))
def test_both_ways_to_classify_bytes_agree(shift):
    data = np.roll(np.arange(256, dtype=np.uint8), shift)
    for start in range(0, 256, 64):
        group = data[start : start + 64]
        space, newline, lead = classes_of(group, portable=True)
        assert classes_of(group, portable=False) == (space, newline, lead)
        for bit, byte in enumerate(group.tolist()):
            assert space >> bit & 1 == (byte < 128 and chr(byte).isspace())
            assert newline >> bit & 1 == (byte == 10)
            assert lead >> bit & 1 == (byte >= 0xC0)


def test_blocks_and_workers_change_nothing(path):
    random = np.random.default_rng(1)
    words = [f"w{number}" for number in random.zipf(1.3, 20_000) if number < 10**9]
    breaks = random.choice(["\n", " ", "  ", "\n\n", "\u3000"], len(words))
    text = "".join(word + white for word, white in zip(words, breaks, strict=True))
    path.write_text(text, encoding="utf-8", newline="")
    want = expected(text.encode(), min_count=2, max_sentence_length=7)
    for workers in (1, 2, 5):
        for block_bytes in (1, 63, 64, 1000, 1 << 20):
            corpus = read_corpus(path, workers=workers, _block_bytes=block_bytes, min_count=2, max_sentence_length=7)
            assert found(corpus) == want


def test_ties_keep_the_order_of_appearance(path):
    path.write_text("pear fig apple fig pear plum apple\n")
    assert read_corpus(path, min_count=1).vocabulary.words == ["pear", "fig", "apple", "plum"]


def test_long_lines_are_cut_after_rare_words_have_gone(path):
    path.write_text("a b a x a b a b\nb a\n")
    corpus = read_corpus(path, min_count=2, max_sentence_length=3)
    assert corpus.offsets.tolist() == [0, 3, 6, 7, 9]
    assert corpus.num_sentences_read == 2
    exact = read_corpus(path, min_count=2, max_sentence_length=7)
    assert exact.offsets.tolist() == [0, 7, 9]


def test_a_sentence_goes_on_across_blocks(path):
    path.write_text("one line of several words that is longer than a block\n")
    corpus = read_corpus(path, min_count=1, _block_bytes=4, workers=2)
    assert corpus.offsets.tolist() == [0, 11]


def test_a_given_vocabulary_encodes_and_keeps_its_counts(path):
    path.write_text("the cat and the dog\n")
    vocabulary = read_corpus(path, min_count=1).vocabulary
    path.write_text("unknown\nThe dog the bird\ncat\n")
    corpus = read_corpus(path, vocabulary=vocabulary, min_count=100)
    assert [vocabulary.words[i] for i in corpus.ids] == ["dog", "the", "cat"]
    assert corpus.offsets.tolist() == [0, 2, 3]
    assert corpus.vocabulary is vocabulary and vocabulary.counts.tolist() == [2, 1, 1, 1]
    assert (corpus.num_words, corpus.num_sentences_read) == (6, 3)
    lowered = read_corpus(path, vocabulary=vocabulary, lowercase=True)
    assert [vocabulary.words[i] for i in lowered.ids] == ["the", "dog", "the", "cat"]
    path.write_text("nothing known")
    with pytest.raises(ValueError, match="none of the 2 words read is in the vocabulary of 4 words"):
        read_corpus(path, vocabulary=vocabulary)


def test_progress_tells_words_and_fraction(path, monkeypatch):
    monkeypatch.setattr("fastemb.corpus.reader._PROGRESS_SECONDS", 0)
    path.write_text("a b c d\n" * 1000)
    told = []
    read_corpus(path, workers=2, progress=lambda *args: told.append(args), _block_bytes=1000)
    words, fractions = zip(*told, strict=True)
    assert len(told) > 3 and list(words) == sorted(words) and list(fractions) == sorted(fractions)
    assert told[-1] == (4000, 1.0) and 0 < fractions[0] < 0.9


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_count": -1}, "min_count must be an integer >= 0, got -1"),
        ({"max_sentence_length": 0}, "max_sentence_length must be an integer in .1, .*, got 0"),
        ({"errors": "xmlcharrefreplace"}, "errors must be one of"),
        ({"workers": 0}, r"workers must be an integer in \[1, 1024\], got 0"),
        ({"max_memory": "lots"}, "max_memory must be"),
        ({"vocabulary": ["the"]}, "vocabulary must be a Vocabulary"),
    ],
)
def test_arguments_out_of_bounds(path, options, message):
    path.write_text("a")
    with pytest.raises((ValueError, TypeError), match=message):
        read_corpus(path, **options)
