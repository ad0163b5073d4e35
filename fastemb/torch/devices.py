"""Tensors on a GPU: their memory for fastemb's kernels, in torch's current stream, and nothing that waits.

Kernels are queued in the stream in which torch queues its own, and what they need besides is torch's memory, so that
its allocator knows when it is free. A bad index is told of in a flag that travels to the host by itself: a later call
that finds it there raises.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike
from torch import Tensor

from fastemb.engine.backend import gpu_problem
from fastemb.engine.device import DeviceArray, using_memory
from fastemb.engine.faults import ALL_WELL, watched
from fastemb.engine.foreign import shared
from fastemb.engine.streams import cuda, device_number, using_stream

__all__ = ["Gpu", "device_array", "on_gpu", "why_not_on_gpu", "working"]

NUMBERS = {  # of torch's dtypes, as NumPy spells them
    torch.float64: "<f8", torch.float32: "<f4", torch.float16: "<f2", torch.bfloat16: "<u2",
    torch.int64: "<i8", torch.int32: "<i4",
}  # fmt: skip
LEGACY = 1  # the number of the default stream where it is to be queued in, and not waited for


class Gpu:
    """What only a GPU has, and tests replace."""

    def holds(self, tensor: Tensor) -> bool:
        """Return whether a tensor lies on a GPU on which our kernels can run now."""
        return tensor.is_cuda and gpu_problem() is None and not torch.cuda.is_current_stream_capturing()

    def using(self, tensor: Tensor) -> AbstractContextManager[Any]:
        """Return a context in which a tensor's GPU is the one in use."""
        number = tensor.device.index
        return nullcontext() if number == device_number() else cuda().gpus[number]

    def stream(self, tensor: Tensor) -> Any:
        """Return torch's current stream."""
        return torch.cuda.current_stream(tensor.device).cuda_stream or LEGACY

    def on_its_way(self, flag: DeviceArray) -> tuple[Callable[[], bool], Callable[[], int]]:
        """Send a number to the host; return what tells whether it has come, and what it is."""
        there, number = torch.from_dlpack(flag), torch.empty(1, dtype=torch.int64, pin_memory=True)
        number.copy_(there, non_blocking=True)
        event = torch.cuda.Event()
        event.record(torch.cuda.current_stream(there.device))
        return event.query, lambda: int(number)


_gpu = Gpu()
_waiting: deque[tuple[Callable[[], bool], Callable[[], int], Callable[[int], Exception]]] = deque()
_lock = threading.Lock()


def on_gpu(tensor: Tensor) -> bool:
    """Return whether a tensor lies on a GPU on which fastemb's kernels run here and now.

    Examples
    --------
    >>> on_gpu(torch.zeros(2))
    False
    """
    return _gpu.holds(tensor)


def why_not_on_gpu(tensor: Tensor) -> str:
    """Return why fastemb's kernels cannot run where a tensor lies, or nothing.

    Examples
    --------
    >>> why_not_on_gpu(torch.zeros(2, device="meta"))
    'it is on meta, not on cpu'
    """
    if tensor.is_cpu or on_gpu(tensor):
        return ""
    problem = f", where fastemb's kernels cannot run: {gpu_problem()}" if tensor.is_cuda else ", not on cpu"
    return f"it is on {tensor.device}{problem}"


def device_array(tensor: Tensor) -> DeviceArray:
    """Return a tensor's memory as an array of a GPU; the bits of bfloat16 as uint16."""
    size = tensor.element_size()
    strides = None if tensor.is_contiguous() else tuple(stride * size for stride in tensor.stride())
    return shared(tensor, tensor.data_ptr(), tuple(tensor.shape), strides, NUMBERS[tensor.dtype])


@contextmanager
def working(tensor: Tensor, *, tells: bool = True) -> Iterator[None]:
    """Queue work where a tensor lies, inside a ``with`` block: in torch's current stream, with torch's memory.

    Parameters
    ----------
    tensor : Tensor
    tells : bool, default True
        Raise what an earlier call has found.
    """
    if tells:
        _tell()

    def allocate(shape: tuple[int, ...], dtype: DTypeLike) -> DeviceArray:
        kept = np.dtype(dtype)
        number = int(np.prod(shape, dtype=np.int64)) * kept.itemsize
        memory = torch.empty(number, dtype=torch.uint8, device=tensor.device)
        return shared(memory, memory.data_ptr(), shape, None, kept.str)

    with _gpu.using(tensor), using_stream(_gpu.stream(tensor)), using_memory(allocate):
        with watched() as found:
            yield
        for flag, error in found:
            with _lock:
                _waiting.append((*_gpu.on_its_way(flag), error))


def _tell() -> None:
    """Raise the error of the oldest call whose flag has come and says that there was one."""
    while True:
        with _lock:
            if not _waiting or not _waiting[0][0]():
                return
            _, number, error = _waiting.popleft()
        if number() != ALL_WELL:
            found = error(number())
            found.add_note("An earlier call is at fault: put it in `with fastemb.deferred_errors():` to find it.")
            raise found
