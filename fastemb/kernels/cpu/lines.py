"""What a classifier does with one line of text: its hidden vector, the outputs it meets, gradients, the best labels.

The loops over lines are in `classify.py`; the specification is `kernels/reference/classify.py`. Tables are addresses; a
list of outputs is the addresses of their rows, with a truth and a count each.
"""

import numpy as np

from fastemb.kernels.cpu.options import inline, kernel
from fastemb.kernels.cpu.rows import add_row, fill_row, lend, publish, step_of
from fastemb.kernels.cpu.sentences import draw_noise
from fastemb.kernels.cpu.simd import (
    BLOCK, W16, add, address, clamp, div, exp, fma, get_float32, get_int32, get_int64, load, load_splat, log, mul,
    put_float32, put_int32, put_int64, splat, store, sub, total, totals, where_positive, zeros,
)  # fmt: skip

__all__ = [
    "LOGIT_LIMIT", "OUTPUTS", "add_scaled", "dots_of", "draw_outputs", "end_list", "insert_best", "lend_rows",
    "list_outputs", "mean_of", "publish_rows", "row_of", "sigmoid_gradients", "softmax_gradients", "softmax_of",
    "squash", "train_outputs",
]  # fmt: skip

LOGIT_LIMIT = np.float32(16)
EXPONENT_LIMIT = np.float32(80)
ATTEMPTS = 64
FASTTEXT_LIMIT = np.float32(8)
OUTPUTS = 6  # rows that meet a hidden vector at a time


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
