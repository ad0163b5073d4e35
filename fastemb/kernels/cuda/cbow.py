"""Continuous bag of words; the specification is `kernels/reference/cbow.py`, its last arguments are in `windows`."""

from numba import cuda

from fastemb.kernels.cuda.windows import train_windows

__all__ = ["cbow_shared"]


@cuda.jit
def cbow_shared(
    ids, offsets, start, stop, weight_in, weight_out, subwords, rates, tree, keep, noise, window, shrink_windows,
    negative, alpha, alpha_slope, seed, mean, divided, staleness, result, base, near, atomics,
):  # fmt: skip
    train_windows(
        (True, mean, divided), ids, offsets, start, stop, weight_in, weight_out, subwords, rates, tree, keep, noise,
        window, shrink_windows, negative, alpha, alpha_slope, seed, staleness, result, base, near, atomics,
    )  # fmt: skip
