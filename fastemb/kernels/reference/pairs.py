"""One output after the other on the tables themselves: word2vec.c's arithmetic, for skip-gram and CBOW.

`train_pairs` differs from `windows.train_windows` in that nothing is lent, output rows change at once, the input's rows
after all of its outputs, every pair of skip-gram has negatives of its own, and the sigmoid is a table with a limit.
"""

import numpy as np

from fastemb.kernels.reference.windows import context_of, draw_noise, kept_words

__all__ = ["LOSS_LIMIT", "MOST_DRAWS", "train_pairs"]

LOSS_LIMIT = 80.0  # most that a pair adds to the loss, so that float32 does not overflow
MOST_DRAWS = 16  # times that a negative which equals the output word is drawn


def train_pairs(
    cbow, ids, offsets, start, stop, weight_in, weight_out, subwords, rates, tree, keep, noise, window, shrink_windows,
    negative, alpha, alpha_slope, seed, sigmoid, rule, result,
):  # fmt: skip
    """Train one input after the other, and each output by itself.

    Parameters
    ----------
    cbow, ids, offsets, start, stop, weight_in, weight_out, subwords, rates, tree, keep, noise, window, shrink_windows
        As for `windows.train_windows`.
    negative, alpha, alpha_slope, seed, result
        The same.
    sigmoid : float32 (size,)
        Values of the sigmoid in equal steps over ``[-limit, limit)``.
    rule : (float, float, bool, bool, bool, bool)
        The limit; the places of the table to a unit of the logit; whether beyond the limit a pair of negative sampling
        is trained with a sigmoid of 0 or 1 rather than skipped, and the same for hierarchical softmax; whether a
        negative that equals the output word is drawn again rather than skipped; whether the input of skip-gram is the
        centre word and the output the context word, rather than the other way round.
    """
    limit, scale, saturate, saturate_path, redraw, centre_is_input = rule
    curve = sigmoid, limit, scale
    for i in range(start, stop):
        rate = np.float32(alpha + alpha_slope * offsets[i])
        words, places = kept_words(ids, offsets[i], offsets[i + 1], keep, seed)
        result[2] += len(words)
        for pos, centre in enumerate(words):
            place = int(places[pos])
            context = context_of(pos, len(words), place, window, shrink_windows, seed)
            for members in [[p] for p in context] if cbow is None else [context] if context else []:
                draw = place if cbow is not None else place * (2 * window + 1) + (members[0] - pos + window)
                target = centre
                if cbow is None and centre_is_input:
                    target, members = words[members[0]], [pos]
                drawn = _negatives(noise, seed, draw * negative, negative, target, redraw)
                rows = [row for p in members for row in _rows_of(subwords, words[p])]
                mean, divided = (True, False) if cbow is None else cbow
                hidden = weight_in[rows].sum(axis=0) / weight_in.dtype.type(len(rows) if mean else 1)
                error = np.zeros_like(hidden)
                for node, label in _path(tree, target):
                    _train_output(hidden, error, tree[3][node], label, rate, curve, saturate_path, result)
                for n, word in enumerate([target, *drawn] if negative else []):
                    if n == 0 or word != target:
                        label = 1.0 if n == 0 else 0.0
                        _train_output(hidden, error, weight_out[word], label, rate, curve, saturate, result)
                for row in rows:
                    own = 1.0 if rates is None else float(rates[row])
                    if own != 0:
                        weight_in[row] += np.float32(own / (len(rows) if divided else 1)) * error


def _rows_of(subwords, word):
    if subwords is None:
        return [word]
    values, offsets = subwords
    return [int(row) for row in values[offsets[word] : offsets[word + 1]]]


def _path(tree, word):
    if tree is None:
        return []
    points, codes, offsets, _ = tree
    return [(points[k], 1.0 - codes[k]) for k in range(offsets[word], offsets[word + 1])]


def _negatives(noise, seed, first, count, target, redraw):
    drawn = draw_noise(noise, seed, first, count)
    for k in range(count):
        for stream in range(2, MOST_DRAWS + 1 if redraw else 2):
            if drawn[k] == target:
                drawn[k] = draw_noise(noise, seed, first + k, 1, stream)[0]
    return drawn


def _train_output(hidden, error, output, label, rate, curve, saturate, result):
    logit = float(hidden @ output)
    result[0] += np.logaddexp(0, min(-logit if label else logit, LOSS_LIMIT))
    result[1] += 1
    if abs(logit) >= curve[1] and not saturate:
        return
    gradient = np.float32((label - _sigmoid(*curve, logit)) * rate)
    error += gradient * output
    output += gradient * hidden


def _sigmoid(sigmoid, limit, scale, logit):
    if not abs(logit) < limit:
        return 1.0 if logit > 0 else 0.0 if logit < 0 else logit
    return float(sigmoid[min(int((logit + limit) * scale), len(sigmoid) - 1)])
