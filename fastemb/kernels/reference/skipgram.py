"""Skip-gram with negative sampling (Mikolov et al. 2013, "Distributed Representations of Words and Phrases").

The specification of `kernels/cpu/skipgram.py`: obvious and slow. Both functions train the sentences
``ids[offsets[i]:offsets[i + 1]]`` for i in ``[start, stop)`` and change `weight_in` and `weight_out` in place.

As in word2vec.c the input row is the context word's and the output rows are the centre word's (label 1) and the
negatives' (label 0), frequent words are dropped before windows are formed, and a negative that equals the centre word
is skipped.

Every random number is a function of `seed` and of the place of a token in `ids`, so what is trained does not depend on
how the sentences are handed out.
"""

import numpy as np

from fastemb.kernels.reference.random import random_u64

__all__ = ["LOGIT_LIMIT", "OUTPUTS", "PAIR_LIMIT", "skipgram_pairwise", "skipgram_shared"]

OUTPUTS = 6  # output rows that meet a window at a time: the centre word and five negatives fit in one block
LOGIT_LIMIT = 16.0  # |logit| beyond which the shared mode's sigmoid is that of the limit
PAIR_LIMIT = 6.0  # word2vec.c's MAX_EXP: a logit beyond it has a sigmoid of 0 or 1
PAIR_TABLE = 1000  # word2vec.c's EXP_TABLE_SIZE
PAIR_LOSS_LIMIT = 80.0  # most that a pair adds to the loss, so that float32 does not overflow


def skipgram_shared(
    ids, offsets, start, stop, weight_in, weight_out, keep, noise, window, shrink_windows, negative, alpha,
    alpha_slope, seed, staleness, result,
):  # fmt: skip
    """Train with one set of negatives for all context words of a window.

    A window's context rows meet its output rows in blocks of at most `OUTPUTS`; the gradients of a block are computed
    before its updates. Context rows are trained in a private copy, one for every place in the sentence, which is lent
    when the window reaches the place and given back (its change is added to the table) when the window has left it,
    or earlier, after every `staleness` windows.

    Parameters
    ----------
    ids : int32 (num_ids,)
    offsets : int64 (num_sentences + 1,)
    start, stop : int
        The range of sentences.
    weight_in, weight_out : float32 (num_embeddings, row length)
        Changed in place. Columns beyond the vector size hold zeros and stay so.
    keep : float32 (num_embeddings,)
        Probability to keep an occurrence of each word; 1 or more keeps all.
    noise : uint32 (num_embeddings, 2)
        Alias table of the negatives: see `draw_noise`.
    window : int
        Most context words on each side.
    shrink_windows : bool
        Draw each window's size from 1 to `window` (word2vec.c's way) rather than use `window`.
    negative : int
        Negatives a window.
    alpha, alpha_slope : float
        The learning rate of sentence i is ``alpha + alpha_slope * offsets[i]``.
    seed : int
        Of this epoch's random numbers.
    staleness : int
        Windows after which a lent row is given back and lent again.
    result : float64 (3,)
        Added to: the loss summed over distinct (context, output) pairs, the number of those pairs, the words kept.
    """
    for i in range(start, stop):
        rate = np.float32(alpha + alpha_slope * offsets[i])
        words, places = kept_words(ids, offsets[i], offsets[i + 1], keep, seed)
        result[2] += len(words)
        lent = {}
        for pos in range(len(words)):
            _move_window(weight_in, words, lent, pos, window, staleness)
            context = context_of(pos, len(words), places[pos], window, shrink_windows, seed)
            outputs = [words[pos], *draw_noise(noise, seed, int(places[pos]) * negative, negative)]
            for first in range(0, len(outputs), OUTPUTS):
                block = outputs[first : first + OUTPUTS]
                _train_block(lent, context, weight_out, block, words[pos], first == 0, rate, result)
        for p in sorted(lent):
            _give_back(weight_in, words, lent, p)


def _move_window(weight_in, words, lent, pos, window, staleness):
    if pos - window - 1 in lent:
        _give_back(weight_in, words, lent, pos - window - 1)
    for p in sorted(lent):
        if (pos - p + window) % staleness == 0:
            _give_back(weight_in, words, lent, p)
            lent[p] = weight_in[words[p]].copy(), weight_in[words[p]].copy()
    for p in range(0 if pos == 0 else pos + window, min(pos + window + 1, len(words))):
        lent[p] = weight_in[words[p]].copy(), weight_in[words[p]].copy()


def _give_back(weight_in, words, lent, p):
    row, base = lent.pop(p)
    weight_in[words[p]] += row - base


