"""What `vector` gives to kernels that run in Numba's simulator: the same functions in NumPy's arithmetic."""

import numpy as np
from numba.cuda.simulator.kernel import _get_kernel_context as here  # what `cuda` means to the thread that asks

from fastemb.kernels.reference.lookup import narrow, widen

_QUIET = {"over": "ignore", "under": "ignore", "invalid": "ignore", "divide": "ignore"}


def _plain(array):
    """The NumPy array behind what the simulator hands to a kernel."""
    array = getattr(array, "_item", array)
    return getattr(array, "_ary", array)


def _wide(values):
    return values.astype(np.float32) if values.dtype == np.uint8 else _kept(values)


def _kept(values):
    return values if values.dtype in (np.int32, np.int64) else widen(values)


def load(array, row, column, width):
    plain = _plain(array)
    assert 0 <= row < plain.shape[0] and 0 <= column <= plain.shape[1] - len(width), "outside the array"
    return tuple(_wide(plain[row, column : column + len(width)]))


def store(array, row, column, vector):
    plain = _plain(array)
    assert 0 <= row < plain.shape[0] and 0 <= column <= plain.shape[1] - len(vector), "outside the array"
    plain[row, column : column + len(vector)] = narrow(np.array(vector), plain.dtype)


def copy(out, row, column, table, from_row, width):
    source, target = _plain(table), _plain(out)
    assert 0 <= row < target.shape[0] and 0 <= from_row < source.shape[0], "outside the array"
    assert 0 <= column <= min(target.shape[1], source.shape[1]) - len(width), "outside the array"
    target[row, column : column + len(width)] = source[from_row, column : column + len(width)]


def number(array, value):
    return _wide(np.zeros(1, _plain(array).dtype)).dtype.type(value)


def zeros(array, width):
    return tuple(np.zeros(len(width), _wide(np.zeros(1, _plain(array).dtype)).dtype))


def add(a, b):
    with np.errstate(**_QUIET):
        return tuple(x + y for x, y in zip(a, b, strict=True))


def scale(a, factor):
    with np.errstate(**_QUIET):
        return tuple(type(x)(factor) * x for x in a)


def multiply_add(a, factor, c):
    with np.errstate(**_QUIET):
        return tuple(type(x)(factor) * x + y for x, y in zip(a, c, strict=True))


def affine(a, factor, offset):
    with np.errstate(**_QUIET):
        return tuple(np.float32(np.float64(x) * np.float64(factor) + np.float64(offset)) for x in a)


def codes(table, row, column, halves, width):
    found = []
    for c in range(column, column + len(width)):
        byte = _plain(table)[row, c * len(halves) // 2]
        found.append(np.float32(byte if len(halves) == 2 else (byte >> 4 if c % 2 else byte & 15)))
    return tuple(found)


def ends(table, row, column, halves, width):
    kind = np.float32 if len(halves) == 2 else np.float16
    found = _plain(table)[row, column : column + 2 * np.dtype(kind).itemsize].copy().view(kind)
    return tuple(found.astype(np.float32))


def select(chosen, a, b):
    return a if chosen else b


def dot(a, b, begin):
    with np.errstate(**_QUIET):
        for x, y in zip(a, b, strict=True):
            begin = begin + x * y
    return begin


def first_team():
    return here().blockIdx.x * here().blockDim.y + here().threadIdx.y


def num_teams():
    return here().gridDim.x * here().blockDim.y


def until(stop):
    return stop if isinstance(stop, int | np.integer) else stop[0]


def _of_team(value):
    """The numbers of all threads of a team; all threads of a block that are not done must come here."""
    cuda = here()
    shared = cuda.shared.array((64, 32), np.float64)
    shared[cuda.threadIdx.y, cuda.threadIdx.x] = value
    cuda.syncthreads()
    values = [shared[cuda.threadIdx.y, lane] for lane in range(cuda.blockDim.x)]
    cuda.syncthreads()
    return values


def team_sum(value):
    return type(value)(sum(_of_team(value)))


def team_max(value):
    return type(value)(max(_of_team(value)))


def team_min(value):
    return type(value)(min(_of_team(value)))
