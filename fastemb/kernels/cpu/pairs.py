"""word2vec.c's arithmetic for skip-gram and CBOW on SIMD vectors; the specification is `kernels/reference/pairs.py`."""

import numpy as np

from fastemb.kernels.cpu.choices import address_of, lists_of
from fastemb.kernels.cpu.options import inline
from fastemb.kernels.cpu.random import random_u64
from fastemb.kernels.cpu.rows import (
    add_row, add_scaled_both, add_scaled_row, dot, fill_row, scale_row,
)  # fmt: skip
from fastemb.kernels.cpu.sentences import draw_noise, keep_words, reach_of
from fastemb.kernels.cpu.simd import (
    BLOCK, W16, add, address, clamp, exp, get_float32, get_int32, get_int64, get_uint8, int32_address, int64_address,
    load, log, mutable_address, put_float32, splat, sub, total, uint8_address, uint32_address, zeros,
)  # fmt: skip

__all__ = ["train_pairs"]

LOSS_LIMIT = np.float32(80)
MOST_DRAWS = 16


@inline
def train_pairs(
    cbow, ids, offsets, start, stop, weight_in, weight_out, subwords, rates, tree, keep, noise, window, shrink_windows,
    negative, alpha, alpha_slope, seed, sigmoid, rule, result, scratch, width,
):  # fmt: skip
    row_bytes = np.int64(4) * weight_in.shape[1]
    text_seed = random_u64(seed, 0)
    num_words = noise.shape[0]
    id_list, keep_list = int32_address(ids, 0), address(keep, 0)
    noise_list = uint32_address(noise.reshape(-1), 0)
    table_in = mutable_address(weight_in.reshape(-1), 0)
    table_out = mutable_address(weight_out.reshape(-1), 0)
    hidden = mutable_address(scratch.hidden.reshape(-1), 0)
    error = hidden + row_bytes
    words, places = int32_address(scratch.words, 0), int64_address(scratch.places, 0)
    logits = mutable_address(scratch.gradients, 0)
    curve = address(sigmoid, 0), np.int64(sigmoid.shape[0]), rule[0], rule[1]
    _, _, saturate, saturate_path, redraw, centre_is_input = rule
    lists, rate_list = lists_of(subwords), address_of(rates)
    if tree is not None:
        points, codes, ends = int32_address(tree[0], 0), uint8_address(tree[1], 0), int64_address(tree[2], 0)
        table_inner = mutable_address(tree[3].reshape(-1), 0)
    loss = 0.0
    waiting = np.int64(0)  # logits whose loss is not yet taken
    pairs = np.int64(0)
    for i in range(start, stop):
        rate = np.float32(alpha + alpha_slope * offsets[i])
        n = keep_words(id_list, offsets[i], offsets[i + 1], keep_list, text_seed, words, places)
        result[2] += n
        for pos in range(n):
            place = get_int64(places, pos)
            target = np.int64(get_int32(words, pos))
            reach = reach_of(text_seed, place, window, shrink_windows)
            first_context, last_context = max(0, pos - reach), min(n, pos + reach + 1)
            draw = place
            for p in range(first_context, last_context if cbow is None else min(last_context, first_context + 1)):
                first, last, left_out = first_context, last_context, pos
                if cbow is None:
                    if p == pos:
                        continue
                    draw = place * (2 * window + 1) + (p - pos + window)
                    first, last, mean, divided = p, p + 1, True, False
                    if centre_is_input:
                        first, last, left_out = pos, pos + 1, p
                        target = np.int64(get_int32(words, p))
                else:
                    if last - first < 2:
                        continue
                    mean, divided = cbow
                number = sum_inputs(table_in, lists, words, first, last, left_out, hidden, row_bytes, width)
                if mean and number > 1:
                    scale_row(hidden, np.float32(1) / np.float32(number), row_bytes, width)
                fill_row(error, row_bytes, width)
                if tree is not None:
                    for k in range(get_int64(ends, target), get_int64(ends, target + 1)):
                        output = table_inner + get_int32(points, k) * row_bytes
                        label = np.float32(1 - np.int64(get_uint8(codes, k)))
                        logit = train_output(hidden, error, output, label, rate, curve, saturate_path, row_bytes, width)
                        loss, waiting = count_loss(logits, waiting, logit, loss)
                        pairs += 1
                for k in range(negative + 1 if negative > 0 else 0):
                    word = target
                    if k > 0:
                        word = draw_negative(noise_list, num_words, seed, draw * negative + k - 1, target, redraw)
                        if word == target:
                            continue
                    label = np.float32(1 if k == 0 else 0)
                    output = table_out + word * row_bytes
                    logit = train_output(hidden, error, output, label, rate, curve, saturate, row_bytes, width)
                    loss, waiting = count_loss(logits, waiting, logit, loss)
                    pairs += 1
                scale = np.float32(1) / np.float32(number) if divided else np.float32(1)
                add_error(table_in, lists, rate_list, words, first, last, left_out, scale, error, row_bytes, width)
    result[0] += loss + softplus_sum(logits, waiting)
    result[1] += pairs


