"""Sentences from a column of a table: Arrow, pandas, polars, and whatever else speaks Arrow's C interface."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from fastemb.corpus._scan import PADDING
from fastemb.corpus._strings import join_lines
from fastemb.corpus.feeds import TextScan, TokenBlock, TokenScan
from fastemb.corpus.sources import Block, Piece

__all__ = ["column_feed", "is_column"]

MAX_ROW_BYTES = 1 << 30


def is_column(source: object) -> bool:
    """Return whether something is a column that can be read as Arrow arrays.

    Examples
    --------
    >>> is_column([["a", "list"]])
    False
    """
    return hasattr(source, "__arrow_c_stream__") or hasattr(source, "__arrow_c_array__") or _is_pandas(source)


def _is_pandas(source: object) -> bool:
    return type(source).__module__.partition(".")[0] == "pandas" and hasattr(source, "to_numpy")


def column_feed(column: Any, lowercase: bool, errors: str, block_bytes: int) -> "TextColumnFeed | TokenColumnFeed":
    """Return the feed of a column of text, or of lists of tokens.

    Raises
    ------
    ImportError
        If pyarrow is not installed.
    TypeError
        If it is a column of something else, or a table.
    """
    chunks = _chunks(column)
    import pyarrow.types as types

    kind = chunks.type
    if _is_text(kind):
        return TextColumnFeed(chunks, lowercase, errors, block_bytes)
    if _is_list(kind) and _is_text(kind.value_type):
        return TokenColumnFeed(chunks, lowercase, block_bytes)
    if types.is_struct(kind):
        names = ", ".join(repr(field.name) for field in kind)
        raise TypeError(f"sentences must be one column, such as table['text'], got a table with the columns {names}")
    raise TypeError(f"sentences must be a column of strings or of lists of strings, got one of {chunks.type}")


def _chunks(column: Any) -> Any:
    """Return a column as a pyarrow.ChunkedArray."""
    try:
        import pyarrow
    except ImportError as error:
        raise ImportError(
            f"reading sentences from a {type(column).__name__} needs pyarrow: pip install 'fastemb[arrow]', "
            "or pass lists of words"
        ) from error
    try:
        if hasattr(column, "__arrow_c_stream__"):
            return pyarrow.chunked_array(column)
        array = pyarrow.array(column, from_pandas=True)
    except pyarrow.ArrowException as error:
        raise TypeError(
            f"sentences must be a column of strings or of lists of strings, got a {type(column).__name__} "
            f"that is no Arrow array ({error})"
        ) from error
    return array if isinstance(array, pyarrow.ChunkedArray) else pyarrow.chunked_array([array])


def _is_text(kind: Any) -> bool:
    import pyarrow.types as types

    if types.is_dictionary(kind):
        kind = kind.value_type
    return types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind) or types.is_null(kind)


def _is_list(kind: Any) -> bool:
    import pyarrow.types as types

    return types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)


def _packed(array: Any) -> tuple[np.ndarray, np.ndarray]:
    """Return the bytes of an Arrow array of strings, and the int64 offsets of its rows; a null is empty."""
    import pyarrow
    import pyarrow.compute

    if pyarrow.types.is_dictionary(array.type):
        array = array.dictionary.cast(pyarrow.large_string()).take(array.indices)
    array = array.cast(pyarrow.large_string())
    if array.null_count:
        array = pyarrow.compute.fill_null(array, "")
    _, offsets, data = array.buffers()
    if len(array) == 0 or offsets is None:
        return np.empty(0, np.uint8), np.zeros(1, np.int64)
    rows = np.frombuffer(offsets, np.int64)[array.offset : array.offset + len(array) + 1]
    return np.frombuffer(data, np.uint8) if data is not None and data.size else np.empty(0, np.uint8), rows


class TextColumnFeed(TextScan):
    """The rows of a column of text, each a sentence of words between white space; a line end in it ends one, too."""

    def __init__(self, chunks: Any, lowercase: bool, errors: str, block_bytes: int) -> None:
        super().__init__(lowercase, errors, block_bytes)
        self._chunks = chunks
        self._rows = 0

    @property
    def fraction(self) -> float:
        """The part of the rows read so far."""
        return self._rows / max(1, len(self._chunks))

    def blocks(self) -> Iterator[Block]:
        """Put rows one after the other.

        Raises
        ------
        ValueError
            If there is no row, or one is too long.
        """
        _check_rows(self._chunks)
        base = 0
        for chunk in self._chunks.chunks:
            data, offsets = _packed(chunk)
            start = 0
            while start < len(offsets) - 1:
                stop = _stop(offsets, start, self._block_bytes)
                size = int(offsets[stop] - offsets[start]) + stop - start
                _check_size("a row", size)
                buffer = np.empty(size + PADDING, np.uint8)
                join_lines(data, offsets[start : stop + 1], buffer[:size])
                yield Block(buffer, size, base, [Piece(0, f"the column, from row {self._rows} on", 0)])
                base += size
                self._rows += stop - start
                start = stop

    def describe_empty(self) -> str:
        """Say that the source holds no words."""
        return "source holds no words: all rows of the column are empty"


class TokenColumnFeed(TokenScan):
    """The rows of a column of lists of tokens; a null is an empty list, and an empty token is none."""

    def __init__(self, chunks: Any, lowercase: bool, block_bytes: int) -> None:
        super().__init__(lowercase)
        self._chunks = chunks
        self._block_bytes = block_bytes
        self._rows = 0

    @property
    def fraction(self) -> float:
        """The part of the rows read so far."""
        return self._rows / max(1, len(self._chunks))

    def blocks(self) -> Iterator[TokenBlock]:
        """Cut the column's arrays into blocks.

        Raises
        ------
        ValueError
            If there is no row, or a token is too long.
        """
        _check_rows(self._chunks)
        base = 0
        for chunk in self._chunks.chunks:
            data, edges, ends = _tokens(chunk)
            start = row = 0
            while row < len(ends):
                stop = _stop(edges, start, self._block_bytes) if start < len(edges) - 1 else start
                last = int(np.searchsorted(ends, stop, side="right"))
                size = int(edges[stop] - edges[start])
                _check_size("a token", size)
                text = np.zeros(size + PADDING, np.uint8)
                text[:size] = data[edges[start] : edges[stop]]
                own_edges = (edges[start : stop + 1] - edges[start]).astype(np.uint32)
                lines = (ends[row:last] - start).astype(np.int32)
                lines = lines[np.diff(lines, prepend=-1) > 0]  # line ends without a word between them are one
                yield TokenBlock(text, own_edges, lines, base, last - row)
                base += size
                self._rows += last - row
                start, row = stop, last


def _check_rows(chunks: Any) -> None:
    if len(chunks) == 0:
        raise ValueError("source holds no sentences: the column is empty")


def _check_size(what: str, size: int) -> None:
    if size > MAX_ROW_BYTES:
        raise ValueError(f"{what} of a column must have less than {MAX_ROW_BYTES:,} bytes, got {size:,}")


def _stop(offsets: np.ndarray, start: int, size: int) -> int:
    """Return where a block of strings from `start` on ends: after `size` bytes, or an eighth as many strings."""
    ends = offsets[start + 1 : start + 1 + max(1, size // 8)]
    return start + max(1, int(np.searchsorted(ends, offsets[start] + size, side="right")))


def _tokens(array: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the bytes of the tokens of an array of lists, the tokens' edges in them, and the tokens up to each end."""
    import pyarrow
    import pyarrow.compute

    lengths = pyarrow.compute.fill_null(pyarrow.compute.list_value_length(array), 0)
    text, offsets = _packed(pyarrow.compute.list_flatten(array))
    ends = np.cumsum(lengths.to_numpy(zero_copy_only=False), dtype=np.int64)
    there = offsets[1:] > offsets[:-1]
    if there.all():
        return text, offsets, ends
    # An empty token has no edge of its own.
    return text, offsets[np.concatenate([[True], there])], np.concatenate([[0], np.cumsum(there)])[ends]
