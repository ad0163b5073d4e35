"""Arrays in a GPU's memory, and how kernels are launched on them.

Everything of a GPU goes through here: memory, streams, grids, and the flag in which kernels tell of a bad index. Work
is queued in the thread's current stream (`using_stream`), and nothing waits for it but a copy to the host and the look
at the flag, which `deferred_errors` puts off.
"""

import inspect
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastemb.engine.backend import kernels, require_gpu

__all__ = [
    "DeviceArray",
    "current_stream",
    "deferred_errors",
    "empty",
    "has_vector_atomics",
    "in_kind",
    "is_foreign",
    "is_simulated",
    "launch",
    "on_host",
    "run",
    "synchronize",
    "upload",
    "using_stream",
    "width_of",
    "width_of_codes",
    "wrap",
    "zeros",
]

WARP, BLOCK, VECTOR_BYTES = 32, 256, 16
MOST_BLOCKS = 1 << 22  # teams stride over what is left
SIMULATED_BLOCK, SIMULATED_LANES, SIMULATED_BLOCKS = 4, 2, 2  # each thread of the simulator is one of Python's
ALL_WELL = np.iinfo(np.int64).max  # of a flag


class _Local(threading.local):
    """What each thread has of its own: a stream, the flag of its calls, and the errors that it has put off."""

    def __init__(self) -> None:
        self.stream: Any = 0
        self.flag: Any = None
        self.put_off: list[tuple[Any, Callable[[int], Exception]]] | None = None


_local = _Local()


@cache
def _cuda() -> Any:
    require_gpu()
    from numba import cuda

    return cuda


@cache
def is_simulated() -> bool:
    """Return whether Numba's simulator stands for a GPU."""
    from numba import config

    return bool(config.ENABLE_CUDASIM)


class _Flags(NamedTuple):
    """What is asked of an array's flags."""

    writeable: bool


class DeviceArray:
    """An array in a GPU's memory, which other packages can use as it is.

    It has ``__cuda_array_interface__``, so that CuPy, torch, JAX and Numba share its memory, and ``__array__``, so that
    NumPy copies it. Indexing returns a copy in the host's memory.

    Parameters
    ----------
    made : numba.cuda device array
        Which the array shares, and keeps alive.
    dtype : dtype, optional
        What its numbers are, where Numba does not know it: bfloat16, whose bits are uint16.
    writeable : bool, default True

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

    __slots__ = ("__weakref__", "dtype", "made", "writeable")

    def __init__(self, made: Any, dtype: DTypeLike | None = None, writeable: bool = True) -> None:
        self.made = made
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
        if is_simulated():
            return int(self.made._ary.ctypes.data)
        return int(self.made.__cuda_array_interface__["data"][0])

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        return {
            "shape": self.shape,
            "strides": self.strides,
            "typestr": self.dtype.str,
            "data": (self.pointer, not self.writeable),
            "version": 3,
            "stream": _number_of(_local.stream),
        }

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
        return DeviceArray(made, wanted, self.writeable)

    def rows(self, rows: slice) -> "DeviceArray":
        """Return neighbouring rows in the same memory."""
        return DeviceArray(self.made[rows], self.dtype, self.writeable)

    def reshape(self, *shape: int) -> "DeviceArray":
        """Return the same memory in another shape; entries must lie one after the other."""
        known = -prod(shape) if -1 in shape else 0
        wanted = tuple(self.size // known if n == -1 and known else max(n, 0) for n in shape)
        if prod(wanted) != self.size:
            raise ValueError(f"cannot reshape an array of shape {self.shape} into {shape}")
        return DeviceArray(self.made.reshape(*wanted), self.dtype, self.writeable)

    def to_host(self) -> NDArray:
        """Return a copy as an array of NumPy, once all work in the current stream is done."""
        stream = _local.stream
        if not self.size:
            return np.empty(self.shape, self.dtype)
        made = self.made if self.is_contiguous() or self.ndim == 0 else _packed(self.made)
        found = np.empty(self.shape, made.dtype)
        made.copy_to_host(found, stream=stream)
        synchronize()
        return found if found.dtype == self.dtype else found.view(self.dtype)

    def fill_from(self, values: NDArray) -> None:
        """Copy an array of NumPy, of the same shape and dtype, into this one."""
        if self.size:
            given = np.ascontiguousarray(values)
            if given.shape != self.shape or given.dtype != self.dtype:
                raise ValueError(f"{self.dtype} of shape {self.shape} is needed, got {given.dtype} of {given.shape}")
            self.made.copy_to_device(given.view(self.made.dtype), stream=_local.stream)

    def copy(self) -> "DeviceArray":
        """Return a copy in the GPU's memory."""
        if not self.is_contiguous():
            return upload(self.to_host())
        new = empty(self.shape, self.dtype)
        if self.size:
            new.made.copy_to_device(self.made, stream=_local.stream)
        return new


