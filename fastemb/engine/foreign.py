"""Arrays of other packages, on either side: used without a copy, and answered in kind."""

import sys
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastemb.engine.backend import gpu_problem
from fastemb.engine.device import DeviceArray, upload
from fastemb.engine.dlpack import ON_GPU, Given, borrow, has_dlpack, host_array, interface_of, named, place_of, typed
from fastemb.engine.streams import current_stream, device_number, number_of, wait_for
from fastemb.engine.views import view_of

__all__ = ["host_of", "in_kind", "is_foreign", "is_of_others", "shared", "wrap"]

PLAIN = (np.ndarray, list, tuple, int, float, str)


def is_foreign(values: Any) -> bool:
    """Return whether something is an array in a GPU's memory, of whichever package.

    Examples
    --------
    >>> is_foreign(np.zeros(3)), is_foreign([1, 2])
    (False, False)
    """
    if isinstance(values, PLAIN):
        return False
    if isinstance(values, DeviceArray):
        return True
    if has_dlpack(values):
        try:
            return place_of(values)[0] in ON_GPU
        except (BufferError, RuntimeError, ValueError):  # on a device that DLPack does not know
            return False
    return hasattr(type(values), "__cuda_array_interface__")


def is_of_others(values: Any) -> bool:
    """Return whether something is an array that another package has, or one in a GPU's memory."""
    return not isinstance(values, PLAIN) and (has_dlpack(values) or is_foreign(values))


def wrap(values: Any, name: str = "an array") -> DeviceArray:
    """Return an array in a GPU's memory without a copy; it is kept alive.

    The current stream waits for what its package has queued: DLPack sees to that, or it names the stream.

    Parameters
    ----------
    values : object with ``__dlpack__`` or ``__cuda_array_interface__``
    name : str
        What errors call it.

    Raises
    ------
    RuntimeError
        If no GPU can be used.
    TypeError
        If it cannot be shared.
    ValueError
        If it lies on another GPU than the one in use.
    """
    if isinstance(values, DeviceArray):
        return values
    if gpu_problem() is not None:
        raise RuntimeError(f"{name} is on a GPU, and none can be used: {gpu_problem()}")
    if not has_dlpack(values):
        return _of_interface(values, name)
    kind, number = place_of(values)
    if number != device_number():
        raise ValueError(f"{name} is on {named((kind, number))}, and the GPU in use is cuda:{device_number()}")
    taken = borrow(values, name, number_of(current_stream()))
    interface = interface_of(taken, name)
    if taken.read_only is None and hasattr(type(values), "__cuda_array_interface__"):  # which can tell
        interface["data"] = taken.address, values.__cuda_array_interface__["data"][1]
    return _made(interface, taken, typed(taken, name)[1])


def _of_interface(values: Any, name: str) -> DeviceArray:
    interface = values.__cuda_array_interface__
    if interface.get("mask") is not None:
        raise TypeError(f"{name} has a mask, and an array with a mask cannot be used")
    made = _made(interface, values)
    if interface.get("stream") is not None:
        wait_for(interface["stream"])
    return made


def shared(
    owner: Any, address: int, shape: tuple[int, ...], strides: tuple[int, ...] | None, typestr: str
) -> DeviceArray:
    """Return an array on memory that its owner has, which is kept alive; strides in bytes."""
    strides = None if 0 in shape else strides
    data = address, False
    return _made({"shape": shape, "strides": strides, "typestr": typestr, "data": data, "version": 3}, owner)


def _made(interface: dict[str, Any], owner: Any, dtype: np.dtype | None = None) -> DeviceArray:
    """Return an array on the memory that an interface tells of."""
    return DeviceArray(view_of(interface, owner), dtype, writeable=not interface["data"][1])


def host_of(values: Any, name: str) -> NDArray:
    """Return what a user passed as an array of NumPy: on the same memory where it can be, of a GPU as a copy.

    Examples
    --------
    >>> host_of([1, 2], "input")
    array([1, 2])
    """
    if type(values) is np.ndarray:
        return values
    if is_foreign(values):
        return wrap(values, name).to_host()
    return host_array(values, name) if has_dlpack(values) else np.asarray(values).view(np.ndarray)


def in_kind(found: Any, given: Any) -> Any:
    """Return an array as one of the package that `given` is of, without a copy where both lie on one side.

    What is none of an array gives one of NumPy. A package without a ``from_dlpack`` gets a `DeviceArray` or an array of
    NumPy, which most can take as it is.
    """
    is_there = isinstance(found, DeviceArray)
    if not is_of_others(given):
        return found.to_host() if is_there else found
    if is_foreign(given) != is_there:
        found, is_there = (found.to_host(), False) if is_there else (upload(found), True)
    if isinstance(given, DeviceArray):
        return found
    if type(given).__module__.partition(".")[0] in ("numba", "numba_cuda"):
        found.lend()
        return found.made
    take = _taker(type(given).__module__.partition(".")[0]) or getattr(
        getattr(given, "__array_namespace__", lambda: None)(), "from_dlpack", None
    )
    if take is None:
        return found
    return take(found if is_there else Given(found))


@cache
def _taker(package: str) -> Callable[[Any], Any] | None:
    """Return what takes an array over to a package."""
    return getattr(sys.modules.get(package), "from_dlpack", None)
