"""gensim's classes for sentences in files: iterated as gensim does, and read directly to the same end."""

import gzip
import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastemb.corpus.reader import read_corpus
from fastemb.corpus.sentences import LineSentence, PathLineSentences, SentenceCutter, Text8Corpus

TEXTS = st.lists(st.sampled_from(["a", "bb", " ", "\n", "\n\n", "é", "\u3000", " c "]), max_size=60).map("".join)


def same(first, second):
    """Whether two corpora hold the same sentences of the same words."""
    assert first.vocabulary.words == second.vocabulary.words
    np.testing.assert_array_equal(first.ids, second.ids)
    np.testing.assert_array_equal(first.offsets, second.offsets)
    assert first.num_words == second.num_words
    assert first.num_sentences_read == second.num_sentences_read


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("sentences") / "text.txt"


@settings(max_examples=200, deadline=None, derandomize=True)
@given(text=TEXTS, length=st.integers(1, 7), block_bytes=st.integers(1, 40), workers=st.integers(1, 2))
@pytest.mark.parametrize("kind", [LineSentence, Text8Corpus])
def test_files_are_read_as_they_are_iterated(path, kind, text, length, block_bytes, workers):
    path.write_text(text + "a", encoding="utf-8")
    sentences = kind(path, max_sentence_length=length)
    direct = read_corpus(sentences, min_count=1, workers=workers, _block_bytes=block_bytes)
    same(direct, read_corpus(list(sentences), min_count=1))


@settings(max_examples=100, deadline=None, derandomize=True)
@given(text=TEXTS, length=st.integers(1, 7), limit=st.none() | st.integers(0, 3))
def test_gensim_iterates_alike(path, text, length, limit):
    word2vec = pytest.importorskip("gensim.models.word2vec", reason="gensim is not installed")
    path.write_text(text, encoding="utf-8")
    ours, theirs = LineSentence(path, length, limit), word2vec.LineSentence(str(path), length, limit)
    if text:  # an empty file is an error here
        assert list(ours) == list(ours) == list(theirs)
    assert list(LineSentence(io.StringIO(text), length, limit)) == list(theirs)
    assert list(LineSentence(io.BytesIO(text.encode()), length, limit)) == list(theirs)
    words = text.split()
    assert (
        list(Text8Corpus(path, length)) == [words[i : i + length] for i in range(0, len(words), length)] if words else 1
    )


def test_a_limit_and_an_open_file_are_iterated(path):
    path.write_text("a b\n\nc\nd e\n")
    assert read_corpus(LineSentence(path, limit=3), min_count=1).vocabulary.words == ["a", "b", "c"]
    with open(path, encoding="utf-8") as file:
        sentences = LineSentence(file)
        for _ in range(2):
            assert read_corpus(sentences, min_count=1).offsets.tolist() == [0, 2, 3, 5]


def test_long_lines_are_cut_at_10000_words_and_nothing_is_dropped(path):
    path.write_text(" ".join(f"w{i % 7}" for i in range(25_000)))
    for kind in (LineSentence, Text8Corpus):
        sentences = kind(path)
        assert [len(sentence) for sentence in sentences] == [10_000, 10_000, 5_000]
        corpus = read_corpus(sentences, max_sentence_length=10**6, _block_bytes=999)
        assert corpus.offsets.tolist() == [0, 10_000, 20_000, 25_000] and corpus.num_sentences_read == 3


def test_files_of_a_folder(tmp_path):
    word2vec = pytest.importorskip("gensim.models.word2vec", reason="gensim is not installed")
    (tmp_path / "b.txt").write_text("of b\nagain b\n")
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"of a\n\nagain a"))
    sentences = PathLineSentences(tmp_path)
    assert list(sentences) == list(word2vec.PathLineSentences(str(tmp_path)))
    same(read_corpus(sentences, min_count=1), read_corpus(list(sentences), min_count=1))
    assert list(PathLineSentences(tmp_path, limit=1)) == [["of", "a"], ["of", "b"]]
    assert list(PathLineSentences(tmp_path / "b.txt")) == [["of", "b"], ["again", "b"]]
    (tmp_path / ".hidden").write_text("x")
    (tmp_path / "folder").mkdir()
    assert list(PathLineSentences(tmp_path)) == list(sentences)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: LineSentence(3), TypeError, "source must be a path or an open file, got 3"),
        (lambda: LineSentence("x", max_sentence_length=0), ValueError, "max_sentence_length must be"),
        (lambda: LineSentence("x", limit=-1), ValueError, "limit must be"),
        (
            lambda: PathLineSentences("no-such-folder"),
            ValueError,
            "source must be a folder or a file, got 'no-such-fol",
        ),
        (lambda: list(LineSentence("no-such-file")), FileNotFoundError, "no-such-file"),
        (lambda: read_corpus(LineSentence("no-such-file")), FileNotFoundError, "no-such-file"),
    ],
)
def test_what_is_no_source(make, error, message):
    with pytest.raises(error, match=message):
        make()


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    blocks=st.lists(st.lists(st.integers(0, 3), max_size=5), max_size=6),
    length=st.integers(1, 5),
    by_line=st.booleans(),
)
def test_sentences_are_cut_across_blocks(blocks, length, by_line):
    """A block is a list of words (above 0) and line ends (0)."""
    cutter = SentenceCutter(length, by_line)
    sentences, begun, done = [[]], 0, 0
    for block in blocks:
        words = np.array([word for word in block if word], np.int32)
        ends = [sum(word > 0 for word in block[:place]) for place, word in enumerate(block) if word == 0]
        record, new = cutter.cut(np.concatenate([words, np.unique(ends)]).astype(np.int32), len(words))
        begun += new
        assert record.dtype == np.int32 and (np.diff(record[len(words) :]) > 0).all()
        for place, word in enumerate(words.tolist()):
            sentences += [[]] * (place in record[len(words) :])
            sentences[-1] = [*sentences[-1], word]
        sentences += [[]] * (len(words) in record[len(words) :])
        done += len(words)
    text = [word for block in blocks for word in [*block]]
    lines = [[]]
    for word in text:
        if word:
            lines[-1].append(word)
        elif by_line:
            lines.append([])
    expected = [line[i : i + length] for line in lines for i in range(0, len(line), length)]
    assert [sentence for sentence in sentences if sentence] == expected and begun == len(expected)