def _packed(made: Any) -> Any:
    """Return a copy whose entries lie one after the other, as a copy to the host needs them."""
    packed = _cuda().device_array(made.shape, made.dtype, stream=_local.stream)
    if is_simulated():
        packed._ary[...] = made._ary
    else:
        packed[...] = made
    return packed


def empty(shape: tuple[int, ...], dtype: DTypeLike) -> DeviceArray:
    """Return an array in the GPU's memory, its entries not set."""
    known = np.dtype(dtype)
    kept = np.dtype(np.uint16) if known.kind not in "iufb" else known
    return DeviceArray(_cuda().device_array(shape, kept, stream=_local.stream), known)


def zeros(shape: tuple[int, ...], dtype: DTypeLike) -> DeviceArray:
    """Return an array of zeros in the GPU's memory."""
    new = empty(shape, dtype)
    if not new.size:
        return new
    if is_simulated():
        new.made._ary[...] = 0
    else:
        from numba.cuda.cudadrv.driver import device_memset

        device_memset(new.made, 0, new.nbytes, stream=_local.stream)
    return new


def upload(values: NDArray) -> DeviceArray:
    """Return a copy of an array of NumPy in the GPU's memory."""
    new = empty(values.shape, values.dtype)
    new.fill_from(values)
    return new


def on_host(values: Any) -> Any:
    """Return arrays of a GPU as copies in the host's memory, and everything else as it is."""
    return values.to_host() if isinstance(values, DeviceArray) else values


# Arrays of others.


def is_foreign(values: Any) -> bool:
    """Return whether something is an array in a GPU's memory, of whichever package.

    Examples
    --------
    >>> is_foreign(np.zeros(3)), is_foreign([1, 2])
    (False, False)
    """
    if type(values) is np.ndarray or isinstance(values, list | tuple | int | float):
        return False
    if isinstance(values, DeviceArray):
        return True
    # torch's tensors have the attribute on a CPU too, and raise where it is read.
    return hasattr(type(values), "__cuda_array_interface__") and getattr(values, "is_cuda", True)


def wrap(values: Any) -> DeviceArray:
    """Return a foreign array of a GPU without a copy; it is kept alive.

    Work that its owner has queued in a stream that it names is waited for by the current one.
    """
    if isinstance(values, DeviceArray):
        return values
    interface = values.__cuda_array_interface__
    if interface.get("mask") is not None:
        raise TypeError("an array with a mask cannot be used")
    if is_simulated():
        return DeviceArray(_simulated(interface, values), writeable=not interface["data"][1])
    cuda = _cuda()
    made = cuda.from_cuda_array_interface({**interface, "stream": None}, owner=values, sync=False)
    _wait_for(interface.get("stream"))
    return DeviceArray(made, writeable=not interface["data"][1])


