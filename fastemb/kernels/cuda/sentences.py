"""What a window of text holds: kept words, reach, random words; see `kernels/reference/windows.py`.

The kept words of a sentence go through a queue in shared memory: place k of the kept words is slot ``k & (QUEUE - 1)``.
"""

import numpy as np

from fastemb.kernels.cuda.near import cuda
from fastemb.kernels.cuda.random import random_u64

__all__ = ["MOST_LANES", "QUEUE", "draw_noise", "keep_words", "reach_of"]

MOST_LANES = 32  # threads of a block: one warp
QUEUE = 256  # holds the words from the oldest place lent to the farthest looked at: 2 * 100 + 2, and a warp's tokens


@cuda.jit(device=True)
def keep_words(ids, base, first, last, keep, text_seed, words, places, flags, tail):
    """Put the words that are kept of one token a thread, from `first` on, at the end of the queue; return its end.

    `base` is the place in the text of ``ids[0]``.
    """
    lane, lanes = cuda.threadIdx.x, cuda.blockDim.x
    place = first + lane
    word = np.int32(0)
    kept = False
    if place < last:
        word = ids[place - base]
        draw = np.float32(random_u64(text_seed, np.uint64(place)) >> np.uint64(40))
        kept = draw < keep[word] * np.float32(16777216)
    flags[lane] = 1 if kept else 0
    cuda.syncthreads()
    slot = tail
    for other in range(lanes):
        if other < lane:
            slot += flags[other]
        tail += flags[other]
    if kept:
        words[slot & (QUEUE - 1)] = word
        places[slot & (QUEUE - 1)] = place
    cuda.syncthreads()
    return tail


@cuda.jit(device=True)
def reach_of(text_seed, place, window, shrink_windows):
    """Return how many words a window reaches to each side."""
    if not shrink_windows:
        return window
    draw = np.int64(random_u64(text_seed, np.uint64(place)) & np.uint64(0xFFFFFF))
    return window - ((draw * window) >> 24)


@cuda.jit(device=True)
def draw_noise(noise, noise_seed, counter):
    """Draw a word from the alias table."""
    x = random_u64(noise_seed, np.uint64(counter))
    slot = np.int64(((x >> np.uint64(32)) * np.uint64(noise.shape[0])) >> np.uint64(32))
    return slot if np.uint32(x & np.uint64(0xFFFFFFFF)) < noise[slot, 0] else np.int64(noise[slot, 1])
