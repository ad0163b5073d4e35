"""Vectors in a quarter, an eighth or half of the memory, which read as float32."""

from typing import Any, Self

import numpy as np

from fastemb.engine.arrays import BFLOAT16, FLOAT16, FLOAT32
from fastemb.engine.backend import kernels, require_half
from fastemb.engine.quantized import HALF_BYTES, quantize, row_bytes, shorten
from fastemb.engine.validate import choice, integer

KINDS = ("int8", "int4", "float16", "bfloat16")
_BITS = {"int8": 8, "int4": 4}
UINT8 = np.dtype(np.uint8)
_BLOCK = 1 << 20  # bytes of float32 that are quantized at a time


class CompactVectors:
    """A read-only table of codes or short floats that is indexed like an array of float32.

    Parameters
    ----------
    stored : array of shape (num_words, any)
        For "int8" and "int4" uint8: rows in the layouts of `fastemb.kernels.reference.quantized`, a scale and a bias
        behind the codes. For "float16" float16, for "bfloat16" the bits as uint16.
    kind : {"int8", "int4", "float16", "bfloat16"}
    vector_size : int
        Numbers in a row.

    Raises
    ------
    ValueError
        If `stored` has another type or shape.

    Examples
    --------
    >>> table = CompactVectors.of(np.array([[0, 255], [1, 1.5]], np.float32), "int8")
    >>> table[1], table.shape, table.stored.nbytes
    (array([1. , 1.5], dtype=float32), (2, 2), 20)
    >>> table[:1] @ np.ones(2, np.float32)
    array([255.], dtype=float32)
    """

    ndim = 2
    dtype = FLOAT32

    def __init__(self, stored: np.ndarray, kind: str, vector_size: int) -> None:
        choice("kind", kind, KINDS)
        integer("vector_size", vector_size, 0)
        wanted = UINT8 if kind in _BITS else FLOAT16 if kind == "float16" else BFLOAT16
        width = row_bytes(vector_size, _BITS[kind]) if kind in _BITS else vector_size
        if stored.dtype != wanted or stored.ndim != 2 or stored.shape[1] != width:
            raise ValueError(
                f"{kind} vectors of size {vector_size} must be stored as {wanted} of shape (num_words, {width}), got "
                f"{stored.dtype} of shape {stored.shape}"
            )
        self.stored, self.kind = np.ascontiguousarray(stored).view(), kind
        self.stored.flags.writeable = False
        self.shape = len(stored), vector_size

    @classmethod
    def of(cls, vectors: Any, kind: str) -> Self:
        """Return the rows of a table of float32 in another kind, block by block.

        Raises
        ------
        ValueError
            If a number is not finite, or beyond what the kind can hold.
        """
        choice("kind", kind, KINDS)
        num_words, size = vectors.shape
        width = row_bytes(size, _BITS[kind]) if kind in _BITS else size
        stored = np.empty((num_words, width), UINT8 if kind in _BITS else BFLOAT16 if kind == "bfloat16" else FLOAT16)
        step = max(1, _BLOCK // max(1, 4 * size))
        for start in range(0, num_words, step):
            block = np.ascontiguousarray(vectors[start : start + step], FLOAT32)
            finite = np.isfinite(block).all(axis=1)
            if not finite.all():
                raise ValueError(f"vectors must be finite to be quantized, row {start + int(finite.argmin())} is not")
            if kind in _BITS:
                stored[start : start + step] = quantize(block, _BITS[kind]).array
            else:
                shorten(block, stored[start : start + step])
        return cls(stored, kind, size)

    @property
    def nbytes(self) -> int:
        """Bytes that the table takes."""
        return self.stored.nbytes

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Return a row, a slice of rows or rows of given numbers, as a new array of float32."""
        if isinstance(rows, int | np.integer):
            return self._decoded(self.stored[int(rows)][None])[0]
        return self._decoded(self.stored[rows])

    def take(self, rows: np.ndarray | slice) -> Self:
        """Return rows as a table of the same kind."""
        return type(self)(self.stored[rows], self.kind, self.shape[1])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("a table of codes cannot be an array of floats without a copy")
        table = np.empty(self.shape, FLOAT32)
        step = max(1, _BLOCK // max(1, 4 * self.shape[1]))
        for start in range(0, len(self), step):
            table[start : start + step] = self[start : start + step]
        return table if dtype is None else table.astype(dtype, copy=False)

    def _decoded(self, stored: np.ndarray) -> np.ndarray:
        if self.kind in ("int4", "float16"):
            require_half()
        values = np.empty((len(stored), self.shape[1]), FLOAT32)
        packed = np.ascontiguousarray(stored).view()
        packed.flags.writeable = False  # always, so that a kernel is compiled once
        if self.kind in _BITS:
            kernels("cpu", "quantized").dequantize(values, packed, HALF_BYTES[_BITS[self.kind]], 0, len(values))
        else:
            bits = packed.view(np.int16 if self.kind == "float16" else BFLOAT16).ravel()
            kernels("cpu", "quantized").floats(values.ravel(), bits, 0, values.size)
        return values
