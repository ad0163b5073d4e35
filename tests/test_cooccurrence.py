"""Counting co-occurrences, and the GloVe program's files."""

import gzip

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fastemb.corpus import cooccurrence
from fastemb.corpus.cooccurrence import Cooccurrence, count_cooccurrences
from fastemb.corpus.reader import read_corpus
from fastemb.corpus.spool import TemporaryArray, require_memory
from fastemb.corpus.vocabulary import Vocabulary
from fastemb.formats.cooccurrence import (
    RECORD,
    count_to_file,
    read_cooccurrence,
    read_vocabulary,
    write_cooccurrence,
    write_vocabulary,
)


def sentences(number=60, seed=0, words=30):
    random = np.random.default_rng(seed)
    return [[f"w{word % words}" for word in random.zipf(1.3, random.integers(1, 40))] for _ in range(number)]


def counted(text, window, symmetric=True, weigh=True):
    """Count pair by pair, as ``cooccur`` is documented to do."""
    pairs = {}
    for words in text:
        for i, left in enumerate(words):
            for distance, right in enumerate(words[i + 1 : i + 1 + window], 1):
                for pair in ((left, right), (right, left)) if symmetric else ((left, right),):
                    pairs[pair] = pairs.get(pair, 0) + (1 / distance if weigh else 1)
    return pairs


def as_dict(matrix):
    words = matrix.vocabulary.words
    rows = np.repeat(np.arange(len(words)), np.diff(matrix.offsets))
    triples = zip(rows.tolist(), matrix.cols.tolist(), matrix.counts.tolist(), strict=True)
    return {(words[row], words[col]): count for row, col, count in triples}


@pytest.mark.parametrize(
    ("window", "symmetric", "weigh"), [(15, True, True), (1, True, True), (5, False, True), (100, True, False)]
)
@pytest.mark.parametrize("workers", [1, 3])
def test_counts_are_those_of_a_loop_over_pairs(window, symmetric, weigh, workers):
    text = sentences()
    with read_corpus(text, min_count=1) as corpus:
        matrix = count_cooccurrences(
            corpus, window=window, symmetric=symmetric, distance_weighting=weigh, workers=workers, dtype=np.float64
        )
    wanted = counted(text, window, symmetric, weigh)
    found = as_dict(matrix)
    assert found.keys() == wanted.keys()
    for pair, count in wanted.items():
        assert found[pair] == pytest.approx(count, rel=1e-14)
    for begin, end in zip(matrix.offsets[:-1], matrix.offsets[1:], strict=True):
        assert (np.diff(matrix.cols[begin:end]) > 0).all()


def test_words_left_out_are_no_distance_and_lines_are_apart():
    text = [["a", "rare", "b", "a"], ["b"], ["a"]]
    with read_corpus(text, min_count=2) as corpus:
        matrix = count_cooccurrences(corpus, window=2, dtype=np.float64)
    assert as_dict(matrix) == {("a", "b"): 2.0, ("b", "a"): 2.0, ("a", "a"): 1.0}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_budget_and_threads_change_nothing(monkeypatch, dtype):
    monkeypatch.setattr(cooccurrence, "FEWEST_OCCURRENCES", 100)
    monkeypatch.setattr(cooccurrence, "ENTRIES", 64)
    with read_corpus(sentences(), min_count=1) as corpus:
        assert len(corpus.ids) > 1000
        whole = count_cooccurrences(corpus, workers=1, dtype=dtype)
        done = []
        for workers, budget in ((1, 0), (3, 0), (2, "5K"), (2, "1M")):
            with count_cooccurrences(
                corpus, workers=workers, max_memory=budget, dtype=dtype, progress=done.append
            ) as matrix:
                assert isinstance(matrix.cols, np.memmap) == (budget != "1M")
                assert matrix.counts.dtype == dtype
                for name in ("offsets", "cols", "counts"):
                    np.testing.assert_array_equal(getattr(matrix, name), getattr(whole, name))
            assert done[-1] == len(corpus.ids) and done == sorted(done)
            done.clear()


def test_sums_are_exact():
    """A thousand thirds are a thousand divided by three, not a thousand roundings."""
    with read_corpus([["a", "x", "y", "b"]] * 1000, min_count=1) as corpus:
        matrix = count_cooccurrences(corpus, dtype=np.float64)
    assert as_dict(matrix)["a", "b"] == 1000 / 3


@pytest.mark.parametrize("budget", [None, 0])
def test_no_pairs(budget):
    with read_corpus([["a"], ["b"]], min_count=1) as corpus:
        matrix = count_cooccurrences(corpus, max_memory=budget)
    assert matrix.num_pairs == 0 and matrix.offsets.tolist() == [0, 0, 0]
    assert matrix.to_scipy().toarray().tolist() == [[0, 0], [0, 0]]