def _train_block(lent, context, weight_out, block, centre, has_centre, rate, result):
    """One step on the logits of every context row with every output row of the block."""
    labels = np.array([1.0 if has_centre and n == 0 else 0.0 for n in range(len(block))])
    skipped = [word == centre and labels[n] == 0 for n, word in enumerate(block)]
    # An output row that was drawn twice is trained once, with twice the gradient.
    count = np.array([0 if skipped[n] or word in block[:n] else block[n:].count(word) for n, word in enumerate(block)])
    if has_centre:
        count[0] = 1
    rows = np.stack([lent[p][0] for p in context]) if context else np.zeros((0, weight_out.shape[1]), np.float32)
    outputs = weight_out[block]
    sign = 2 * labels - 1
    logits = np.clip(sign * (rows.astype(np.float64) @ outputs.T), -LOGIT_LIMIT, LOGIT_LIMIT)
    gradient = (count * sign * rate / (1 + np.exp(logits))).astype(np.float32)
    result[0] += np.log1p(np.exp(-logits))[:, count > 0].sum()
    result[1] += len(context) * np.count_nonzero(count)
    change = gradient.T @ rows
    for m, p in enumerate(context):
        lent[p][0][:] += gradient[m] @ outputs
    for n in np.flatnonzero(count):
        weight_out[block[n]] += change[n]


def skipgram_pairwise(
    ids, offsets, start, stop, weight_in, weight_out, keep, noise, window, shrink_windows, negative, alpha,
    alpha_slope, seed, result,
):  # fmt: skip
    """Train one (context, centre) pair after the other, each with negatives of its own: word2vec.c's arithmetic.

    Output rows change at once, the context row after all of its outputs. The sigmoid is word2vec.c's: a table of
    1000 values over [-6, 6), and 0 or 1 beyond. The parameters are those of `skipgram_shared`.
    """
    table = 1 / (1 + np.exp(-(2 * np.arange(PAIR_TABLE) / PAIR_TABLE - 1) * PAIR_LIMIT))
    for i in range(start, stop):
        rate = np.float32(alpha + alpha_slope * offsets[i])
        words, places = kept_words(ids, offsets[i], offsets[i + 1], keep, seed)
        result[2] += len(words)
        for pos, centre in enumerate(words):
            for p in context_of(pos, len(words), places[pos], window, shrink_windows, seed):
                pair = int(places[pos]) * (2 * window + 1) + (p - pos + window)
                row = weight_in[words[p]]
                error = np.zeros_like(row)
                for n, word in enumerate([centre, *draw_noise(noise, seed, pair * negative, negative)]):
                    if n > 0 and word == centre:
                        continue
                    label = 1.0 if n == 0 else 0.0
                    logit = float(row @ weight_out[word])
                    gradient = np.float32((label - _table_sigmoid(table, logit)) * rate)
                    result[0] += np.logaddexp(0, min(-logit if label else logit, PAIR_LOSS_LIMIT))
                    result[1] += 1
                    error += gradient * weight_out[word]
                    weight_out[word] += gradient * row
                row += error


def _table_sigmoid(table, logit):
    if not abs(logit) < PAIR_LIMIT:
        return 1.0 if logit > 0 else 0.0 if logit < 0 else logit
    return table[int((logit + PAIR_LIMIT) * (PAIR_TABLE / PAIR_LIMIT / 2))]


def kept_words(ids, first, last, keep, seed):
    """Return the words of a sentence that subsampling keeps, and the place of each in `ids`."""
    places = [t for t in range(first, last) if _text_draw(seed, t) >> 40 < keep[ids[t]] * 2**24]
    return [int(ids[t]) for t in places], places


def context_of(pos, length, place, window, shrink_windows, seed):
    """Return the positions of the context words of `pos` in a sentence of `length` kept words."""
    reach = window
    if shrink_windows:
        reach -= (_text_draw(seed, place) & 0xFFFFFF) * window >> 24
    return [p for p in range(max(0, pos - reach), min(length, pos + reach + 1)) if p != pos]


def _text_draw(seed, place):
    return int(random_u64(random_u64(seed, 0), place))


def draw_noise(noise, seed, first, count):
    """Draw words from an alias table (Walker 1977, "An efficient method for generating discrete random variables").

    ``noise[slot]`` holds a threshold and another word: a uniform slot is taken itself where a uniform 32-bit number
    is below its threshold, else the other word is.

    Parameters
    ----------
    noise : uint32 (num_embeddings, 2)
    seed : int
    first, count : int
        The random numbers ``[first, first + count)`` of the noise stream are used.

    Returns
    -------
    list of int, length `count`
    """
    drawn = []
    for n in range(first, first + count):
        x = int(random_u64(random_u64(seed, 1), n))
        slot = (x >> 32) * len(noise) >> 32
        drawn.append(slot if (x & 0xFFFFFFFF) < noise[slot, 0] else int(noise[slot, 1]))
    return drawn
