"""The linear classifier on SIMD vectors; the specification is `kernels/reference/classify.py`.

What makes it fast:

- The hidden vector meets six output rows at a time, whose sums stay in registers, and the probabilities of sixteen
  outputs are one vector. All losses are lists of output rows, with their truths, that one step trains.
- The output rows, and the input rows of the most frequent words, which nearly every line changes, are kept in the
  caller's `scratch` and are added back after `publish_every` lines, so that their cache lines do not travel between
  cores all the time.
"""

from typing import NamedTuple

import numpy as np

from fastemb.kernels.cpu.options import inline, kernel
from fastemb.kernels.cpu.random import random_u64
from fastemb.kernels.cpu.rows import add_row, dot, fill_row, lend, prefetch_row, publish, step_of
from fastemb.kernels.cpu.simd import (
    BLOCK, W16, add, address, clamp, div, exp, fma, get_float32, get_int32, get_int64, int32_address, int64_address,
    load, load_splat, log, mul, mutable_address, put_float32, put_int32, put_int64, splat, store, sub, total, totals,
    uint32_address, where_positive, zeros,
)  # fmt: skip
from fastemb.kernels.cpu.sentences import draw_noise

__all__ = [
    "Scratch", "allocate_scratch", "classify_best", "classify_best_in_tree", "classify_hidden", "classify_scores",
    "classify_train",
]  # fmt: skip

SOFTMAX, ONE_VS_ALL, HIERARCHICAL, NEGATIVE = range(4)
LOGIT_LIMIT = np.float32(16)
EXPONENT_LIMIT = np.float32(80)
ATTEMPTS = 64
FASTTEXT_LIMIT = np.float32(8)
OUTPUTS = 6
AHEAD = 32  # input rows of the next line that are asked for


class Scratch(NamedTuple):
    """What one thread needs beside the tables; `allocate_scratch` makes it."""

    hidden: np.ndarray  # float32 (3, row length): the hidden vector, its gradient, a row of zeros
    rows: np.ndarray  # int64 (places,): the addresses of a line's output rows
    labels: np.ndarray  # int32 (places,): which these are, with negative sampling
    logits: np.ndarray  # float32 (places,): then gradients
    truths: np.ndarray  # float32 (places,)
    counts: np.ndarray  # float32 (places,): how often an output is trained; 0 in empty places
    private: np.ndarray  # float32 (2 * most_private, row length): private rows, then what they were when lent


def allocate_scratch(row_length: int, num_outputs: int, most_private: int = 0) -> Scratch:
    """Return the scratch memory of one thread.

    Parameters
    ----------
    row_length : int
        Floats in a row of the tables, padding included.
    num_outputs : int
        The most outputs that a line is trained with: all labels, a path's nodes, or a target and its negatives.
    most_private : int, default 0
        The largest ``num_private_in + num_private_out`` that it will be used with.
    """
    places = num_outputs + OUTPUTS + 2 * BLOCK
    return Scratch(
        hidden=np.zeros((3, row_length), np.float32),
        rows=np.zeros(places, np.int64),
        labels=np.zeros(places, np.int32),
        logits=np.zeros(places, np.float32),
        truths=np.zeros(places, np.float32),
        counts=np.zeros(places, np.float32),
        private=np.zeros((2 * most_private, row_length), np.float32),
    )


