"""Lines of labelled text: split as fastText does, the same for any blocks and threads."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fastemb.corpus._lines import join_features, last_space, split_lines
from fastemb.corpus.lines import line_batches, read_lines, read_texts

WHITE = b" \t\v\f\r\0"


def expected(text):
    """The words of each line by fastText's rule, told in Python's own words."""
    lines = text.split(b"\n")
    if lines[-1] == b"":
        lines.pop()
    table = bytes.maketrans(WHITE, b" " * len(WHITE))
    return [[word for word in line.translate(table).split(b" ") if word] for line in lines]


def found(lines):
    words = lines.words.as_bytes()
    starts = [0, *lines.ends[:-1]]
    return [
        [words[n] for n in lines.numbers[start:end]] for start, end in zip(starts, lines.ends, strict=True)
    ]  # fmt: skip


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    text=st.lists(st.sampled_from([b"a", b"bb", b"\xc2\xa0", b" ", b"\n", b"\x1f", b"\0", b"\r\n", b"\t"]), min_size=1),
    block_bytes=st.sampled_from([8, 64, 1 << 20]),
    workers=st.integers(1, 3),
)
@example([b"a" * 100, b"\n", b"b"], 8, 2)
def test_lines_are_fasttexts(tmp_path_factory, text, block_bytes, workers):
    path = tmp_path_factory.mktemp("lines") / "text.txt"
    path.write_bytes(b"".join(text))
    lines = read_lines(str(path), workers=workers, _block_bytes=block_bytes)
    assert found(lines) == expected(b"".join(text))
    counts = dict(zip(lines.words.as_bytes(), lines.words.counts.tolist(), strict=True))
    assert counts.pop(b"</s>") == len(lines)
    assert counts == {word: sum(line.count(word) for line in found(lines)) for line in found(lines) for word in line}


def test_a_text_is_a_line_whatever_is_in_it():
    texts = ["a b\nc", "", "é\u00a0x \u3042", "d\r"] * 5000
    for lines in (read_texts(texts), read_lines(texts, workers=2)):
        assert len(lines) == len(texts)
        assert found(lines)[:4] == [[b"a", b"b", b"c"], [], ["é\u00a0x".encode(), "\u3042".encode()], [b"d"]]
        assert found(lines)[-4:] == found(lines)[:4]


def test_bad_texts_are_named():
    with pytest.raises(TypeError, match=r"texts must be str, got None at position 1"):
        read_texts(["a", None])
    with pytest.raises(ValueError, match=r"valid Unicode, got '\\ud800' at position 1"):
        read_texts(["a", "\ud800"])


def test_bytes_that_are_not_utf8(tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes(b"a caf\xe9\n")
    with pytest.raises(ValueError, match=r"text\.txt: invalid UTF-8 at byte 5"):
        read_lines(str(path))
    assert found(read_lines(str(path), errors="surrogateescape")) == [[b"a", b"caf\xe9"]]
    assert found(read_lines(str(path), errors="ignore")) == [[b"a", b"caf"]]
    with pytest.raises(ValueError, match="not UTF-8"):
        list(line_batches(str(path)))


def test_batches_of_lines(tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes("a b\n\nc é\nlast".encode())
    assert [line for batch in line_batches(str(path), most=2) for line in batch] == ["a b", "", "c é", "last"]


def test_labels_are_parted_from_words():
    numbers, ends = np.array([0, 1, 2, 3, 2], np.int32), np.array([2, 2, 5])
    places = np.array([5, -2, 7, -1], np.int32)  # a word, label 0, a word, left out
    words, offsets, labels, label_offsets = split_lines(numbers, ends, places, 9)
    assert words.tolist() == [5, 9, 9, 7, 7, 9] and offsets.tolist() == [0, 2, 3, 6]
    assert labels.tolist() == [0] and label_offsets.tolist() == [0, 1, 1, 1]


def test_nothing_is_read_outside_an_array():
    one = np.zeros(1, np.int32)
    with pytest.raises(ValueError, match="numbers must be in"):
        split_lines(np.array([3], np.int32), np.array([1]), one, -1)
    with pytest.raises(ValueError, match="offsets must rise"):
        split_lines(one, np.array([2]), one, -1)
    none = np.zeros(0, np.int64)
    with pytest.raises(ValueError, match="numbers must be in"):
        join_features(np.array([1], np.int32), np.array([0, 1]), one, np.array([0, 1]), one, none)
    with pytest.raises(ValueError, match="n-grams of 1 lines, got those of 2"):
        join_features(one, np.array([0, 1]), one, np.array([0, 1]), one, np.array([0, 0, 1]))
    with pytest.raises(ValueError, match="size must be in"):
        last_space(np.zeros(1, np.uint8), 2)