def in_kind(found: DeviceArray, given: Any) -> Any:
    """Return an array of a GPU as an array of the package that `given` is of, without a copy.

    An array of NumPy, or anything else in the host's memory, gives one of NumPy: a copy. A package that is not known
    gets a `DeviceArray`, which most can take as it is.
    """
    if not is_foreign(given):
        return found.to_host()
    package = type(given).__module__.partition(".")[0]
    if package == "torch":
        import torch

        return torch.as_tensor(found, device=given.device)
    if package == "cupy":
        import cupy

        return cupy.asarray(found)
    if package in ("jax", "jaxlib"):
        import jax.numpy

        return jax.numpy.asarray(found)
    return found.made if package in ("numba", "numba_cuda") else found


def _simulated(interface: dict[str, Any], owner: Any) -> Any:
    """Return an array that shares the memory which the simulator's stands for."""
    from numba.cuda.cudadrv.devicearray import FakeCUDAArray

    holder = type("Holder", (), {"__array_interface__": {**interface, "version": 3}, "owner": owner})()
    return FakeCUDAArray(np.asarray(holder))


def _wait_for(number: int | None) -> None:
    """Let the current stream wait for what is queued in another one."""
    if number is None or number == _number_of(_local.stream):
        return
    cuda = _cuda()
    event = cuda.event(timing=False)
    event.record(cuda.external_stream(number))
    event.wait(_local.stream or cuda.default_stream())


# Streams.


def current_stream() -> Any:
    """Return the stream of Numba in which this thread's work is queued; 0 is the default one."""
    return _local.stream


@contextmanager
def using_stream(stream: Any) -> Iterator[None]:
    """Queue the work of this thread in a stream, inside a ``with`` block.

    Parameters
    ----------
    stream : int or numba.cuda stream
        The number of a stream of CUDA, such as ``torch.cuda.current_stream().cuda_stream``.
    """
    before = _local.stream
    if isinstance(stream, int) and stream and not is_simulated():
        stream = _cuda().external_stream(stream)
    _local.stream = stream
    try:
        yield
    finally:
        _local.stream = before


def _number_of(stream: Any) -> int:
    """Return a stream's number as arrays tell it: 1 is the default stream."""
    if stream == 0 or is_simulated():
        return 1
    return int(getattr(stream.handle, "value", stream.handle) or 1)


def synchronize() -> None:
    """Wait for what is queued in this thread's stream."""
    cuda = _cuda()
    if _local.stream == 0:
        if not is_simulated():
            cuda.default_stream().synchronize()
    else:
        _local.stream.synchronize()


# Errors.


@contextmanager
def deferred_errors() -> Iterator[None]:
    """Look for bad indices at the end of a ``with`` block, once, and not after each call on a GPU.

    A call on arrays of a GPU then only queues work. Where an index is outside its table, what the call returns is
    undefined, nothing outside an array is read or written, and the block ends with the error of the first such call.

    Examples
    --------
    >>> with deferred_errors():
    ...     pass
    """
    if _local.put_off is not None:  # the outer block looks
        yield
        return
    _local.put_off = []
    try:
        yield
    except BaseException:
        _local.put_off = None
        raise
    waiting, _local.put_off = _local.put_off, None
    for flag, error in waiting:
        found = int(flag.to_host()[0])
        if found != ALL_WELL:
            raise error(found)


def _flag() -> DeviceArray:
    """Return a flag that says that all is well."""
    if _local.put_off is not None:
        return upload(np.array([ALL_WELL]))
    if _local.flag is None:
        _local.flag = upload(np.array([ALL_WELL]))
    return _local.flag


def _settle(flag: DeviceArray, error: Callable[[int], Exception]) -> None:
    """Raise what a flag says, or put off looking at it."""
    if _local.put_off is not None:
        _local.put_off.append((flag, error))
        return
    found = int(flag.to_host()[0])
    if found != ALL_WELL:
        _local.flag = None
        raise error(found)


# Launches.