@kernel
def classify_train(
    features, feature_offsets, labels, label_offsets, order, places, start, stop, weight_in, weight_out, loss, points,
    codes, point_offsets, noise, negative, alpha, alpha_slope, seed, result, scratch, num_private_in, num_private_out,
    publish_every, width=W16,
):  # fmt: skip
    row_bytes = np.int64(4) * weight_in.shape[1]
    target_seed, noise_seed = random_u64(seed, 0), random_u64(seed, 1)
    num_labels = weight_out.shape[0]
    feature_list, label_list = int32_address(features, 0), int32_address(labels, 0)
    noise_list = uint32_address(noise.reshape(-1), 0)
    table_in, table_out = mutable_address(weight_in.reshape(-1), 0), mutable_address(weight_out.reshape(-1), 0)
    hidden = mutable_address(scratch.hidden.reshape(-1), 0)
    error, zero_row = hidden + row_bytes, hidden + 2 * row_bytes
    rows, drawn = int64_address(scratch.rows, 0), int32_address(scratch.labels, 0)
    logits, truths = mutable_address(scratch.logits, 0), mutable_address(scratch.truths, 0)
    counts = mutable_address(scratch.counts, 0)
    private_in = mutable_address(scratch.private.reshape(-1), 0)
    private_out = private_in + 2 * num_private_in * row_bytes
    lend_rows(table_in, private_in, num_private_in, row_bytes, width)
    lend_rows(table_out, private_out, num_private_out, row_bytes, width)
    n = np.int64(0)
    if loss in (SOFTMAX, ONE_VS_ALL):
        n = num_labels
        for k in range(n):
            put_int64(rows, k, row_of(k, table_out, private_out, num_private_out, row_bytes))
            put_float32(counts, k, np.float32(1))
            put_float32(truths, k, np.float32(0))
        end_list(rows, counts, n, zero_row)
    loss_sum, trained = 0.0, np.int64(0)
    for p in range(start, stop):
        line = order[p]
        rate = np.float32(alpha + alpha_slope * places[p])
        first, last = feature_offsets[line], feature_offsets[line + 1]
        first_label, num_wanted = label_offsets[line], label_offsets[line + 1] - label_offsets[line]
        if p + 1 < stop:
            ahead = feature_offsets[order[p + 1]]
            for j in range(ahead, min(ahead + AHEAD, feature_offsets[order[p + 1] + 1])):
                prefetch_row(table_in + get_int32(feature_list, j) * row_bytes, row_bytes, width)
        if first == last or num_wanted == 0:
            continue
        chosen = np.int64(((random_u64(target_seed, line) >> np.uint64(32)) * np.uint64(num_wanted)) >> np.uint64(32))
        target = np.int64(get_int32(label_list, first_label + chosen))
        mean_of(hidden, feature_list, first, last, table_in, private_in, num_private_in, row_bytes, width)
        if loss == ONE_VS_ALL:
            for j in range(num_wanted):
                put_float32(truths, get_int32(label_list, first_label + j), np.float32(1))
        elif loss == SOFTMAX:
            put_float32(truths, target, np.float32(1))
        elif loss == HIERARCHICAL:
            n = point_offsets[target + 1] - point_offsets[target]
            for k in range(n):
                node = points[point_offsets[target] + k]
                put_int64(rows, k, row_of(np.int64(node), table_out, private_out, num_private_out, row_bytes))
                put_float32(truths, k, np.float32(codes[point_offsets[target] + k]))
                put_float32(counts, k, np.float32(1))
            end_list(rows, counts, n, zero_row)
        else:
            n = draw_outputs(drawn, truths, counts, target, line, noise_list, num_labels, noise_seed, negative)
            for k in range(n):
                label = np.int64(get_int32(drawn, k))
                put_int64(rows, k, row_of(label, table_out, private_out, num_private_out, row_bytes))
            end_list(rows, counts, n, zero_row)
        dots_of(logits, hidden, rows, n, row_bytes, width)
        if loss == SOFTMAX:
            loss_sum += softmax_gradients(logits, truths, n, target, rate)
        else:
            loss_sum += sigmoid_gradients(logits, truths, counts, n, rate)
        train_outputs(logits, hidden, error, rows, n, row_bytes, width)
        if loss == ONE_VS_ALL:
            for j in range(num_wanted):
                put_float32(truths, get_int32(label_list, first_label + j), np.float32(0))
        elif loss == SOFTMAX:
            put_float32(truths, target, np.float32(0))
        share = np.float32(1) / np.float32(last - first)
        for j in range(first, last):
            feature = np.int64(get_int32(feature_list, j))
            add_scaled(row_of(feature, table_in, private_in, num_private_in, row_bytes), error, share, row_bytes, width)
        trained += 1
        if num_private_in + num_private_out > 0 and trained % publish_every == 0:
            publish_rows(table_in, private_in, num_private_in, row_bytes, width)
            publish_rows(table_out, private_out, num_private_out, row_bytes, width)
    publish_rows(table_in, private_in, num_private_in, row_bytes, width)
    publish_rows(table_out, private_out, num_private_out, row_bytes, width)
    result[0] += loss_sum
    result[1] += trained


