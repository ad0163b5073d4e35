"""Skip-gram; the specification is `kernels/reference/skipgram.py`, its last arguments are in `windows`."""

from numba import cuda

from fastemb.kernels.cuda.windows import train_windows

__all__ = ["skipgram_shared"]


@cuda.jit
def skipgram_shared(
    ids, offsets, start, stop, weight_in, weight_out, subwords, rates, tree, keep, noise, window, shrink_windows,
    negative, alpha, alpha_slope, seed, staleness, result, base, near, atomics,
):  # fmt: skip
    train_windows(
        (False, False, False), ids, offsets, start, stop, weight_in, weight_out, subwords, rates, tree, keep, noise,
        window, shrink_windows, negative, alpha, alpha_slope, seed, staleness, result, base, near, atomics,
    )  # fmt: skip
