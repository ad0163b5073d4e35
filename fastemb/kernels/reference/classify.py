"""A linear classifier of bags of features (Joulin et al. 2017, "Bag of Tricks for Efficient Text Classification").

The specification of `kernels/cpu/classify.py`: obvious and slow. The hidden vector of a line is the mean of the input
rows of its features (words, subwords, word n-grams), and an output row a label (an inner node of Huffman's tree for the
hierarchical softmax) gives its inner product with it, the logit.

Every random number is a function of `seed` and of the number of a line, so what is trained does not depend on how the
lines are handed out.
"""

import numpy as np

from fastemb.kernels.reference.random import random_u64
from fastemb.kernels.reference.windows import draw_noise

__all__ = [
    "ATTEMPTS", "HIERARCHICAL", "LOGIT_LIMIT", "NEGATIVE", "ONE_VS_ALL", "SOFTMAX", "classify_best",
    "classify_best_in_tree", "classify_hidden", "classify_scores", "classify_train",
]  # fmt: skip

SOFTMAX, ONE_VS_ALL, HIERARCHICAL, NEGATIVE = range(4)
LOGIT_LIMIT = 16.0  # |logit| beyond which a sigmoid is that of the limit
EXPONENT_LIMIT = 80.0  # how far a logit counts below the largest one in a softmax
ATTEMPTS = 64  # draws of a negative, before the label after the target's is taken
FASTTEXT_LIMIT = 8.0  # of fastText's table of the sigmoid: 0 below -8, 1 above 8


def classify_train(
    features, feature_offsets, labels, label_offsets, order, places, start, stop, weight_in, weight_out, loss, points,
    codes, point_offsets, noise, negative, alpha, alpha_slope, seed, result,
):  # fmt: skip
    """Take one step of gradient descent with each line, one after the other.

    fastText's arithmetic: the input rows get the gradient of the mean, divided by the number of features. One of a
    line's labels, drawn at random, is the target; with `ONE_VS_ALL` all of them are. Lines without features or labels
    are passed over.

    Parameters
    ----------
    features : int32 (num_features,)
        Rows of `weight_in`; line i has ``features[feature_offsets[i]:feature_offsets[i + 1]]``.
    feature_offsets : int64 (num_lines + 1,)
    labels : int32 (num_line_labels,)
        In the same way, the labels of the lines.
    label_offsets : int64 (num_lines + 1,)
    order : int64 (num_lines,)
        Lines in the order in which they are trained.
    places : int64 (num_lines + 1,)
        How much of the epoch is done before each line of `order`, in any unit.
    start, stop : int
        The range of `order`.
    weight_in : float32 (num_rows, row length)
    weight_out : float32 (num_labels, row length)
        Changed in place. Columns beyond the vector size hold zeros and stay so. With `HIERARCHICAL` the row of an inner
        node; the last row is not used.
    loss : int
        `SOFTMAX`, `ONE_VS_ALL`, `HIERARCHICAL` or `NEGATIVE`.
    points, codes, point_offsets : int32, uint8 (sum of the paths' lengths,), int64 (num_labels + 1,)
        Huffman's tree with `HIERARCHICAL`, see `engine.huffman`. A step to the second child is label 1.
    noise : uint32 (num_labels, 2)
        Alias table of the negatives with `NEGATIVE`, see `windows.draw_noise`.
    negative : int
        Negatives a line; one that is the target is drawn again.
    alpha, alpha_slope : float
        The learning rate of line ``order[p]`` is ``alpha + alpha_slope * places[p]``.
    seed : int
        Of this epoch's random numbers.
    result : float64 (2,)
        Added to: the loss summed over lines, and the number of lines trained.
    """
    for p in range(start, stop):
        line = int(order[p])
        rate = np.float32(alpha + alpha_slope * places[p])
        bag = features[feature_offsets[line] : feature_offsets[line + 1]]
        wanted = labels[label_offsets[line] : label_offsets[line + 1]]
        if len(bag) == 0 or len(wanted) == 0:
            continue
        hidden = weight_in[bag].sum(axis=0) / weight_in.dtype.type(len(bag))
        target = int(wanted[(int(random_u64(random_u64(seed, 0), line)) >> 32) * len(wanted) >> 32])
        if loss == HIERARCHICAL:
            path = slice(point_offsets[target], point_offsets[target + 1])
            rows, truth, count = points[path], codes[path].astype(np.float64), 1.0
        elif loss == NEGATIVE:
            drawn = _draw_negatives(noise, seed, line, negative, target)
            negatives, count = np.unique(drawn, return_counts=True)  # one drawn twice is trained once, twice as much
            rows = np.array([target, *negatives], np.int64)
            truth, count = (np.arange(len(rows)) == 0).astype(float), np.array([1.0, *count])
        else:
            rows, count = np.arange(len(weight_out)), 1.0
            truth = np.isin(rows, wanted if loss == ONE_VS_ALL else target).astype(np.float64)
        outputs = weight_out[rows]
        logits = outputs.astype(np.float64) @ hidden
        probability, losses = _softmax(logits, target) if loss == SOFTMAX else _sigmoid(logits, truth)
        gradient = (rate * count * (truth - probability)).astype(weight_in.dtype)
        result += np.sum(count * losses), 1
        weight_out[rows] += np.outer(gradient, hidden)
        np.add.at(weight_in, bag, gradient @ outputs / len(bag))


def _softmax(logits, target):
    exponents = np.exp(np.maximum(logits - logits.max(), -EXPONENT_LIMIT))
    probability = exponents / exponents.sum()
    return probability, np.log(exponents.sum()) + logits.max() - logits[target]


