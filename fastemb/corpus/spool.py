"""Integer arrays kept in order: in memory or, beyond a budget, in a temporary file that leaves no debris."""

import os
import re
import tempfile
from collections import deque
from contextlib import AbstractContextManager, closing, nullcontext
from typing import Any

import numpy as np

_SIZE = re.compile(r"\s*(\d+(?:\.\d*)?)\s*(?:([kmgt])(?:i?b)?|b)?\s*", re.IGNORECASE)
_ZEROS = 1 << 22


def parse_size(size: int | str, name: str = "size") -> int:
    """Return a number of bytes, given as a number or as text such as ``"512M"`` or ``"1.5 GB"``.

    K, M, G and T are powers of 1024. Messages call the size `name`.

    Raises
    ------
    TypeError
        If `size` is neither an integer nor a str.
    ValueError
        If it is not a size, or is negative.

    Examples
    --------
    >>> parse_size("1G"), parse_size("1.5kB"), parse_size(100)
    (1073741824, 1536, 100)
    """
    if isinstance(size, bool) or not isinstance(size, (int, np.integer, str)):
        raise TypeError(f"{name} must be a number of bytes or a str such as '1G', got {size!r}")
    if not isinstance(size, str):
        if size < 0:
            raise ValueError(f"{name} must be >= 0, got {size}")
        return int(size)
    match = _SIZE.fullmatch(size)
    if match is None:
        raise ValueError(f"{name} must be a number of bytes, with K, M, G or T if need be, such as '1G', got {size!r}")
    return int(float(match[1]) * 1024 ** (" kmgt".index((match[2] or " ").lower())))


def require_memory(size: int, what: str, advice: str = 'max_memory="{}" keeps them on disk') -> None:
    """Check that this machine has `size` bytes of memory: a system that promises more ends the process later.

    Raises
    ------
    MemoryError
        If it has not; the message says what needs them, and gives `advice`, a quarter of the memory filled in.

    Examples
    --------
    >>> require_memory(1 << 60, "the pairs")
    Traceback (most recent call last):
        ...
    MemoryError: the pairs need 1,152,921,504.6 GB and this machine has ... GB: max_memory="..." keeps them on disk
    """
    if not hasattr(os, "sysconf"):
        return
    there = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > there:
        raise MemoryError(
            f"{what} need {size / 1e9:,.1f} GB and this machine has {there / 1e9:,.1f} GB: "
            f"{advice.format(f'{there >> 32}G')}"
        )


class TemporaryArray:
    """A file of numbers without a name, so that it is gone with the process whatever happens.

    It is read and written by one thread.
    """

    def __init__(self) -> None:
        self._folder = tempfile.gettempdir()
        self._file: Any = tempfile.TemporaryFile(buffering=0, prefix="fastemb-")  # noqa: SIM115

    def write(self, offset: int, values: np.ndarray) -> None:
        """Write an array at a place in bytes.

        Raises
        ------
        OSError
            If the disk is full.
        """
        view = np.ascontiguousarray(values).data.cast("B") if values.size else memoryview(b"")
        try:
            self._file.seek(offset)
            while view:
                view = view[self._file.write(view) :]
        except OSError as error:
            raise self._full(error) from error

    def _full(self, error: OSError) -> OSError:
        message = f"cannot write word numbers to a temporary file in {self._folder} ({error.strerror})"
        return OSError(error.errno, f"{message}; set TMPDIR to a folder with room or raise max_memory")

    def _reserve(self, size: int) -> None:
        """Take the disk's space now: a full disk would end the process when a map is written to."""
        if not hasattr(os, "posix_fallocate"):
            zeros = np.zeros(min(size, _ZEROS), np.uint8)
            for offset in range(0, size, _ZEROS):
                self.write(offset, zeros[: size - offset])
            return
        try:
            os.posix_fallocate(self._file.fileno(), 0, size)
        except OSError as error:
            raise self._full(error) from error

    def read(self, offset: int, values: np.ndarray) -> None:
        """Fill an array from a place in bytes."""
        view = values.data.cast("B") if values.size else memoryview(b"")
        self._file.seek(offset)
        while view:
            count = self._file.readinto(view)
            if not count:
                raise OSError(f"a temporary file in {self._folder} is shorter than it was written")
            view = view[count:]

    def finish(self, size: int, dtype: type[np.generic], *, writable: bool = False) -> np.ndarray:
        """Return the first `size` numbers as a memory map; the file lives as long as the map does.

        What is written to the map goes to the file if it is `writable`, and stays in memory otherwise.
        """
        if not size:  # which cannot be mapped
            self.close()
            return np.empty(0, dtype)
        with self._file:
            self._file.truncate(size * np.dtype(dtype).itemsize)
            if writable:
                self._reserve(size * np.dtype(dtype).itemsize)
            # Copy-on-write rather than read-only: Numba takes it for an array in memory, and kernels compile only once.
            return np.memmap(self._file, dtype, "r+" if writable else "c", shape=(size,))

    def close(self) -> None:
        """Remove the file, unless it has become a memory map."""
        self._file.close()


