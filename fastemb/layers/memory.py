"""Where a table lies: in this process, in a file that is mapped, or in memory that processes share."""

import os
import weakref
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.shared_memory import SharedMemory
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastemb.engine.arrays import as_table
from fastemb.engine.device import DeviceArray, upload
from fastemb.engine.foreign import host_of, is_foreign, wrap
from fastemb.engine.memory import empty
from fastemb.formats.files import replacing
from fastemb.layers.rows import kept_dtype, stored

__all__ = ["DeviceMemory", "MappedMemory", "Memory", "SharedTable", "allocate", "given_table", "moved"]

Fill = Callable[[NDArray], None]


class Memory:
    """A table in this process.

    Parameters
    ----------
    array : array (num_embeddings, embedding_dim)
    """

    array: NDArray

    def __init__(self, array: NDArray) -> None:
        self.array = array

    def resized(self, num_embeddings: int, fill: Fill) -> "Memory":
        """Return a memory of the same kind with another number of rows; `fill` writes what there was and what is new.

        The memory itself stays as it is.
        """
        return allocate(None, (num_embeddings, self.array.shape[1]), self.array.dtype, fill)

    def __reduce__(self) -> Any:
        return _restored, (np.ascontiguousarray(self.array),)

    def __deepcopy__(self, memo: Any) -> "Memory":
        """Return a table of this process, whatever this one is: a file or shared memory would be the same one."""
        return _restored(self.array)


def _restored(array: NDArray) -> Memory:
    return allocate(None, array.shape, array.dtype, lambda table: np.copyto(table, array))


class DeviceMemory(Memory):
    """A table in a GPU's memory; pickled as its numbers.

    Parameters
    ----------
    array : DeviceArray (num_embeddings, embedding_dim)
    """

    def resized(self, num_embeddings: int, fill: Fill) -> "DeviceMemory":
        """Return a table of another number of rows, which is filled in the host's memory."""
        made = allocate(None, (num_embeddings, self.array.shape[1]), self.array.dtype, fill)
        return DeviceMemory(upload(made.array))  # type: ignore[arg-type]

    def __reduce__(self) -> Any:
        return _on_gpu, (np.asarray(self.array),)

    def __deepcopy__(self, memo: Any) -> "DeviceMemory":
        return DeviceMemory(self.array.copy())


def _on_gpu(array: NDArray) -> DeviceMemory:
    return DeviceMemory(upload(array))  # type: ignore[arg-type]


def moved(memory: Memory, device: str) -> Memory:
    """Return a table in the memory of a device: a copy, unless it is there.

    Raises
    ------
    ValueError
        If the table is in a file or shared with other processes, and the device is a GPU.
    """
    is_there = isinstance(memory.array, DeviceArray)
    if (device == "cuda") == is_there:
        return memory
    if is_there:
        return _restored(np.asarray(memory.array))
    if type(memory) is not Memory:
        raise ValueError("a table in a file or in shared memory cannot be on device 'cuda': leave storage out")
    return _on_gpu(np.ascontiguousarray(memory.array))


class MappedMemory(Memory):
    """A table in an .npy file that is mapped; pickled as the file's path, so that processes map one file.

    Parameters
    ----------
    path : path-like
        An .npy file with an array of two axes in C order.
    mode : {"r", "r+"}
        Whether the table may be written.
    """

    def __init__(self, path: "os.PathLike[str] | str", mode: str) -> None:
        self.path = Path(path).absolute()
        self.mode = mode
        try:
            array = np.load(self.path, mmap_mode=mode, allow_pickle=False)  # type: ignore[arg-type]
        except (EOFError, ValueError) as error:
            raise ValueError(f"{self.path} must be an .npy file of numbers that is whole") from error
        if array.ndim != 2 or not array.flags.c_contiguous:
            raise ValueError(f"{self.path} must hold an array of two axes in C order, got shape {array.shape}")
        super().__init__(array)

    def resized(self, num_embeddings: int, fill: Fill) -> "MappedMemory":
        """Return the same file with another number of rows; arrays that showed the old one keep what they showed."""
        if self.mode == "r":
            raise ValueError(f"{self.path} is mapped for reading and cannot be resized")
        _write_mapped(self.path, (num_embeddings, self.array.shape[1]), self.array.dtype, fill)
        return MappedMemory(self.path, self.mode)

    def __reduce__(self) -> Any:
        return MappedMemory, (self.path, self.mode)