@inline
def row_of(number, table, private, num_private, row_bytes):
    """Return the address of a row: that of the private copy if there is one."""
    return (private if number < num_private else table) + number * row_bytes


@inline
def lend_rows(table, private, num_private, row_bytes, width):
    for k in range(num_private):
        row = private + k * row_bytes
        lend(table + k * row_bytes, row, row + num_private * row_bytes, row_bytes, width)


@kernel
def publish_rows(table, private, num_private, row_bytes, width):
    for k in range(num_private):
        row = private + k * row_bytes
        publish(table + k * row_bytes, row, row + num_private * row_bytes, row_bytes, width)


@inline
def end_list(rows, counts, n, zero_row):
    """Fill a list of outputs up to whole blocks with the row of zeros."""
    for k in range(n, n + BLOCK):
        put_float32(counts, k, np.float32(0))
    for k in range(n, n + OUTPUTS):
        put_int64(rows, k, zero_row)


@inline
def draw_outputs(drawn, truths, counts, target, line, noise_list, num_labels, noise_seed, negative):
    """List the target and its negatives, one drawn twice once; return how many there are."""
    put_int32(drawn, 0, np.int32(target))
    put_float32(truths, 0, np.float32(1))
    put_float32(counts, 0, np.float32(1))
    n = np.int64(1)
    for k in range(negative if num_labels > 1 else 0):
        label = target
        for attempt in range(ATTEMPTS):
            if label == target:
                label = draw_noise(noise_list, num_labels, noise_seed, (line * negative + k) * ATTEMPTS + attempt)
        if label == target:
            label = (target + 1) % num_labels
        at = n
        for j in range(1, n):
            if get_int32(drawn, j) == label:
                at = j
        if at == n:
            put_int32(drawn, n, np.int32(label))
            put_float32(truths, n, np.float32(0))
            put_float32(counts, n, np.float32(0))
            n += 1
        put_float32(counts, at, get_float32(counts, at) + np.float32(1))
    return n


@kernel
def mean_of(hidden, feature_list, first, last, table, private, num_private, row_bytes, width):
    """hidden = the mean of input rows, 0 of none."""
    fill_row(hidden, row_bytes, width)
    for j in range(first, last, 4):
        x0 = feature_row(feature_list, j, last, table, private, num_private, row_bytes)
        x1 = feature_row(feature_list, j + 1, last, table, private, num_private, row_bytes)
        x2 = feature_row(feature_list, j + 2, last, table, private, num_private, row_bytes)
        x3 = feature_row(feature_list, j + 3, last, table, private, num_private, row_bytes)
        if j + 4 <= last:
            for c in range(0, row_bytes, step_of(width)):
                sums = add(add(load(x0 + c, width), load(x1 + c, width)), add(load(x2 + c, width), load(x3 + c, width)))
                store(hidden + c, add(load(hidden + c, width), sums))
            continue
        add_row(hidden, x0, row_bytes, width)
        if j + 1 < last:
            add_row(hidden, x1, row_bytes, width)
        if j + 2 < last:
            add_row(hidden, x2, row_bytes, width)
    share = splat(np.float32(1) / np.float32(max(1, last - first)), width)
    for c in range(0, row_bytes, step_of(width)):
        store(hidden + c, mul(load(hidden + c, width), share))


@inline
def feature_row(feature_list, j, last, table, private, num_private, row_bytes):
    """Return the address of the input row of feature `j`, of the last one beyond the end."""
    feature = np.int64(get_int32(feature_list, min(j, last - 1)))
    return row_of(feature, table, private, num_private, row_bytes)


@inline
def add_scaled(row, change, factor, row_bytes, width):
    """row += factor * change."""
    g = splat(factor, width)
    for c in range(0, row_bytes, step_of(width)):
        store(row + c, fma(g, load(change + c, width), load(row + c, width)))


