"""Continuous bag of words (Mikolov et al. 2013, "Efficient Estimation of Word Representations in Vector Space").

The input is the mean, or the sum, of a window's context rows. word2vec.c adds the mean's whole change to each of them;
the gradient of the loss is that change divided by their number (Irsoy et al. 2021, "Corrected CBOW performs as well as
skip-gram").
"""

from fastemb.kernels.reference.pairs import train_pairs
from fastemb.kernels.reference.windows import train_windows

__all__ = ["cbow_pairwise", "cbow_shared"]


def cbow_shared(
    ids, offsets, start, stop, weight_in, weight_out, subwords, rates, tree, keep, noise, window, shrink_windows,
    negative, alpha, alpha_slope, seed, mean, divided, staleness, result,
):  # fmt: skip
    """Train with lent rows and blocks of outputs: see `windows.train_windows`, whose `cbow` is (`mean`, `divided`)."""
    train_windows(
        (mean, divided), ids, offsets, start, stop, weight_in, weight_out, subwords, rates, tree, keep, noise, window,
        shrink_windows, negative, alpha, alpha_slope, seed, staleness, result,
    )  # fmt: skip


def cbow_pairwise(
    ids, offsets, start, stop, weight_in, weight_out, subwords, rates, tree, keep, noise, window, shrink_windows,
    negative, alpha, alpha_slope, seed, mean, divided, sigmoid, rule, result,
):  # fmt: skip
    """Train one output after the other: see `pairs.train_pairs`, whose `cbow` is (`mean`, `divided`)."""
    train_pairs(
        (mean, divided), ids, offsets, start, stop, weight_in, weight_out, subwords, rates, tree, keep, noise, window,
        shrink_windows, negative, alpha, alpha_slope, seed, sigmoid, rule, result,
    )  # fmt: skip
