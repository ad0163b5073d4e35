"""gensim's load_word2vec_format and save_word2vec_format, on top of the formats."""

import os
from typing import Any

import numpy as np

from fastemb import formats
from fastemb.corpus.vocabulary import Vocabulary
from fastemb.engine.validate import choice, integer
from fastemb.formats import word2vec
from fastemb.formats.files import PathLike, reading, replacing
from fastemb.formats.table import Table
from fastemb.formats.words import ERRORS


def load(
    path: PathLike,
    fvocab: PathLike | None,
    binary: bool,
    encoding: str,
    unicode_errors: str,
    limit: int | None,
    datatype: Any,
    no_header: bool,
) -> Table:
    """Read a table; see `KeyedVectors.load_word2vec_format`."""
    choice("unicode_errors", unicode_errors, ERRORS)
    if np.dtype(datatype) != np.float32:
        raise ValueError(f"datatype must be float32, got {np.dtype(datatype)}; quantize(dtype=...) makes shorter ones")
    if binary and no_header:
        raise ValueError("no_header=True works only with binary=False: a binary file's header tells the vector size")
    is_utf8 = encoding.lower().replace("-", "").replace("_", "") == "utf8"
    format = "word2vec-binary" if binary else "glove" if no_header else "word2vec"
    table = formats.read(path, format=format, errors=unicode_errors if is_utf8 else "surrogateescape", limit=limit)
    words = table.vocabulary
    if not is_utf8:
        decoded = [word.decode(encoding, unicode_errors) for word in words.as_bytes()]
        words = Vocabulary.from_bytes([word.encode("utf-8", "surrogateescape") for word in decoded])
    if fvocab is not None:
        words = Vocabulary(words.packed, words.offsets, _read_counts(fvocab, words.words, encoding, unicode_errors))
    return Table(words, table.vectors)


def _read_counts(path: PathLike, words: list[str], encoding: str, errors: str) -> np.ndarray:
    """Return the words' counts from a file of a word and its count a line."""
    counts: dict[str, int] = {}
    with reading(path) as (file, _):
        for number, line in enumerate(file, 1):
            word, _, count = line.strip().rpartition(b" ")
            if not count.isdigit() or len(count) > 18:
                raise ValueError(f"{os.fspath(path)!r}, line {number}: must be a word and its count, got {line!r:.80}")
            counts[word.decode(encoding, errors)] = int(count)
    missing = next((word for word in words if word not in counts), None)
    if missing is not None:
        raise ValueError(f"{os.fspath(path)!r} has no count of the word {missing!r:.80}")
    return np.array([counts[word] for word in words], np.int64)


def save(
    path: PathLike,
    table: Table,
    fvocab: PathLike | None,
    binary: bool,
    total_vec: int | None,
    write_header: bool,
    prefix: str,
    append: bool,
    sort_attr: str,
) -> None:
    """Write a table; see `KeyedVectors.save_word2vec_format`."""
    if binary and not write_header and not append:
        raise ValueError(
            "write_header=False works only with binary=False: a binary file's header tells the vector size"
        )
    if append and os.fspath(path).lower().endswith(".gz"):
        raise ValueError(f"append=True works only with files that are not packed, got {os.fspath(path)!r}")
    total = None if total_vec is None else integer("total_vec", total_vec, len(table.vectors))
    if fvocab is not None and table.counts is None:
        raise ValueError("fvocab needs counts, and these vectors come without them")
    if sort_attr == "count" and table.counts is not None and (np.diff(table.counts) > 0).any():
        order = np.argsort(-table.counts, kind="stable")
        table = Table(table.vocabulary.take(order), table.vectors[order])
    if prefix:
        start = prefix.encode()
        named = Vocabulary.from_bytes([start + word for word in table.vocabulary.as_bytes()], table.counts)
        table = Table(named, table.vectors)
    if append or total is not None:
        header = word2vec.header_of(table, total) if write_header else b""
        with open(path, "ab") if append else replacing(path) as file:
            (word2vec.write_binary if binary else word2vec.write_text)(file, table, header)
    else:
        formats.write(path, table, format="word2vec-binary" if binary else "word2vec" if write_header else "glove")
    if fvocab is not None and table.counts is not None:
        with replacing(fvocab) as file:
            pairs = zip(table.vocabulary.as_bytes(), table.counts.tolist(), strict=True)
            file.write(b"".join([b"%b %d\n" % pair for pair in pairs]))