@kernel
def dots_of(logits, hidden, rows, n, row_bytes, width):
    """Write the inner products of a row with `n` others, whose list goes on for `OUTPUTS` places."""
    step = step_of(width)
    zero = zeros(width)
    # fmt: off
    for k in range(0, n, OUTPUTS):
        p0, p1, p2 = get_int64(rows, k), get_int64(rows, k + 1), get_int64(rows, k + 2)
        p3, p4, p5 = get_int64(rows, k + 3), get_int64(rows, k + 4), get_int64(rows, k + 5)
        a0 = zero; a1 = zero; a2 = zero; a3 = zero; a4 = zero; a5 = zero
        for c in range(0, row_bytes, step):
            v = load(hidden + c, width)
            a0 = fma(v, load(p0 + c, width), a0); a1 = fma(v, load(p1 + c, width), a1)
            a2 = fma(v, load(p2 + c, width), a2); a3 = fma(v, load(p3 + c, width), a3)
            a4 = fma(v, load(p4 + c, width), a4); a5 = fma(v, load(p5 + c, width), a5)
        store(logits + 4 * k, totals((a0, a1, a2, a3, a4, a5)))
    # fmt: on


@inline
def softmax_of(logits, n):
    """Replace `n` logits by their exponentials over the largest one's; return the largest and the sum."""
    largest = splat(get_float32(logits, 0), W16)
    for k in range(n, n + BLOCK):
        put_float32(logits, k, get_float32(logits, 0))
    for k in range(0, n, BLOCK):
        x = load(logits + 4 * k, W16)
        largest = where_positive(sub(x, largest), x, largest)
    store(logits + 4 * n, largest)
    most = get_float32(logits, 0)
    for k in range(n, n + BLOCK):
        most = max(most, get_float32(logits, k))
        put_float32(logits, k, most - np.float32(1e9))  # adds nothing to the sum
    sums = zeros(W16)
    for k in range(0, n, BLOCK):
        e = exp(clamp(sub(load(logits + 4 * k, W16), splat(most, W16)), EXPONENT_LIMIT))
        store(logits + 4 * k, e)
        sums = add(sums, e)
    return most, total(sums)


@inline
def softmax_gradients(logits, truths, n, target, rate):
    """Turn logits into gradients of the softmax; return the loss."""
    wanted = get_float32(logits, target)
    most, norm = softmax_of(logits, n)
    scale = splat(np.float32(1) / norm, W16)
    for k in range(0, n, BLOCK):
        p = mul(load(logits + 4 * k, W16), scale)
        store(logits + 4 * k, mul(sub(load(truths + 4 * k, W16), p), splat(rate, W16)))
    return np.log(np.float64(norm)) + np.float64(most) - np.float64(wanted)


@inline
def sigmoid_gradients(logits, truths, counts, n, rate):
    """Turn logits into gradients of the sigmoids; return the loss."""
    one = splat(np.float32(1), W16)
    losses = zeros(W16)
    for k in range(0, n, BLOCK):
        truth, count = load(truths + 4 * k, W16), load(counts + 4 * k, W16)
        sign = sub(add(truth, truth), one)
        z = clamp(mul(sign, load(logits + 4 * k, W16)), LOGIT_LIMIT)
        others = exp(sub(zeros(W16), z))
        likelihood = div(one, add(one, others))
        gradient = mul(mul(sign, splat(rate, W16)), mul(others, likelihood))
        inside = where_positive(count, one, zeros(W16))
        store(logits + 4 * k, where_positive(inside, mul(count, gradient), zeros(W16)))
        losses = sub(losses, where_positive(inside, mul(count, log(likelihood)), zeros(W16)))
    return np.float64(total(losses))