def temporary(wanted: bool) -> AbstractContextManager[TemporaryArray | None]:
    """Return a temporary file, closed at the end of a ``with``, or none if none is wanted."""
    return closing(TemporaryArray()) if wanted else nullcontext()


class Spool:
    """A queue of int32 arrays that moves to a temporary file when it holds more than `max_memory` bytes."""

    def __init__(self, max_memory: int | None) -> None:
        self.file: TemporaryArray | None = None
        self._max_memory = max_memory
        self._arrays: deque[np.ndarray] = deque()
        self._sizes: deque[int] = deque()
        self._held = 0
        self._written = 0
        self._read = 0

    def append(self, array: np.ndarray) -> None:
        """Add an array at the end."""
        self._arrays.append(array)
        self._sizes.append(array.size)
        self._held += array.nbytes
        if self._max_memory is not None and self._held > self._max_memory and self.file is None:
            self.file = TemporaryArray()
        while self.file is not None and self._arrays:
            oldest = self._arrays.popleft()
            self.file.write(self._written, oldest)
            self._written += oldest.nbytes

    def pop(self) -> np.ndarray:
        """Remove the first array and return it."""
        size = self._sizes.popleft()
        if self.file is None:
            return self._arrays.popleft()
        array = np.empty(size, np.int32)
        self.file.read(self._read, array)
        self._read += array.nbytes
        return array

    def close(self) -> None:
        """Drop everything."""
        self._arrays.clear()
        if self.file is not None:
            self.file.close()


class Output:
    """An array that is written front to back: in memory, or in a temporary file.

    Parameters
    ----------
    dtype
        Type of the numbers.
    capacity
        How many may come; memory grows if more do.
    file
        Where to write them; None for memory.
    """

    def __init__(self, dtype: type[np.generic], capacity: int, file: TemporaryArray | None) -> None:
        self._dtype = dtype
        self._file = file
        self._array = np.empty(0 if file else capacity, dtype)
        self.size = 0

    def append(self, values: np.ndarray) -> None:
        """Write numbers after those written before."""
        if self._file is None:
            self._reserve(self.size + values.size)
            self._array[self.size : self.size + values.size] = values
        else:
            self._file.write(self.size * self._array.itemsize, values.astype(self._dtype, copy=False))
        self.size += values.size

    def close(self) -> None:
        """Remove the temporary file if there is one, unless `finish` has returned it."""
        if self._file is not None:
            self._file.close()

    def _reserve(self, size: int) -> None:
        # Nobody else can hold this array yet, so that it may grow, where the system can do that without a copy.
        if size > self._array.size:
            self._array.resize(max(size, 2 * self._array.size), refcheck=False)

    def finish(self) -> np.ndarray:
        """Return what was written."""
        if self._file is not None:
            return self._file.finish(self.size, self._dtype)
        self._array.resize(self.size, refcheck=False)
        return self._array