def test_arguments_are_checked():
    with read_corpus([["a", "b"]], min_count=1) as corpus:
        with pytest.raises(ValueError, match=r"window must be an integer in \[1, 255\], got 256"):
            count_cooccurrences(corpus, window=256)
        with pytest.raises(TypeError, match="symmetric must be True or False"):
            count_cooccurrences(corpus, symmetric="no")
        with pytest.raises(ValueError, match="max_memory must be"):
            count_cooccurrences(corpus, max_memory="much")


def test_memory_is_asked_for_before_it_is_used():
    require_memory(1 << 20, "pairs")
    with pytest.raises(MemoryError, match=r"9 pairs need .* GB and this machine has .* GB: max_memory="):
        require_memory(1 << 60, "9 pairs")


def test_a_full_disk_is_told_and_does_not_end_the_process(monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full, raising=False)
    with pytest.raises(OSError, match=r"No space left on device.*set TMPDIR to a folder with room"):
        TemporaryArray().finish(10, np.int32, writable=True)
    monkeypatch.delattr("os.posix_fallocate")
    array = TemporaryArray().finish(10, np.int32, writable=True)
    assert array.tolist() == [0] * 10


class TestFiles:
    @pytest.fixture
    def matrix(self):
        with read_corpus(sentences(), min_count=1) as corpus:
            return count_cooccurrences(corpus, dtype=np.float64)

    @pytest.mark.parametrize("budget", [None, 0])
    def test_there_and_back(self, matrix, tmp_path, budget):
        path, vocab = tmp_path / "cooccurrence.bin", tmp_path / "vocab.txt"
        write_cooccurrence(path, matrix)
        write_vocabulary(vocab, matrix.vocabulary)
        words = read_vocabulary(vocab)
        assert words.words == matrix.vocabulary.words
        np.testing.assert_array_equal(words.counts, matrix.vocabulary.counts)
        found = read_cooccurrence(path, words, max_memory=budget, dtype=np.float64)
        for name in ("offsets", "cols", "counts"):
            np.testing.assert_array_equal(getattr(found, name), getattr(matrix, name))

    def test_the_file_is_the_programs(self, matrix, tmp_path):
        """Rows and columns begin at one and rise; a record is two int32 and a float64."""
        write_cooccurrence(tmp_path / "a", matrix)
        records = np.fromfile(tmp_path / "a", RECORD)
        assert RECORD.itemsize == 16 and len(records) == matrix.num_pairs
        words = matrix.vocabulary.words
        found = {(words[row - 1], words[col - 1]): count for row, col, count in records.tolist()}
        assert found == as_dict(matrix)
        order = np.lexsort((records["col"], records["row"]))
        assert (order == np.arange(len(records))).all()

    @pytest.mark.parametrize("budget", [None, 0])
    @pytest.mark.parametrize("workers", [1, 3])
    def test_counted_into_a_file(self, matrix, tmp_path, budget, workers, monkeypatch):
        monkeypatch.setattr(cooccurrence, "FEWEST_OCCURRENCES", 100)
        monkeypatch.setattr(cooccurrence, "ENTRIES", 64)
        write_cooccurrence(tmp_path / "a", matrix)
        with read_corpus(sentences(), min_count=1) as corpus:
            assert count_to_file(tmp_path / "b", corpus, max_memory=budget, workers=workers) == matrix.num_pairs
        assert (tmp_path / "b").read_bytes() == (tmp_path / "a").read_bytes()

    def test_counted_into_a_file_or_not_at_all(self, tmp_path):
        def stop(words):
            raise KeyboardInterrupt

        with read_corpus([["a", "b"]], min_count=1) as corpus:
            with pytest.raises(KeyboardInterrupt):
                count_to_file(tmp_path / "a", corpus, progress=stop)
            with pytest.raises(ValueError, match="window must be"):
                count_to_file(tmp_path / "a", corpus, window=0)
        assert not list(tmp_path.iterdir())
        with read_corpus([["a"], ["b"]], min_count=1) as corpus:
            assert count_to_file(tmp_path / "a", corpus) == 0
        assert (tmp_path / "a").read_bytes() == b""

    @pytest.mark.parametrize("budget", [None, 0])
    @pytest.mark.parametrize("block", [7, 1 << 20])
    def test_a_shuffled_file(self, matrix, tmp_path, budget, block, monkeypatch):
        monkeypatch.setattr("fastemb.formats.cooccurrence._BLOCK", block)
        write_cooccurrence(tmp_path / "a", matrix)
        records = np.fromfile(tmp_path / "a", RECORD)
        np.random.default_rng(0).shuffle(records)
        records.tofile(tmp_path / "b")
        found = read_cooccurrence(tmp_path / "b", matrix.vocabulary, max_memory=budget, dtype=np.float64)
        assert as_dict(found) == as_dict(matrix)
        first = records[records["row"] == records["row"][0]]
        begin = found.offsets[records["row"][0] - 1]
        np.testing.assert_array_equal(found.cols[begin : begin + len(first)], first["col"] - 1)

    @pytest.mark.parametrize(
        ("record", "message"),
        [
            ((0, 1, 1.0), r"record 1: must be two words in \[1, 2\] and a count above 0, got 0, 1 and 1"),
            ((1, 3, 1.0), "got 1, 3 and 1"),
            ((1, -1, 1.0), "got 1, -1 and 1"),
            ((1, 1, 0.0), "got 1, 1 and 0"),
            ((1, 1, -1.0), "got 1, 1 and -1"),
            ((1, 1, np.nan), "got 1, 1 and nan"),
            ((1, 1, np.inf), "got 1, 1 and inf"),
            ((1, 1, 1e-60), "got 1, 1 and 1e-60"),
        ],
    )
    def test_wrong_records(self, tmp_path, record, message):
        path = tmp_path / "a"
        np.array([(1, 2, 0.5), record], RECORD).tofile(path)
        with pytest.raises(ValueError, match=message):
            read_cooccurrence(path, Vocabulary.from_words(["a", "b"]))

    def test_wrong_sizes(self, tmp_path):
        words = Vocabulary.from_words(["a"])
        with pytest.raises(FileNotFoundError):
            read_cooccurrence(tmp_path / "none", words)
        (tmp_path / "a").write_bytes(b"")
        with pytest.raises(ValueError, match="is empty"):
            read_cooccurrence(tmp_path / "a", words)
        (tmp_path / "a").write_bytes(bytes(17))
        with pytest.raises(ValueError, match="records of 16 bytes, got 17 bytes: is it cut"):
            read_cooccurrence(tmp_path / "a", words)

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(data=st.data())
    def test_a_damaged_file_is_read_or_refused(self, data, tmp_path_factory):
        """Truncations and flipped bits give ValueError, or a matrix whose every place is inside the tables."""
        path = tmp_path_factory.getbasetemp() / "damaged.bin"
        good = np.array([(1, 2, 0.5), (2, 1, 0.5), (2, 3, 7.0), (3, 2, 7.0)], RECORD).tobytes()
        bad = bytearray(good[: data.draw(st.integers(0, len(good)))])
        for place in data.draw(st.lists(st.integers(0, max(0, len(bad) - 1)), max_size=4)):
            if bad:
                bad[place] ^= 1 << data.draw(st.integers(0, 7))
        path.write_bytes(bad)
        try:
            found = read_cooccurrence(path, Vocabulary.from_words(["a", "b", "c"]))
        except ValueError:
            return
        assert found.num_pairs == len(bad) // 16 and found.offsets[-1] == found.num_pairs
        assert ((found.cols >= 0) & (found.cols < 3)).all() and (found.counts > 0).all()

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (b"to 4\nbe\n", "line 2: must be a word and its count, got b'be"),
            (b"to 4\nbe x\n", "line 2"),
            (b"to -4\n", "line 1"),
            (b"to 4\n\nbe 2\n", "line 2"),
            (b"to 4\nbe 2\nto 1\n", "line 3: repeats the word of line 1"),
            (b"to 99999999999999999999\n", "line 1"),
            (b"caf\xe9 3\n", "word 0 is not UTF-8"),
            (b"", "is empty"),
        ],
    )
    def test_wrong_vocabularies(self, tmp_path, text, message):
        path = tmp_path / "vocab.txt"
        path.write_bytes(text)
        with pytest.raises(ValueError, match=message):
            read_vocabulary(path)

    def test_vocabularies_that_are_odd(self, tmp_path):
        path = tmp_path / "vocab.txt.gz"
        path.write_bytes(gzip.compress("a b 7\r\n日本 3".encode()))
        words = read_vocabulary(path)
        assert words.words == ["a b", "日本"] and words.counts.tolist() == [7, 3]

    @pytest.mark.parametrize("word", ["<unk>", "new york", "tab\tbed", "nul\0", ""])
    def test_what_the_program_cannot_read_is_not_written(self, tmp_path, word):
        path = tmp_path / "vocab.txt"
        with pytest.raises(ValueError, match=r"word 1, .* cannot stand in a vocabulary file that GloVe reads"):
            write_vocabulary(path, Vocabulary.from_words(["a", word], [2, 1]))
        with pytest.raises(ValueError, match="needs counts"):
            write_vocabulary(path, Vocabulary.from_words(["a"]))
        assert not path.exists()


def test_what_a_matrix_says_of_itself():
    matrix = Cooccurrence(
        np.array([0, 1, 1]), np.array([1], np.int32), np.array([2.0]), Vocabulary.from_words(["a", "b"])
    )
    assert repr(matrix) == "Cooccurrence(2 words, 1 pairs)"
    with matrix:
        assert matrix.num_pairs == 1
    assert matrix.num_pairs == 0
