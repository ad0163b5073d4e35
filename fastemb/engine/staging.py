"""Blocks of a text on their way to a GPU, which works on one block while the next is copied.

There are two slots, each with page-locked memory of the host, from which copies run by themselves, and the same on the
GPU. A block takes the slots in turn: the host fills a slot once the kernel that read it is done, the copy is queued in
one stream, and the kernel, which waits for it, in another. Nothing else waits.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastemb.engine.backend import require_gpu
from fastemb.engine.launch import configured

__all__ = ["MOST_SHARED", "Placed", "Staging", "empty", "fixed", "free_bytes", "launch_blocks"]

SIMULATED_LANES, LANES = 2, 32  # threads of a block; each thread of the simulator is one of Python's
# Bytes of dynamic shared memory: a kernel gets 48 KB on every GPU without asking, of which it may have 5 of its own.
MOST_SHARED = 43 << 10


def _cuda() -> Any:
    require_gpu()
    from numba import cuda

    return cuda


def _is_simulated() -> bool:
    from numba import config

    return bool(config.ENABLE_CUDASIM)


def free_bytes() -> float:
    """Return the bytes of the GPU's memory that are free; infinite in the simulator."""
    return float(_cuda().current_context().get_memory_info()[0])


def fixed(values: NDArray) -> Any:
    """Return a copy of an array in the GPU's memory, as Numba has it."""
    return _cuda().to_device(np.ascontiguousarray(values))


def empty(shape: tuple[int, ...]) -> Any:
    """Return float32 memory of the GPU, its entries not set."""
    return _cuda().device_array(shape, np.float32)


class Placed:
    """A table of the host and its twin, which kernels use: first rows on the GPU, the others in the host's memory.

    That memory is page-locked and mapped: the GPU reads and adds to each row where it lies.

    Parameters
    ----------
    table : NDArray (rows, columns)
        Contiguous, and not empty.
    num_near : int
        Rows on the GPU, at least 1.

    Attributes
    ----------
    made : numba.cuda array, or tuple of two
        As `kernels.cuda.near` takes a table.
    """

    def __init__(self, table: NDArray, num_near: int) -> None:
        cuda = _cuda()
        self._first, self._rest = table[:num_near], table[num_near:]
        self._near = self.made = cuda.device_array(self._first.shape, table.dtype)
        if len(self._rest):
            # The simulator's kernels take an array of NumPy, which a mapped one is as well.
            mapped = cuda.pinned_array if _is_simulated() else cuda.mapped_array
            self._far = mapped(self._rest.shape, table.dtype)
            self.made = self._near, self._far

    def load(self) -> None:
        """Copy the table to its twin; no kernel may be at work."""
        self._near.copy_to_device(self._first)
        if len(self._rest):
            self._far[...] = self._rest

    def fetch(self) -> None:
        """Copy the twin to the table; no kernel may be at work."""
        self._near.copy_to_host(self._first)
        if len(self._rest):
            self._rest[...] = self._far


class _Slot:
    """What one block needs, of arrays of these dtypes and most numbers of elements."""

    def __init__(self, cuda: Any, shapes: list[tuple[int, type]], num_results: int) -> None:
        self.pinned = [cuda.pinned_array(max(1, size), dtype) for size, dtype in shapes]
        self.arrays = [cuda.device_array(max(1, size), dtype) for size, dtype in shapes]
        self.result = cuda.pinned_array(num_results, np.float64)
        self.copied, self.done = cuda.event(), cuda.event()


class Staging:
    """Two slots, two streams, and a result on the GPU to which all kernels add.

    Parameters
    ----------
    shapes : list of (int, dtype)
        The most elements of each array of a block.
    num_results : int
        Float64 numbers of the result.

    """

    def __init__(self, shapes: list[tuple[int, type]], num_results: int) -> None:
        cuda = _cuda()
        self._copying, self._working = cuda.stream(), cuda.stream()
        self._slots = [_Slot(cuda, shapes, num_results) for _ in range(2)]
        self._result = cuda.to_device(np.zeros(num_results))
        self._before = np.zeros(num_results)
        self._first, self.num_waiting = 0, 0

    def queue(self, arrays: list[NDArray], work: Callable[[Any, list[Any], Any], None]) -> None:
        """Copy a block to the GPU, and queue work on it; there must be a free slot.

        Parameters
        ----------
        arrays : list of NDArray
            They may change once this returns.
        work : callable
            Called as ``work(stream, arrays, result)``; queues kernels in the stream. The GPU's arrays are as long as
            the longest may be, and begin with what was copied.
        """
        slot = self._slots[(self._first + self.num_waiting) % 2]
        for values, pinned, array in zip(arrays, slot.pinned, slot.arrays, strict=True):
            if len(values):
                pinned[: len(values)] = values
                array[: len(values)].copy_to_device(pinned[: len(values)], stream=self._copying)
        slot.copied.record(self._copying)
        slot.copied.wait(self._working)
        work(self._working, slot.arrays, self._result)
        self._result.copy_to_host(slot.result, stream=self._working)
        slot.done.record(self._working)
        self.num_waiting += 1

    @property
    def is_full(self) -> bool:
        """Whether both slots are taken."""
        return self.num_waiting == len(self._slots)

    def finish(self) -> NDArray[np.float64]:
        """Wait for the oldest block that is queued, free its slot, and return what it added to the result."""
        slot = self._slots[self._first]
        slot.done.synchronize()
        self._first, self.num_waiting = (self._first + 1) % 2, self.num_waiting - 1
        added = slot.result - self._before
        self._before[:] = slot.result
        return added

    def synchronize(self) -> None:
        """Wait for all that is queued, and forget it."""
        self._copying.synchronize()
        self._working.synchronize()
        while self.num_waiting:
            self.finish()


def launch_blocks(kernel: Any, blocks: int, shared_floats: int, stream: Any, arguments: tuple) -> None:
    """Queue a kernel as blocks of one warp, each with `shared_floats` float32 of dynamic shared memory."""
    lanes = SIMULATED_LANES if _is_simulated() else LANES
    configured(kernel, blocks, lanes, stream, 4 * shared_floats)(*arguments)