def _sigmoid(logits, truth):
    sign = 2 * truth - 1
    others = np.exp(-np.clip(sign * logits, -LOGIT_LIMIT, LOGIT_LIMIT))
    return truth - sign * others / (1 + others), np.log1p(others)


def _draw_negatives(noise, seed, line, negative, target):
    """Draw labels other than the target; none if there is no other."""
    drawn = []
    for n in range(line * negative, (line + 1) * negative if len(noise) > 1 else 0):
        attempts = draw_noise(noise, seed, n * ATTEMPTS, ATTEMPTS)
        drawn.append(next((label for label in attempts if label != target), (target + 1) % len(noise)))
    return drawn


def classify_hidden(features, feature_offsets, weight_in, out, start, stop):
    """Write the hidden vectors of lines ``[start, stop)``: the mean of their features' rows, 0 where there are none.

    Parameters
    ----------
    features, feature_offsets, weight_in
        As for `classify_train`.
    out : float32 (num_lines, row length)
    """
    for i in range(start, stop):
        bag = features[feature_offsets[i] : feature_offsets[i + 1]]
        out[i] = weight_in[bag].sum(axis=0) / max(1, len(bag))


def classify_scores(hidden, weight_out, loss, points, codes, point_offsets, sigmoid, raw, out, start, stop):
    """Write the probability, or the logit, of every label for hidden vectors ``[start, stop)``.

    Parameters
    ----------
    hidden : float32 (num_lines, row length)
    weight_out, loss, points, codes, point_offsets
        As for `classify_train`. With `HIERARCHICAL` a label's probability is the product along its path.
    sigmoid : float32 (num_cells + 1,) or (0,)
        fastText's table of the sigmoid over [-8, 8], which its one-vs-all and negative sampling predict with; empty for
        the function itself.
    raw : bool
        Write logits instead (the logarithm of the probability with `HIERARCHICAL`).
    out : float32 (num_lines, num_labels)
    """
    for i in range(start, stop):
        logits = weight_out @ hidden[i]
        if loss == HIERARCHICAL:
            for label in range(out.shape[1]):
                path = slice(point_offsets[label], point_offsets[label + 1])
                right = _squash(logits[points[path]], np.zeros(0))
                product = np.prod(np.where(codes[path] == 1, right, 1 - right))
                out[i, label] = np.log(product) if raw else product
        elif raw:
            out[i] = logits
        else:
            out[i] = _softmax(logits, 0)[0] if loss == SOFTMAX else _squash(logits, sigmoid)


def _squash(logits, table):
    if len(table) == 0:
        return 1 / (1 + np.exp(-np.clip(logits, -LOGIT_LIMIT, LOGIT_LIMIT)))
    inside = np.clip(np.nan_to_num(logits), -FASTTEXT_LIMIT, FASTTEXT_LIMIT)
    cells = ((inside + FASTTEXT_LIMIT) * ((len(table) - 1) / (2 * FASTTEXT_LIMIT))).astype(np.int64)
    known = np.where(np.abs(logits) > FASTTEXT_LIMIT, logits > 0, table[cells])
    return np.where(np.isnan(logits), np.nan, known)


def classify_best(hidden, weight_out, loss, sigmoid, threshold, labels, probabilities, start, stop):
    """Write the most probable labels of hidden vectors ``[start, stop)``, the best first; not for `HIERARCHICAL`.

    Parameters
    ----------
    hidden, weight_out, loss, sigmoid
        As for `classify_scores`.
    threshold : float
        Labels below this probability are left out.
    labels : int32 (num_lines, k)
        -1 where there are no more labels. Of labels of one logit the one with the smaller number comes first.
    probabilities : float32 (num_lines, k)
        0 where there are no more labels.
    """
    none = np.zeros(0)
    out = np.zeros((len(hidden), len(weight_out)), np.float32)
    logits = np.zeros_like(out)
    classify_scores(hidden, weight_out, loss, none, none, none, sigmoid, False, out, start, stop)
    classify_scores(hidden, weight_out, loss, none, none, none, sigmoid, True, logits, start, stop)
    for i in range(start, stop):
        _write_best(out[i], np.argsort(-logits[i], kind="stable"), threshold, labels[i], probabilities[i])


def classify_best_in_tree(hidden, weight_out, children, threshold, labels, probabilities, start, stop):
    """Write the most probable labels of hidden vectors ``[start, stop)`` with `HIERARCHICAL`.

    The CPU's kernel leaves out branches of the tree that cannot hold one of the best.

    Parameters
    ----------
    hidden, weight_out, threshold, labels, probabilities
        As for `classify_best`.
    children : int32 (num_labels - 1, 2)
        What follows each inner node by its code: another inner node, or ``~label``. The last node is the root.
    """
    for i in range(start, stop):
        right = _squash(weight_out[: len(children)] @ hidden[i], np.zeros(0))
        scores = np.ones(len(weight_out), np.float32)
        reached = [(len(children) - 1, 1.0)] if len(children) else []
        while reached:
            node, probability = reached.pop()
            for child, share in zip(children[node], (1 - right[node], right[node]), strict=True):
                if child < 0:
                    scores[~child] = probability * share
                else:
                    reached.append((child, probability * share))
        _write_best(scores, np.argsort(-scores, kind="stable"), threshold, labels[i], probabilities[i])


def _write_best(scores, ranked, threshold, labels, probabilities):
    labels[:], probabilities[:] = -1, 0
    best = [label for label in ranked if scores[label] >= threshold][: len(labels)]
    labels[: len(best)], probabilities[: len(best)] = best, scores[best]