@kernel
def train_outputs(gradients, hidden, error, rows, n, row_bytes, width):
    """error = the sum of gradient * row; then every row += gradient * hidden."""
    step = step_of(width)
    fill_row(error, row_bytes, width)
    for k in range(n, n + OUTPUTS):
        put_float32(gradients, k, np.float32(0))
    # fmt: off
    for k in range(0, n, OUTPUTS):
        p0, p1, p2 = get_int64(rows, k), get_int64(rows, k + 1), get_int64(rows, k + 2)
        p3, p4, p5 = get_int64(rows, k + 3), get_int64(rows, k + 4), get_int64(rows, k + 5)
        g = gradients + 4 * k
        g0 = load_splat(g, width); g1 = load_splat(g + 4, width); g2 = load_splat(g + 8, width)
        g3 = load_splat(g + 12, width); g4 = load_splat(g + 16, width); g5 = load_splat(g + 20, width)
        for c in range(0, row_bytes, step):
            v = load(hidden + c, width)
            u0 = load(p0 + c, width); u1 = load(p1 + c, width); u2 = load(p2 + c, width)
            u3 = load(p3 + c, width); u4 = load(p4 + c, width); u5 = load(p5 + c, width)
            even = fma(g0, u0, load(error + c, width)); odd = mul(g1, u1)
            even = fma(g2, u2, even); odd = fma(g3, u3, odd)
            even = fma(g4, u4, even); odd = fma(g5, u5, odd)
            store(error + c, add(even, odd))
            store(p0 + c, fma(g0, v, u0)); store(p1 + c, fma(g1, v, u1)); store(p2 + c, fma(g2, v, u2))
            store(p3 + c, fma(g3, v, u3)); store(p4 + c, fma(g4, v, u4)); store(p5 + c, fma(g5, v, u5))
    # fmt: on


@kernel
def classify_hidden(features, feature_offsets, weight_in, out, start, stop, width=W16):
    row_bytes = np.int64(4) * weight_in.shape[1]
    feature_list, table = int32_address(features, 0), address(weight_in.reshape(-1), 0)
    vectors = mutable_address(out.reshape(-1), 0)
    for i in range(start, stop):
        first, last = feature_offsets[i], feature_offsets[i + 1]
        if i + 1 < stop:
            for j in range(last, min(last + AHEAD, feature_offsets[i + 2])):
                prefetch_row(table + get_int32(feature_list, j) * row_bytes, row_bytes, width)
        mean_of(vectors + i * row_bytes, feature_list, first, last, table, table, np.int64(0), row_bytes, width)


@inline
def list_outputs(rows, weight_out, n, row_bytes):
    """List all output rows; the last one fills the list up."""
    table = address(weight_out.reshape(-1), 0)
    for k in range(n + OUTPUTS):
        put_int64(rows, k, table + min(k, n - 1) * row_bytes)


@kernel
def squash(logits, n, sigmoid):
    """Turn logits into probabilities by the sigmoid, or fastText's table of it."""
    cells = sigmoid.shape[0] - 1
    if cells < 0:
        one = splat(np.float32(1), W16)
        for k in range(0, n, BLOCK):
            z = clamp(load(logits + 4 * k, W16), LOGIT_LIMIT)
            store(logits + 4 * k, div(one, add(one, exp(sub(zeros(W16), z)))))
        return
    scale = np.float32(cells) / (2 * FASTTEXT_LIMIT)
    for k in range(n):
        x = get_float32(logits, k)
        if abs(x) <= FASTTEXT_LIMIT:
            put_float32(logits, k, sigmoid[np.int64((x + FASTTEXT_LIMIT) * scale)])
        elif x == x:
            put_float32(logits, k, np.float32(1) if x > 0 else np.float32(0))


@kernel
def classify_scores(
    hidden, weight_out, loss, points, codes, point_offsets, sigmoid, raw, out, start, stop, scratch, width=W16
):
    row_bytes = np.int64(4) * weight_out.shape[1]
    n = weight_out.shape[0]
    rows, logits = int64_address(scratch.rows, 0), mutable_address(scratch.logits, 0)
    list_outputs(rows, weight_out, n, row_bytes)
    vectors = address(hidden.reshape(-1), 0)
    for i in range(start, stop):
        dots_of(logits, vectors + i * row_bytes, rows, n, row_bytes, width)
        if loss == HIERARCHICAL:
            squash(logits, n, sigmoid)
            for label in range(n):
                product = np.float32(1)
                for j in range(point_offsets[label], point_offsets[label + 1]):
                    right = get_float32(logits, np.int64(points[j]))
                    product *= right if codes[j] == 1 else np.float32(1) - right
                out[i, label] = np.log(product) if raw else product
            continue
        scale = np.float32(1)
        if not raw and loss == SOFTMAX:
            _, norm = softmax_of(logits, n)
            scale = np.float32(1) / norm
        elif not raw:
            squash(logits, n, sigmoid)
        for label in range(n):
            out[i, label] = get_float32(logits, label) * scale


