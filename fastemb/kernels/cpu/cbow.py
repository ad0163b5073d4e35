"""Continuous bag of words; the specification is `kernels/reference/cbow.py`."""

from fastemb.kernels.cpu.options import kernel
from fastemb.kernels.cpu.pairs import train_pairs
from fastemb.kernels.cpu.simd import W16
from fastemb.kernels.cpu.windows import train_windows

__all__ = ["cbow_pairwise", "cbow_shared"]


@kernel
def cbow_shared(
    ids, offsets, start, stop, weight_in, weight_out, subwords, rates, tree, keep, noise, window, shrink_windows,
    negative, alpha, alpha_slope, seed, mean, divided, staleness, result, scratch, num_private, publish_every,
    width=W16,
):  # fmt: skip
    train_windows(
        (mean, divided), ids, offsets, start, stop, weight_in, weight_out, subwords, rates, tree, keep, noise, window,
        shrink_windows, negative, alpha, alpha_slope, seed, staleness, result, scratch, num_private, publish_every,
        width,
    )  # fmt: skip


@kernel
def cbow_pairwise(
    ids, offsets, start, stop, weight_in, weight_out, subwords, rates, tree, keep, noise, window, shrink_windows,
    negative, alpha, alpha_slope, seed, mean, divided, sigmoid, rule, result, scratch, width=W16,
):  # fmt: skip
    train_pairs(
        (mean, divided), ids, offsets, start, stop, weight_in, weight_out, subwords, rates, tree, keep, noise, window,
        shrink_windows, negative, alpha, alpha_slope, seed, sigmoid, rule, result, scratch, width,
    )  # fmt: skip
