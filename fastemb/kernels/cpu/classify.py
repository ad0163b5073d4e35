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

from fastemb.kernels.cpu.lines import (
    LOGIT_LIMIT, OUTPUTS, add_scaled, dots_of, draw_outputs, end_list, insert_best, lend_rows, list_outputs, mean_of,
    publish_rows, row_of, sigmoid_gradients, softmax_gradients, softmax_of, squash, train_outputs,
)  # fmt: skip
from fastemb.kernels.cpu.options import kernel
from fastemb.kernels.cpu.random import random_u64
from fastemb.kernels.cpu.rows import dot, prefetch_row
from fastemb.kernels.cpu.simd import (
    BLOCK, W16, address, get_float32, get_int32, int32_address, int64_address, mutable_address, put_float32, put_int32,
    put_int64, uint32_address,
)  # fmt: skip

__all__ = [
    "Scratch", "allocate_scratch", "classify_best", "classify_best_in_tree", "classify_hidden", "classify_scores",
    "classify_train",
]  # fmt: skip

SOFTMAX, ONE_VS_ALL, HIERARCHICAL, NEGATIVE = range(4)
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
