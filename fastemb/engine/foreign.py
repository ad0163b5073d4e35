"""Arrays of other packages in a GPU's memory: used without a copy, and answered in kind."""

from typing import Any

import numpy as np

from fastemb.engine.device import DeviceArray
from fastemb.engine.streams import cuda, current_stream, is_simulated, number_of

__all__ = ["in_kind", "is_foreign", "wrap"]


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
    made = cuda().from_cuda_array_interface({**interface, "stream": None}, owner=values, sync=False)
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
    if number is None or number == number_of(current_stream()):
        return
    event = cuda().event(timing=False)
    event.record(cuda().external_stream(number))
    event.wait(current_stream() or cuda().default_stream())
