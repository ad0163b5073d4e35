"""Random numbers as a function of a seed and a counter."""

import numpy as np

__all__ = ["random_u64"]


def random_u64(seed: int, counter: int) -> np.uint64:
    """Return the random 64-bit integer number `counter` of the stream `seed`.

    SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014), whose state is
    a plain counter, so that any element of a stream can be had by itself, by any thread, in any order.

    Parameters
    ----------
    seed, counter : int
        Taken modulo 2**64.

    Returns
    -------
    numpy.uint64

    Examples
    --------
    >>> hex(random_u64(0, 0))
    '0xe220a8397b1dcdaf'
    """
    mask = 0xFFFFFFFFFFFFFFFF
    z = (int(seed) + (int(counter) + 1) * 0x9E3779B97F4A7C15) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return np.uint64(z ^ (z >> 31))