@kernel
def classify_best(hidden, weight_out, loss, sigmoid, threshold, labels, probabilities, start, stop, scratch, width=W16):
    row_bytes = np.int64(4) * weight_out.shape[1]
    n = weight_out.shape[0]
    most = labels.shape[1]
    rows, logits = int64_address(scratch.rows, 0), mutable_address(scratch.logits, 0)
    list_outputs(rows, weight_out, n, row_bytes)
    vectors = address(hidden.reshape(-1), 0)
    for i in range(start, stop):
        dots_of(logits, vectors + i * row_bytes, rows, n, row_bytes, width)
        count = np.int64(0)
        for label in range(n):
            count = insert_best(labels, probabilities, i, count, most, label, get_float32(logits, label))
        norm = np.float32(1)
        if loss == SOFTMAX:
            _, norm = softmax_of(logits, n)
        else:
            squash(logits, n, sigmoid)
        kept = np.int64(0)
        for k in range(count):
            p = get_float32(logits, np.int64(labels[i, k])) / norm
            if p >= threshold:
                labels[i, kept], probabilities[i, kept] = labels[i, k], p
                kept += 1
        for k in range(kept, most):
            labels[i, k], probabilities[i, k] = -1, 0


@kernel
def classify_best_in_tree(
    hidden, weight_out, children, threshold, labels, probabilities, start, stop, scratch, width=W16
):
    row_bytes = np.int64(4) * weight_out.shape[1]
    most = labels.shape[1]
    # Branches that are still to be searched: nodes, and the probability to reach them.
    nodes, reach = int32_address(scratch.labels, 0), mutable_address(scratch.logits, 0)
    table, vectors = address(weight_out.reshape(-1), 0), address(hidden.reshape(-1), 0)
    for i in range(start, stop):
        count = np.int64(0)
        put_int32(nodes, 0, np.int32(children.shape[0] - 1))  # ~label 0 where there is no inner node
        put_float32(reach, 0, np.float32(1))
        left = np.int64(1)
        while left > 0:
            left -= 1
            node, probability = np.int64(get_int32(nodes, left)), get_float32(reach, left)
            if probability < threshold or (count == most and not probability >= probabilities[i, count - 1]):
                continue
            if node < 0:
                count = insert_best(labels, probabilities, i, count, most, ~node, probability)
                continue
            logit = dot(vectors + i * row_bytes, table + node * row_bytes, row_bytes, width)
            logit = min(max(logit, -LOGIT_LIMIT), LOGIT_LIMIT)
            right = np.float32(1) / (np.float32(1) + np.float32(np.exp(-np.float64(logit))))
            likely = 1 if logit > 0 else 0
            for turn in range(2):  # the likely child is put last, and taken first
                code = likely if turn == 1 else 1 - likely
                put_int32(nodes, left, children[node, code])
                put_float32(reach, left, probability * (right if code == 1 else np.float32(1) - right))
                left += 1
        for k in range(count, most):
            labels[i, k], probabilities[i, k] = -1, 0


@inline
def insert_best(labels, scores, i, count, most, label, score):
    """Put a label into a list of the best, the smaller number first among equals; return the list's length."""
    at = count if count < most else most - 1
    if count == most and not comes_before(score, label, scores[i, at], labels[i, at]):
        return count
    while at > 0 and comes_before(score, label, scores[i, at - 1], labels[i, at - 1]):
        labels[i, at], scores[i, at] = labels[i, at - 1], scores[i, at - 1]
        at -= 1
    labels[i, at], scores[i, at] = label, score
    return min(count + 1, most)


@inline
def comes_before(score, label, other_score, other_label):
    return score > other_score or (score == other_score and label < other_label)
