"""How kernels are launched on a GPU: grids of teams, and how many columns a thread moves at a time.

Work is queued in the thread's current stream, and nothing waits for it but a look at the flag of bad indices.
"""

import inspect
import warnings
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any

import numpy as np

from fastemb.engine.backend import kernels
from fastemb.engine.device import DeviceArray, nothing, upload
from fastemb.engine.faults import new_flag, settle
from fastemb.engine.streams import cuda, current_stream, is_simulated, number_of

__all__ = [
    "configured",
    "has_vector_atomics",
    "lanes_of",
    "launch",
    "launch_blocks",
    "run",
    "width_of",
    "width_of_codes",
]

WARP, BLOCK, VECTOR_BYTES = 32, 256, 16
MOST_BLOCKS = 1 << 22  # teams stride over what is left
BLOCKS_OF_UNKNOWN = 1 << 13  # where only the GPU knows how much there is: enough to fill it, and few that find nothing
SIMULATED_BLOCK, SIMULATED_LANES, SIMULATED_BLOCKS = 4, 2, 2  # each thread of the simulator is one of Python's


def run(
    module: str,
    name: str,
    arguments: tuple,
    size: int,
    error: Callable[[int], Exception] | None = None,
    *,
    end: DeviceArray | None = None,
    then: tuple = (),
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
        The end of the range, or what it is at most where `end` is given.
    end : DeviceArray, int64 (1,), optional
        The end of the range, where only the GPU knows it.
    then : tuple, default ()
        Arguments that a kernel has at its end.
    error : callable, optional
        What makes an exception of the first item in which a kernel that has a `fault` finds something wrong.
    columns : int, default 0
        Of the rows that a team's threads share; 0 for a kernel of which each thread has an item of its own.
    width : int, default 1
        Columns that a thread moves at a time: see `width_of`.
    """
    kernel = getattr(kernels("cuda", module), name)
    takes = _names(kernel)
    flag = new_flag() if "fault" in takes else None
    told = [*([] if flag is None else [flag]), *([(0,) * width] if "width" in takes else [])]
    extra = (0, size if end is None else end, *told, *then)
    if size:
        most = MOST_BLOCKS if end is None else BLOCKS_OF_UNKNOWN
        launch(kernel, (*arguments, *extra), size, lanes_of(columns, width if "width" in takes else 1), most)
        if flag is not None and error is not None:
            settle(flag, error)


def launch(kernel: Any, arguments: tuple, size: int, lanes: int = 1, most: int = MOST_BLOCKS) -> None:
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
    most : int
        Blocks that the grid has at most.
    """
    block, most = (SIMULATED_BLOCK, SIMULATED_BLOCKS) if is_simulated() else (BLOCK, most)
    teams = block // lanes
    launch_blocks(kernel, arguments, min(most, -(-size // teams)), (lanes, teams))


def launch_blocks(kernel: Any, arguments: tuple, blocks: int, threads: int | tuple[int, int]) -> None:
    """Queue a kernel in the current stream as blocks of so many threads; arrays of NumPy are copied to the GPU."""
    given = tuple(_given(a) if isinstance(a, np.ndarray) else a for a in arguments)
    stream = current_stream()
    number = number_of(stream)
    plain = tuple(a.made_for(number) if isinstance(a, DeviceArray) else a for a in given)
    # A host array's copy may go when this returns: it is used again only by what is queued after this kernel.
    configured(kernel, blocks, threads, stream)(*plain)


def configured(kernel: Any, blocks: int, threads: Any, stream: Any, shared_bytes: int = 0) -> Any:
    """Return a kernel for a grid, without what Numba says of one that does not fill the GPU."""
    if is_simulated():  # whose kernels know one grid at a time
        return kernel[blocks, threads, stream, shared_bytes]
    return _configured(kernel, blocks, threads, stream, shared_bytes)


@lru_cache(maxsize=1024)
def _configured(kernel: Any, blocks: int, threads: Any, stream: Any, shared_bytes: int) -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Grid size")
        return kernel[blocks, threads, stream, shared_bytes]


def _given(array: np.ndarray) -> DeviceArray:
    return upload(array) if array.size else nothing(array.shape, array.dtype)


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
    return not is_simulated() and cuda().get_current_device().compute_capability >= (9, 0)
