"""finalfusion's chunks: norms, n-grams, repeated words, and files that lie."""

import struct
from pathlib import Path

import numpy as np
import pytest

from fastemb.corpus.vocabulary import Vocabulary
from fastemb.formats import Table, read, write

VECTORS = np.array([[1, 2], [3, 4], [5, 6], [7, 8]], "<f4")
WORDS = [b"a", "né".encode(), b"c"]


def words_chunk(words: list[bytes], between: bytes = b"") -> bytes:
    return struct.pack("<Q", len(words)) + between + b"".join(struct.pack("<I", len(word)) + word for word in words)


def table_chunk(vectors: np.ndarray, padding: int = 0) -> bytes:
    return struct.pack("<QII", *vectors.shape, 10) + bytes(padding) + vectors.tobytes()


def norms_chunk(norms: list[float]) -> bytes:
    return struct.pack("<QI", len(norms), 10) + np.array(norms, "<f4").tobytes()


def file_of(chunks: list[tuple[int, bytes]]) -> bytes:
    head = b"FiFu" + struct.pack("<II", 0, len(chunks)) + b"".join(struct.pack("<I", kind) for kind, _ in chunks)
    return head + b"".join(struct.pack("<IQ", kind, len(content)) + content for kind, content in chunks)


def test_words_of_embeddings_with_ngrams(tmp_path: Path) -> None:
    for kind, between in ((1, b""), (3, bytes(12)), (7, bytes(12)), (8, bytes(16))):
        content = file_of([(5, b'name = "x"'), (kind, words_chunk(WORDS, between)), (2, table_chunk(VECTORS, 4))])
        (tmp_path / "a.fifu").write_bytes(content)
        table = read(tmp_path / "a.fifu")
        assert table.words == ["a", "né", "c"]
        np.testing.assert_array_equal(table.vectors, VECTORS[:3])


def test_vectors_are_multiplied_by_their_norms(tmp_path: Path) -> None:
    content = file_of([(1, words_chunk(WORDS)), (2, table_chunk(VECTORS[:3])), (6, norms_chunk([1, 10, 0.5]))])
    (tmp_path / "a").write_bytes(content)
    assert read(tmp_path / "a").vectors.tolist() == [[1, 2], [30, 40], [2.5, 3]]


def test_a_repeated_word_counts_once(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(file_of([(1, words_chunk([b"a", b"b", b"a"])), (2, table_chunk(VECTORS[:3]))]))
    with pytest.warns(UserWarning, match="1 rows repeat an earlier word"):
        table = read(tmp_path / "a")
    assert table.words == ["a", "b"] and table.vectors.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize(
    ("chunks", "message"),
    [
        ([(1, words_chunk(WORDS)), (4, bytes(40))], "a finalfusion file with product-quantized vectors"),
        ([(9, words_chunk(WORDS)), (2, table_chunk(VECTORS))], "with no vocabulary that is known here"),
        ([(1, words_chunk(WORDS)), (2, table_chunk(VECTORS[:2]))], "it has 3 words and 2 vectors"),
        ([(1, words_chunk(WORDS)), (2, table_chunk(VECTORS)), (6, norms_chunk([1]))], "it has 3 words and 1 norms"),
        (
            [(1, words_chunk(WORDS)), (2, table_chunk(VECTORS, 5))],
            r"an array of shape \(4, 2\) and type 10 has 37 bytes",
        ),
        ([(1, words_chunk(WORDS)), (2, table_chunk(VECTORS)[:-1])], r"an array of shape \(4, 2\) and type 10 has 31"),
        ([(1, words_chunk(WORDS)), (2, bytes(3))], "its array is too short"),
        ([(1, bytes(5)), (2, table_chunk(VECTORS))], "its vocabulary is too short"),
        ([(1, struct.pack("<Q", 1 << 60)), (2, table_chunk(VECTORS))], "claims 1152921504606846976 words, and 0 bytes"),
        ([(1, words_chunk(WORDS)[:-1]), (2, table_chunk(VECTORS))], "word 2 does not end within the vocabulary"),
    ],
)
def test_files_that_are_wrong(tmp_path: Path, chunks: list[tuple[int, bytes]], message: str) -> None:
    (tmp_path / "a").write_bytes(file_of(chunks))
    with pytest.raises(ValueError, match=message):
        read(tmp_path / "a")


def test_headers_that_are_wrong(tmp_path: Path) -> None:
    content = file_of([(1, words_chunk(WORDS)), (2, table_chunk(VECTORS))])
    for change, message in (
        (content[:8] + struct.pack("<I", 10**9) + content[12:], "claims 1000000000 chunks"),
        (content[:4] + struct.pack("<I", 7) + content[8:], "it is of version 7"),
        (content[:24] + struct.pack("<Q", 1 << 62) + content[32:], "a chunk of 4611686018427387904 bytes"),
        (content[:-1], "is it truncated"),
        (content[:10], "does not begin with 'FiFu' and a header"),
    ):
        (tmp_path / "a").write_bytes(change)
        with pytest.raises(ValueError, match=message):
            read(tmp_path / "a")


def test_any_word_can_be_written(tmp_path: Path) -> None:
    words = Vocabulary.from_words(["", "new york", "a\nb", "\udcff"])
    write(tmp_path / "a.fifu", Table(words, VECTORS))
    again = read(tmp_path / "a.fifu", errors="surrogateescape")
    assert again.words == words.words
    np.testing.assert_array_equal(again.vectors, VECTORS)