def run(
    module: str,
    name: str,
    arguments: tuple,
    size: int,
    error: Callable[[int], Exception] | None = None,
    *,
    columns: int = 0,
    width: int = 1,
) -> None:
    """Run a range kernel over ``[0, size)`` as a grid of teams.

    Parameters
    ----------
    module, name : str
        The kernel.
    arguments : tuple
        The kernel's arguments before the range; arrays of NumPy are copied to the GPU.
    size : int
        The end of the range.
    error : callable, optional
        What makes an exception of the first item in which a kernel that has a `fault` finds something wrong.
    columns : int, default 0
        Of the rows that a team's threads share; 0 for a kernel of which each thread has an item of its own.
    width : int, default 1
        Columns that a thread moves at a time: see `width_of`.
    """
    kernel = getattr(kernels("cuda", module), name)
    takes = _names(kernel)
    flag = _flag() if "fault" in takes else None
    extra = (0, size, *([] if flag is None else [flag]), *([(0,) * width] if "width" in takes else []))
    if size:
        launch(kernel, (*arguments, *extra), size, lanes_of(columns, width if "width" in takes else 1))
        if flag is not None and error is not None:
            _settle(flag, error)


def launch(kernel: Any, arguments: tuple, size: int, lanes: int = 1) -> None:
    """Queue a kernel in the current stream, with a team of `lanes` threads for each of `size` items, or fewer teams.

    Parameters
    ----------
    kernel : kernel of Numba-CUDA
    arguments : tuple
        Arrays of NumPy are copied to the GPU and not back.
    size : int
        At least 1.
    lanes : int, default 1
        Threads of a team: a power of two up to 32.
    """
    block, most = (SIMULATED_BLOCK, SIMULATED_BLOCKS) if is_simulated() else (BLOCK, MOST_BLOCKS)
    teams = block // lanes
    blocks = min(most, -(-size // teams))
    given = tuple(upload(a) if isinstance(a, np.ndarray) else a for a in arguments)
    plain = tuple(a.made if isinstance(a, DeviceArray) else a for a in given)
    # A host array's copy may be freed when this returns: freeing waits for the kernels that are queued.
    kernel[blocks, (lanes, teams), _local.stream](*plain)


@cache
def _names(kernel: Any) -> frozenset[str]:
    return frozenset(inspect.signature(kernel.py_func).parameters)


def width_of(*arrays: Any, most: int = 8) -> int:
    """Return how many columns a thread can move at a time in the rows of all of these arrays: 1, 2, 4 or 8.

    At most 16 bytes of the shortest type, a number that divides the columns, and so that every address is a multiple of
    what is moved at once.
    """
    width = min(most, VECTOR_BYTES // min(a.itemsize for a in arrays))
    while width > 1 and not all(_fits(a, width * a.itemsize, a.shape[1] % width) for a in arrays):
        width //= 2
    return width


def width_of_codes(table: DeviceArray, columns: int, half_bytes: int) -> int:
    """Return how many columns a thread can take at a time in the rows of a quantized table: 1, 4 or 8.

    From 4 on, the scale and the bias behind the codes are read as they are and not byte by byte.
    """
    wide = [width for width in (8, 4) if width * half_bytes // 2 <= 4]
    return next((w for w in wide if _fits(table, max(2, w * half_bytes // 2), columns % w)), 1)


def _fits(array: Any, moved: int, left_over: int) -> bool:
    """Return whether the rows of an array begin at multiples of `moved` bytes, and no columns are left over."""
    moved = min(VECTOR_BYTES, moved)
    if not isinstance(array, DeviceArray):  # what is copied to the GPU is aligned there
        return left_over == 0 and array.shape[1] * array.itemsize % moved == 0
    stride = array.strides[0] if len(array) > 1 else 0
    return left_over == 0 and array.pointer % moved == 0 and stride % moved == 0


def lanes_of(columns: int, width: int) -> int:
    """Return the threads of a team for rows of this length."""
    if columns == 0:
        return 1
    most = SIMULATED_LANES if is_simulated() else WARP
    return min(most, 1 << max(0, -(-columns // width) - 1).bit_length())


@cache
def has_vector_atomics() -> bool:
    """Return whether the GPU adds four float32 to memory at once: from compute capability 9.0 on."""
    return not is_simulated() and _cuda().get_current_device().compute_capability >= (9, 0)
