"""What a window of text holds: kept words, reach, random words; see `kernels/reference/windows.py`."""

import numpy as np

from fastemb.kernels.cpu.options import inline
from fastemb.kernels.cpu.random import random_u64
from fastemb.kernels.cpu.simd import get_float32, get_int32, get_uint32, put_int32, put_int64

__all__ = ["draw_noise", "keep_words", "reach_of"]


@inline
def keep_words(id_list, first, last, keep_list, text_seed, words, places):
    """Write the kept words of a sentence and their places; return how many there are."""
    n = np.int64(0)
    for t in range(first, last):
        word = get_int32(id_list, t)
        put_int32(words, n, word)
        put_int64(places, n, t)
        draw = np.float32(random_u64(text_seed, t) >> np.uint64(40))
        n += draw < get_float32(keep_list, word) * np.float32(16777216)
    return n


@inline
def reach_of(text_seed, place, window, shrink_windows):
    """Return how many words a window reaches to each side."""
    if not shrink_windows:
        return window
    draw = np.int64(random_u64(text_seed, place) & np.uint64(0xFFFFFF))
    return window - ((draw * window) >> 24)


@inline
def draw_noise(noise_list, num_words, noise_seed, counter):
    """Draw a word from the alias table."""
    x = random_u64(noise_seed, counter)
    slot = np.int64(((x >> np.uint64(32)) * np.uint64(num_words)) >> np.uint64(32))
    other = np.int64(get_uint32(noise_list, 2 * slot + 1))
    return slot if np.uint32(x & np.uint64(0xFFFFFFFF)) < get_uint32(noise_list, 2 * slot) else other
