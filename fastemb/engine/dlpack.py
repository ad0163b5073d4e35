"""Arrays of other packages, taken and given without a copy through DLPack: torch, JAX, CuPy, and whoever else has it.

A package gives a capsule (`_dlpack` reads and makes them) for a device and, on a GPU, for the stream in which the taker
is going to work: the giver lets that stream wait for what it has queued.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastemb.engine import _dlpack
from fastemb.engine.views import Held

__all__ = [
    "CPU",
    "CUDA",
    "ON_GPU",
    "Given",
    "bfloat16",
    "borrow",
    "has_dlpack",
    "host_array",
    "interface_of",
    "named",
    "place_of",
    "typed",
]

CPU, CUDA, CUDA_HOST, CUDA_MANAGED = 1, 2, 3, 13
ON_HOST, ON_GPU = (CPU, CUDA_HOST), (CUDA, CUDA_MANAGED)
PLACES = {
    CPU: "cpu", CUDA: "cuda", CUDA_HOST: "cuda_host", 4: "opencl", 7: "vulkan", 8: "metal", 9: "vpi", 10: "rocm",
    11: "rocm_host", 12: "ext_dev", CUDA_MANAGED: "cuda_managed", 14: "oneapi", 15: "webgpu", 16: "hexagon",
}  # fmt: skip
KINDS = {0: "i", 1: "u", 2: "f", 5: "c", 6: "b"}  # NumPy's letters for DLPack's codes
CODES = {kind: code for code, kind in KINDS.items()}
BFLOAT = 4


def has_dlpack(values: Any) -> bool:
    """Return whether something is an array of another package that can be had through DLPack.

    Examples
    --------
    >>> has_dlpack(np.zeros(3)), has_dlpack([1, 2])
    (False, False)
    """
    kind = type(values)
    if not hasattr(kind, "__dlpack__") or isinstance(values, np.ndarray):
        return False
    return not kind.__module__.startswith("pyarrow")  # whose columns may have nulls and lists, and are taken otherwise


def place_of(values: Any) -> tuple[int, int]:
    """Return the device that an array lies on: DLPack's number for its kind, and which of them it is."""
    kind, number = values.__dlpack_device__()
    return int(kind), int(number)


def named(place: tuple[int, int]) -> str:
    """Return the name of a device.

    Examples
    --------
    >>> named((CUDA, 1)), named((77, 0))
    ('cuda:1', 'device kind 77:0')
    """
    return f"{PLACES.get(place[0], f'device kind {place[0]}')}:{place[1]}"


def borrow(values: Any, name: str, stream: int | None = None) -> _dlpack.Taken:
    """Take an array over from its package, as long as what is returned lives.

    Parameters
    ----------
    values : object with ``__dlpack__``
    name : str
        What errors call it.
    stream : int, optional
        In which a GPU will work on it: 1 for the default stream, 2 for the thread's default stream, or a handle.

    Raises
    ------
    TypeError
        If its package does not give it (a tensor that requires a gradient, say), or not in a form that can be used.
    """
    options = {} if stream is None else {"stream": stream}
    try:
        try:
            capsule = values.__dlpack__(max_version=_dlpack.VERSION, **options)
        except TypeError:  # of a package from before DLPack 1
            capsule = values.__dlpack__(**options)
        return _dlpack.take(capsule)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        raise TypeError(f"{name}, of {type(values).__name__}, cannot be shared: {error}") from error


def typed(taken: _dlpack.Taken, name: str) -> tuple[np.dtype, np.dtype]:
    """Return the dtype of what was taken: as it is kept, which differs for bfloat16, and as it is shown.

    Raises
    ------
    TypeError
        If NumPy has no such dtype.
    """
    code, bits, lanes = taken.dtype
    if lanes == 1 and code == BFLOAT and bits == 16:
        return np.dtype(np.uint16), bfloat16(name)
    if lanes == 1 and code in KINDS and bits in (8, 16, 32, 64, 128):
        try:
            dtype = np.dtype(f"{KINDS[code]}{bits // 8}")
        except TypeError:
            pass
        else:
            return dtype, dtype
    raise TypeError(f"{name} must be of a dtype that NumPy has, got DLPack's code {code} of {bits} bits, {lanes} lanes")


def bfloat16(name: str) -> np.dtype:
    """Return the dtype that ml_dtypes has for bfloat16.

    Raises
    ------
    TypeError
        If that package is not installed.
    """
    try:
        import ml_dtypes
    except ImportError:
        raise TypeError(f"{name} is bfloat16, which needs the package ml_dtypes") from None
    return np.dtype(ml_dtypes.bfloat16)


def interface_of(taken: _dlpack.Taken, name: str) -> dict[str, Any]:
    """Return what was taken in the words of ``__array_interface__`` and ``__cuda_array_interface__``."""
    dtype, _ = typed(taken, name)
    strides = None if taken.strides is None else tuple(stride * dtype.itemsize for stride in taken.strides)
    if 0 in taken.shape:
        strides = None
    # Without a version a capsule cannot tell that it is read-only, so it counts as that.
    data = taken.address, taken.read_only is not False
    return {"shape": taken.shape, "strides": strides, "typestr": dtype.str, "data": data, "version": 3}


def host_array(values: Any, name: str) -> NDArray:
    """Return an array of another package in the host's memory as one of NumPy, on the same memory.

    It is read-only where its package says so, or is too old to tell.

    Raises
    ------
    TypeError
        If it is on another device, or cannot be shared.

    Examples
    --------
    >>> host_array(Given(np.arange(3)), "input")
    array([0, 1, 2])
    """
    taken = borrow(values, name)
    if taken.device[0] not in ON_HOST:
        raise TypeError(f"{name} is on {named(taken.device)}, and must be on the CPU or on an NVIDIA GPU")
    dtype, shown = typed(taken, name)
    if 0 in taken.shape:
        return np.empty(taken.shape, shown)
    array = np.asarray(Held(interface_of(taken, name), taken))
    return array if shown == dtype else array.view(shown)


class Given:
    """An array of ours on its way to another package's ``from_dlpack``, the bits of bfloat16 as that.

    Parameters
    ----------
    array : array or DeviceArray
    address : int, optional
        Of a `DeviceArray`.
    place : (int, int), default the CPU
    before : callable, optional
        Called with the taker's stream, so that it waits for ours.
    """

    def __init__(self, array: Any, address: int | None = None, place: tuple[int, int] = (CPU, 0), before: Any = None):
        self._array, self._place, self._before = array, place, before
        self._address = array.ctypes.data if address is None else address

    def __dlpack_device__(self) -> tuple[int, int]:
        """Return the device, as DLPack tells it."""
        return self._place

    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any:
        """Return a capsule; see the array API standard for the arguments.

        Raises
        ------
        BufferError
            If a copy is asked for, or another device.
        """
        if copy or (dl_device is not None and tuple(map(int, dl_device)) != self._place):
            raise BufferError("the array is given as it is: not as a copy, and on no other device")
        if self._before is not None:
            self._before(stream)
        array, is_versioned = self._array, max_version is not None and max_version[0] >= 1
        strides = tuple(stride // array.itemsize for stride in array.strides)
        code = BFLOAT if array.dtype.name == "bfloat16" else CODES[array.dtype.kind]
        dtype, is_read_only = (code, 8 * array.itemsize), not array.flags.writeable
        return _dlpack.give(array, self._address, array.shape, strides, dtype, self._place, is_read_only, is_versioned)
