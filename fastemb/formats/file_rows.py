"""A table of float32 that stays in its file."""

import os
import weakref
from pathlib import Path
from typing import Any

import numpy as np

from fastemb.formats._rows import read_rows

__all__ = ["FileRows"]


class FileRows:
    """Rows of float32 in a file, read when they are asked for, and kept nowhere.

    A memory map would read, and count as memory, many pages around every row.

    Parameters
    ----------
    path : str or PathLike
        The file, which is kept open.
    place : int
        Where the first row begins; it need not be aligned.
    shape : (int, int)
        Rows and columns.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = Path(folder, "a").write_bytes(b"x" + np.arange(6, dtype="<f4").tobytes())
    ...     rows = FileRows(Path(folder, "a"), 1, (3, 2))
    >>> rows[np.array([2, 0])]
    array([[4., 5.],
           [0., 1.]], dtype=float32)
    """

    ndim = 2
    dtype = np.dtype(np.float32)

    def __init__(self, path: str | os.PathLike[str], place: int, shape: tuple[int, int]) -> None:
        self.path, self.place, self.shape = Path(path), place, shape
        self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        weakref.finalize(self, os.close, self._descriptor)

    def __len__(self) -> int:
        return self.shape[0]

    @property
    def nbytes(self) -> int:
        """Bytes of the table in the file."""
        return 4 * self.shape[0] * self.shape[1]

    def __getitem__(self, rows: Any) -> np.ndarray:
        """Return rows of given numbers, or of a slice, as a new array."""
        if isinstance(rows, slice):
            rows = np.arange(*rows.indices(len(self)))
        numbers = np.ascontiguousarray(rows, np.int64)
        if numbers.ndim != 1:
            raise TypeError(f"rows must be a slice or an array of one dimension, got {rows!r:.80}")
        out = np.empty((len(numbers), self.shape[1]), np.float32)
        read_rows(self._descriptor, self.place, numbers, len(self), out.view(np.uint8))
        return out

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("a table in a file cannot be an array without a copy")
        return self[:] if dtype is None else self[:].astype(dtype, copy=False)

    def will_need(self) -> None:
        """Have the system read the table ahead, where it can, because most of its rows will be asked for."""
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._descriptor, self.place, self.nbytes, os.POSIX_FADV_WILLNEED)

    def mapped(self) -> np.ndarray:
        """Return the table as a read-only memory map, which need not be aligned."""
        return np.memmap(self.path, np.uint8, "r", self.place, (self.nbytes,)).view("<f4").reshape(self.shape)

    # An open file cannot be copied to another process.
    def __reduce__(self) -> tuple[Any, ...]:
        return FileRows, (self.path, self.place, self.shape)
