"""Arrays in a GPU's memory.

Work on them is queued in the thread's current stream (`streams`), and nothing waits for it but a copy to the host.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastemb.engine.blocks import Block, block_of
from fastemb.engine.dlpack import CPU, CUDA, Given
from fastemb.engine.streams import (
    cuda,
    current_stream,
    device_number,
    is_simulated,
    let_wait,
    number_of,
    synchronize,
)  # fmt: skip
from fastemb.engine.views import address_of, view_of

__all__ = ["DeviceArray", "empty", "nothing", "on_host", "there", "upload", "using_memory", "zeros"]


class _Flags(NamedTuple):
    """What is asked of an array's flags."""

    writeable: bool


class DeviceArray:
    """An array in a GPU's memory, which other packages can use as it is.

    It has ``__dlpack__`` and ``__cuda_array_interface__``, so that CuPy, torch, JAX and Numba share its memory, and
    ``__array__``, so that NumPy copies it. Indexing returns a copy in the host's memory.

    Parameters
    ----------
    made : numba.cuda device array
        Which the array shares, and keeps alive.
    dtype : dtype, optional
        What its numbers are, where Numba does not know it: bfloat16, whose bits are uint16.
    writeable : bool, default True
    block : Block, optional
        Whose memory it is, if it is used again.

    Examples
    --------
    >>> from fastemb import Embedding
    >>> try:
    ...     rows = Embedding(3, 2, device="cuda").weight[1:]
    ... except (ImportError, RuntimeError) as error:  # tells what is missing
    ...     rows = np.zeros((2, 2))
    >>> rows.shape
    (2, 2)
    """

    __slots__ = ("__weakref__", "block", "dtype", "made", "writeable")

    def __init__(
        self, made: Any, dtype: DTypeLike | None = None, writeable: bool = True, block: Block | None = None
    ) -> None:
        self.made = made
        self.block = block
        self.dtype = np.dtype(made.dtype if dtype is None else dtype)
        self.writeable = writeable

    @property
    def flags(self) -> _Flags:
        """As of an array of NumPy: whether it may be written to."""
        return _Flags(self.writeable)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape."""
        return tuple(self.made.shape)

    @property
    def strides(self) -> tuple[int, ...]:
        """Bytes from one entry to the next, by axis."""
        return tuple(self.made.strides)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.made.shape)

    @property
    def itemsize(self) -> int:
        """Bytes of an entry."""
        return self.dtype.itemsize

    @property
    def size(self) -> int:
        """The number of entries."""
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of all entries."""
        return self.size * self.itemsize

    @property
    def pointer(self) -> int:
        """The address of the first entry."""
        return address_of(self.made)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        self.lend()
        return {
            "shape": self.shape,
            "strides": self.strides,
            "typestr": self.dtype.str,
            "data": (self.pointer, not self.writeable),
            "version": 3,
            "stream": number_of(current_stream()),
        }

    def __dlpack_device__(self) -> tuple[int, int]:
        """Return the device, as DLPack tells it; the simulator's memory is the host's."""
        return (CPU, 0) if is_simulated() else (CUDA, device_number())

    def __dlpack__(self, *, stream: int | None = None, **options: Any) -> Any:
        """Return a capsule of DLPack, once the taker's stream waits for what is queued in ours."""
        if stream != number_of(current_stream()):
            self.lend()
        return Given(self, self.pointer, self.__dlpack_device__(), let_wait).__dlpack__(stream=stream, **options)

    def lend(self) -> None:
        """Let the memory be read in other streams, so that it is not used again."""
        if self.block is not None:
            self.block.is_lent = True

    def made_for(self, stream: int) -> Any:
        """Return Numba's array for work in a stream of this number: if it has another one's memory, that is lent."""
        if self.block is not None and self.block.stream != stream:
            self.block.is_lent = True
        return self.made

    def is_contiguous(self) -> bool:
        """Return whether entries lie one after the other in C order."""
        return bool(self.made.is_c_contiguous()) if self.size else True

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray:
        if copy is False:
            raise ValueError("an array in a GPU's memory cannot be one of NumPy's without a copy")
        found = self.to_host()
        return found if dtype is None else found.astype(dtype, copy=False)

    def __getitem__(self, key: Any) -> NDArray:
        if isinstance(key, int | np.integer):
            row = int(key) + (len(self) if key < 0 else 0)
            if not 0 <= row < len(self):
                raise IndexError(f"index {key} is out of bounds for axis 0 with size {len(self)}")
            return DeviceArray(self.made[row : row + 1], self.dtype).to_host()[0]
        if isinstance(key, slice) and key.step in (None, 1):
            return DeviceArray(self.made[key], self.dtype).to_host()
        return self.to_host()[key]

    def __repr__(self) -> str:
        return f"DeviceArray({self.to_host()!r})"

    def view(self, dtype: DTypeLike) -> "DeviceArray":
        """Return the same memory as another dtype of the same size."""
        wanted = np.dtype(dtype)
        if wanted.itemsize != self.itemsize:
            raise ValueError(f"a view must keep the size of {self.dtype}, got {wanted}")
        made = self.made.view(wanted) if wanted.kind in "iuf" and wanted != self.made.dtype else self.made
        return DeviceArray(made, wanted, self.writeable, self.block)

    def rows(self, rows: slice) -> "DeviceArray":
        """Return neighbouring rows in the same memory."""
        return DeviceArray(self.made[rows], self.dtype, self.writeable, self.block)

    def columns(self, columns: slice) -> "DeviceArray":
        """Return neighbouring columns of an array of two dimensions in the same memory."""
        return DeviceArray(self.made[:, columns], self.dtype, self.writeable, self.block)

    def reshape(self, *shape: int) -> "DeviceArray":
        """Return the same memory in another shape; entries must lie one after the other."""
        known = -prod(shape) if -1 in shape else 0
        wanted = tuple(self.size // known if n == -1 and known else max(n, 0) for n in shape)
        if prod(wanted) != self.size:
            raise ValueError(f"cannot reshape an array of shape {self.shape} into {shape}")
        return DeviceArray(self.made.reshape(*wanted), self.dtype, self.writeable, self.block)

    def to_host(self) -> NDArray:
        """Return a copy as an array of NumPy, once all work in the current stream is done."""
        if not self.size:
            return np.empty(self.shape, self.dtype)
        made = self.made if self.is_contiguous() or self.ndim == 0 else _packed(self.made)
        found = np.empty(self.shape, made.dtype)
        made.copy_to_host(found, stream=current_stream())
        synchronize()
        return found if found.dtype == self.dtype else found.view(self.dtype)

    def fill_from(self, values: NDArray) -> None:
        """Copy an array of NumPy, of the same shape and dtype, into this one."""
        if self.size:
            given = np.ascontiguousarray(values)
            if given.shape != self.shape or given.dtype != self.dtype:
                raise ValueError(f"{self.dtype} of shape {self.shape} is needed, got {given.dtype} of {given.shape}")
            self.made.copy_to_device(given.view(self.made.dtype), stream=current_stream())

    def copy(self) -> "DeviceArray":
        """Return a copy in the GPU's memory."""
        if not self.is_contiguous():
            return upload(self.to_host())
        new = empty(self.shape, self.dtype)
        if self.size:
            new.made.copy_to_device(self.made, stream=current_stream())
        return new

    def __deepcopy__(self, memo: Any) -> "DeviceArray":
        return self.copy()

    def __reduce__(self) -> Any:
        return upload, (self.to_host(),)


def _packed(made: Any) -> Any:
    """Return a copy whose entries lie one after the other, as a copy to the host needs them."""
    packed = cuda().device_array(made.shape, made.dtype, stream=current_stream())
    if is_simulated():
        packed._ary[...] = made._ary
    else:
        packed[...] = made
    return packed


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> DeviceArray:
    """Return an array in the GPU's memory, its entries not set."""
    known = np.dtype(dtype)
    kept = np.dtype(np.uint16) if known.kind not in "iufb" else known
    if _memory.allocate is not None:
        return DeviceArray(_memory.allocate(shape, kept).made, known)
    size = prod(shape) * kept.itemsize
    if not size:
        return DeviceArray(cuda().device_array(shape, kept), known)
    block = block_of(size)
    data = address_of(block.made), False
    told = {"shape": shape, "strides": None, "typestr": kept.str, "data": data, "version": 3}
    return DeviceArray(view_of(told, block), known, block=block)


class _Memory(threading.local):
    """Where each thread has the memory of new arrays from."""

    def __init__(self) -> None:
        self.allocate: Callable[[tuple[int, ...], np.dtype], DeviceArray] | None = None


_memory = _Memory()


@contextmanager
def using_memory(allocate: Callable[[tuple[int, ...], np.dtype], DeviceArray]) -> Iterator[None]:
    """Take the memory of new arrays of this thread from another package, inside a ``with`` block."""
    before = _memory.allocate
    _memory.allocate = allocate
    try:
        yield
    finally:
        _memory.allocate = before


def zeros(shape: tuple[int, ...], dtype: DTypeLike) -> DeviceArray:
    """Return an array of zeros in the GPU's memory."""
    new = empty(shape, dtype)
    if not new.size:
        return new
    if is_simulated():
        new.made._ary[...] = 0
    else:
        from numba.cuda.cudadrv.driver import device_memset

        device_memset(new.made, 0, new.nbytes, stream=current_stream())
    return new


@cache
def nothing(shape: tuple[int, ...], dtype: np.dtype) -> DeviceArray:
    """Return an array without entries, which has no memory and so may be one for all."""
    return empty(shape, dtype)


def upload(values: NDArray) -> DeviceArray:
    """Return a copy of an array of NumPy in the GPU's memory."""
    new = empty(values.shape, values.dtype)
    new.fill_from(values)
    return new


def there(values: Any) -> DeviceArray:
    """Return an array of a GPU as it is, and one of NumPy as a copy in the GPU's memory."""
    return values if isinstance(values, DeviceArray) else upload(values)


def on_host(values: Any) -> Any:
    """Return arrays of a GPU as copies in the host's memory, and everything else as it is."""
    return values.to_host() if isinstance(values, DeviceArray) else values