@inline
def sum_inputs(table, lists, words, first, last, left_out, hidden, row_bytes, width):
    """Write the sum of the rows of all words but the one at `left_out`; return how many rows they are."""
    fill_row(hidden, row_bytes, width)
    number = np.int64(0)
    for p in range(first, last):
        if p != left_out:
            word = np.int64(get_int32(words, p))
            if lists is None:
                add_row(hidden, table + word * row_bytes, row_bytes, width)
                number += 1
            else:
                for k in range(get_int64(lists[1], word), get_int64(lists[1], word + 1)):
                    add_row(hidden, table + get_int32(lists[0], k) * row_bytes, row_bytes, width)
                    number += 1
    return number


@inline
def add_error(table, lists, factors, words, first, last, left_out, scale, error, row_bytes, width):
    """Add the scaled error to the rows of all words but the one at `left_out`."""
    scale_row(error, scale, row_bytes, width)
    for p in range(first, last):
        if p != left_out:
            word = np.int64(get_int32(words, p))
            if lists is None:
                add_error_to(table, factors, word, error, row_bytes, width)
            else:
                for k in range(get_int64(lists[1], word), get_int64(lists[1], word + 1)):
                    add_error_to(table, factors, np.int64(get_int32(lists[0], k)), error, row_bytes, width)


@inline
def add_error_to(table, factors, row, error, row_bytes, width):
    if factors is None:
        add_row(table + row * row_bytes, error, row_bytes, width)
    else:
        factor = get_float32(factors, row)
        if factor != np.float32(0):
            add_scaled_row(table + row * row_bytes, error, factor, row_bytes, width)


@inline
def draw_negative(noise_list, num_words, seed, counter, target, redraw):
    """Draw a negative; the output word is drawn again where `redraw` says so."""
    word = draw_noise(noise_list, num_words, random_u64(seed, 1), counter)
    if redraw:
        stream = 2
        while word == target and stream <= MOST_DRAWS:
            word = draw_noise(noise_list, num_words, random_u64(seed, stream), counter)
            stream += 1
    return word


@inline
def train_output(hidden, error, output, label, rate, curve, saturate, row_bytes, width):
    """Train one output; return the logit of its label."""
    logit = dot(hidden, output, row_bytes, width)
    if saturate or not abs(logit) >= curve[2]:
        gradient = (label - table_sigmoid(curve, logit)) * rate
        add_scaled_both(hidden, output, error, gradient, row_bytes, width)
    return logit if label > np.float32(0) else -logit


@inline
def table_sigmoid(curve, logit):
    """Return the table's sigmoid; NaN of NaN, which never becomes a place in the table."""
    table, size, limit, scale = curve
    if not abs(logit) < limit:
        return np.float32(1) if logit > 0 else np.float32(0) if logit < 0 else logit
    return get_float32(table, min(np.int64((np.float64(logit) + limit) * scale), size - 1))


@inline
def count_loss(logits, waiting, logit, loss):
    """Put a logit to those that wait, and take the loss of them all when they fill a vector."""
    put_float32(logits, waiting, logit)
    if waiting + 1 == BLOCK:
        return loss + softplus_sum(logits, np.int64(BLOCK)), np.int64(0)
    return loss, waiting + 1


@inline
def softplus_sum(logits, count):
    """Return the sum of log(1 + exp(-x)) over the first `count` logits of a block; overwrites the others."""
    for k in range(count, BLOCK):
        put_float32(logits, k, LOSS_LIMIT)
    x = clamp(load(logits, W16), LOSS_LIMIT)
    return np.float64(total(log(add(splat(np.float32(1), W16), exp(sub(zeros(W16), x))))))
