"""Arrays of Numba-CUDA on memory that someone else has."""

from typing import Any

import numpy as np

from fastemb.engine.streams import cuda, is_simulated

__all__ = ["Held", "address_of", "view_of"]


def view_of(interface: dict[str, Any], owner: Any) -> Any:
    """Return an array on the memory that a ``__cuda_array_interface__`` tells of; its owner is kept alive."""
    if is_simulated():
        return _simulated(interface, owner)
    return cuda().from_cuda_array_interface({**interface, "stream": None}, owner=owner, sync=False)


def address_of(made: Any) -> int:
    """Return the address of an array's first entry."""
    if is_simulated():
        return int(made._ary.ctypes.data)
    return int(made.__cuda_array_interface__["data"][0])


def _simulated(interface: dict[str, Any], owner: Any) -> Any:
    """Return an array that shares the memory which the simulator's stands for."""
    from numba.cuda.cudadrv.devicearray import FakeCUDAArray

    if 0 in interface["shape"]:
        return FakeCUDAArray(np.empty(interface["shape"], interface["typestr"]))
    return FakeCUDAArray(np.asarray(Held({**interface, "version": 3}, owner)))


class Held:
    """Keeps an owner alive, as the base of NumPy's array on its memory."""

    __slots__ = ("__array_interface__", "owner")

    def __init__(self, interface: dict[str, Any], owner: Any) -> None:
        self.__array_interface__, self.owner = interface, owner
