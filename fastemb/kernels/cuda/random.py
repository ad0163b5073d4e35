"""Random numbers as a function of a seed and a counter."""

import numpy as np
from numba import cuda

__all__ = ["random_u64"]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


@cuda.jit(device=True)
def random_u64(seed, counter):
    """Return the random 64-bit integer number `counter` of the stream `seed`; both uint64."""
    z = np.uint64(seed) + (np.uint64(counter) + np.uint64(1)) * _GOLDEN
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    return z ^ (z >> np.uint64(31))