def _write_mapped(path: Path, shape: tuple[int, int], dtype: np.dtype, fill: Fill) -> None:
    with replacing(path) as file:
        header = {"descr": dtype.str, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        array = np.memmap(file, dtype, "r+", file.tell(), shape)
        fill(array)
        array.flush()


class _Segment(SharedMemory):
    """Shared memory that arrays may outlive: the mapping ends with the last of them."""

    def close(self) -> None:
        with suppress(BufferError):
            super().close()


class SharedTable(Memory):
    """A table in shared memory; pickled as the memory's name, so that the processes of one family share it.

    The process that made it takes the name away when the table is collected or the process ends; what other processes
    have mapped stays with them until they are done.

    Parameters
    ----------
    shape : (int, int)
    dtype : numpy.dtype
    name : str, optional
        An existing memory; default a new one.
    """

    def __init__(self, shape: tuple[int, int], dtype: np.dtype, name: str | None = None) -> None:
        size = max(1, shape[0] * shape[1] * dtype.itemsize)
        self._segment = _Segment(name, create=name is None, size=size)
        # Unlike `np.ndarray`, `np.frombuffer` keeps the mapping alive as long as there is a view of the array.
        assert self._segment.buf is not None
        super().__init__(np.frombuffer(self._segment.buf, dtype, shape[0] * shape[1]).reshape(shape))
        if name is None:
            weakref.finalize(self, _unlink, self._segment, os.getpid())

    @property
    def name(self) -> str:
        """The memory's name."""
        return self._segment.name

    def resized(self, num_embeddings: int, fill: Fill) -> "SharedTable":
        """Return new shared memory with another number of rows; other processes keep the old one."""
        grown = SharedTable((num_embeddings, self.array.shape[1]), self.array.dtype)
        fill(grown.array)
        return grown

    def __reduce__(self) -> Any:
        return SharedTable, (self.array.shape, self.array.dtype, self.name)


def _unlink(segment: SharedMemory, owner: int) -> None:
    if os.getpid() == owner:  # a forked child that ends has not made it
        segment.unlink()


def allocate(storage: Any, shape: tuple[int, ...], dtype: np.dtype, fill: Fill) -> Memory:
    """Return memory for a table, filled unless it is a file that was there.

    Parameters
    ----------
    storage : None, "shared" or path-like
        This process, shared memory, or an .npy file: one that exists is mapped for writing and keeps its numbers.
    shape : (int, int)
    dtype : numpy.dtype
    fill : callable
        Writes the starting numbers of a new table.

    Raises
    ------
    TypeError
        If `storage` is something else.
    ValueError
        If the path does not end with .npy, or the file holds a table of another shape or dtype.

    Examples
    --------
    >>> allocate(None, (2, 2), np.dtype(np.float32), lambda table: table.fill(1)).array
    array([[1., 1.],
           [1., 1.]], dtype=float32)
    """
    rows, columns = shape
    if storage is None or storage == "shared":
        memory = Memory(empty((rows, columns), dtype)) if storage is None else SharedTable((rows, columns), dtype)
        fill(memory.array)
        return memory
    if not isinstance(storage, str | os.PathLike):
        raise TypeError(f"storage must be 'shared' or the path of an .npy file, got {storage!r}")
    path = Path(storage)
    if path.suffix != ".npy":  # or a misspelt "shared" would become a file
        raise ValueError(f"storage must be 'shared' or the path of an .npy file, got {str(storage)!r}")
    if not path.exists():
        _write_mapped(path, (rows, columns), dtype, fill)
    memory = MappedMemory(path, "r+")
    if memory.array.shape != shape or memory.array.dtype != dtype:
        raise ValueError(
            f"{path} must hold a table of shape {shape} and dtype {dtype}, "
            f"got {memory.array.shape} and {memory.array.dtype}"
        )
    return memory


def given_table(given: Any, shape: tuple[int, int], dtype: Any, frozen: bool) -> tuple[Memory, np.dtype]:
    """Return a user's table, not copied, and the dtype that it is shown in.

    Parameters
    ----------
    given : array (num_embeddings, embedding_dim), or Memory
    shape : (int, int)
        What the user said of it.
    dtype : dtype, optional
        To which an array is converted, and so copied, if it is of another one.
    frozen : bool
        Whether it will never be changed.

    Raises
    ------
    TypeError
        If it is of no dtype that tables have.
    ValueError
        If it is of another shape, or could be changed only in a copy.
    """
    if is_foreign(given):
        return _given_on_gpu(wrap(given, "W"), shape, dtype)
    if isinstance(given, Memory):
        kept, shown = kept_dtype(given.array.dtype if dtype is None else dtype)
        if kept != given.array.dtype:
            raise TypeError(f"a table that is mapped keeps its dtype, {given.array.dtype}, got dtype={dtype!r}")
        return given, shown
    array = host_of(given, "W")
    if dtype is not None and kept_dtype(dtype)[1] != array.dtype:
        kept, shown = kept_dtype(dtype)
        array = stored(array, kept).view(shown)
    table = as_table(array, "W", change=array.flags.writeable and not frozen)
    if table.shape != shape:
        raise ValueError(f"W must be of shape (num_embeddings, embedding_dim) = {shape}, got {table.shape}")
    return Memory(table), array.dtype


def _given_on_gpu(table: DeviceArray, shape: tuple[int, int], dtype: Any) -> tuple[Memory, np.dtype]:
    """Return a user's table in a GPU's memory, not copied unless its dtype is another one."""
    kept, shown = kept_dtype(table.dtype if dtype is None else dtype)
    if table.shape != shape:
        raise ValueError(f"W must be of shape (num_embeddings, embedding_dim) = {shape}, got {table.shape}")
    if shown != table.dtype:
        return _on_gpu(stored(table.to_host(), kept)), shown
    if shape[1] > 1 and table.strides[1] != table.itemsize:
        raise ValueError("W is changed in place, so the numbers of a row must lie side by side")
    return DeviceMemory(table if kept == shown else table.view(kept)), shown  # type: ignore[arg-type]
