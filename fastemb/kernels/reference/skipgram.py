"""Skip-gram (Mikolov et al. 2013, "Distributed Representations of Words and Phrases and their Compositionality").

As in word2vec.c the input is the context word and the outputs are the centre word's; fastText has it the other way
round, which makes the same pairs equally likely, since a window reaches as far to both sides, but in another order.
"""

from fastemb.kernels.reference.pairs import train_pairs
from fastemb.kernels.reference.windows import train_windows

__all__ = ["skipgram_pairwise", "skipgram_shared"]


def skipgram_shared(
    ids, offsets, start, stop, weight_in, weight_out, subwords, rates, tree, keep, noise, window, shrink_windows,
    negative, alpha, alpha_slope, seed, staleness, result,
):  # fmt: skip
    """Train all context words of a window with one set of negatives: see `windows.train_windows`."""
    train_windows(
        None, ids, offsets, start, stop, weight_in, weight_out, subwords, rates, tree, keep, noise, window,
        shrink_windows, negative, alpha, alpha_slope, seed, staleness, result,
    )  # fmt: skip


def skipgram_pairwise(
    ids, offsets, start, stop, weight_in, weight_out, subwords, rates, tree, keep, noise, window, shrink_windows,
    negative, alpha, alpha_slope, seed, sigmoid, rule, result,
):  # fmt: skip
    """Train one (context, centre) pair after the other, each with negatives of its own: see `pairs.train_pairs`."""
    train_pairs(
        None, ids, offsets, start, stop, weight_in, weight_out, subwords, rates, tree, keep, noise, window,
        shrink_windows, negative, alpha, alpha_slope, seed, sigmoid, rule, result,
    )  # fmt: skip
