"""The fast modes of skip-gram and CBOW on SIMD vectors; the specification is `kernels/reference/windows.py`.

What makes it fast:

- A window's inputs meet six output rows at a time: see `blocks`.
- Input rows are trained in a ring of private copies that stays in the first-level cache. The shared table sees one
  addition per word of text (or per subword of it), not one per window that the word is in.
- The most used output rows, `num_private` in each table, are kept in the caller's `scratch` and are added back after
  `publish_every` uses, so that their cache lines do not travel between cores all the time.
- Negatives are drawn, and rows prefetched, one window ahead.
"""

import numpy as np

from fastemb.kernels.cpu.blocks import add_change, combine, train_block
from fastemb.kernels.cpu.choices import address_of, given, lists_of, unless
from fastemb.kernels.cpu.lending import give_back_rest, move_window, prefetch_input
from fastemb.kernels.cpu.options import inline
from fastemb.kernels.cpu.outputs import (
    choose_noise, choose_path, draw_negatives, give_back_private, kind_of, lend_private, output_row, prefetch_path,
    touch_rows,
)  # fmt: skip
from fastemb.kernels.cpu.random import random_u64
from fastemb.kernels.cpu.rows import prefetch_row
from fastemb.kernels.cpu.scratch import OUTPUTS, SINGLE
from fastemb.kernels.cpu.sentences import keep_words, reach_of
from fastemb.kernels.cpu.simd import (
    address, get_float32, get_int32, get_int64, int32_address, int64_address, mutable_address, put_float32, put_int64,
    uint8_address, uint32_address,
)  # fmt: skip

__all__ = ["train_windows"]


@inline
def train_windows(
    cbow, ids, offsets, start, stop, weight_in, weight_out, subwords, rates, tree, keep, noise, window, shrink_windows,
    negative, alpha, alpha_slope, seed, staleness, result, scratch, num_private, publish_every, width,
):  # fmt: skip
    row_bytes = np.int64(4) * weight_in.shape[1]
    text_seed, noise_seed = random_u64(seed, 0), random_u64(seed, 1)
    num_words = noise.shape[0]
    id_list, keep_list = int32_address(ids, 0), address(keep, 0)
    noise_list = uint32_address(noise.reshape(-1), 0)
    table_in = mutable_address(weight_in.reshape(-1), 0)
    lent, shares = mutable_address(scratch.lent.reshape(-1), 0), mutable_address(scratch.shares, 0)
    ring = scratch.lent.shape[0] // 2
    words, places = int32_address(scratch.words, 0), int64_address(scratch.places, 0)
    negatives, block = int32_address(scratch.negatives, 0), int32_address(scratch.block, 0)
    outputs, context = int64_address(scratch.outputs, 0), int64_address(scratch.context, 0)
    counts = mutable_address(scratch.context_shares, 0)
    factors = counts + np.int64(8) * window
    coefficients, gradients = mutable_address(scratch.coefficients, 0), mutable_address(scratch.gradients, 0)
    hidden = mutable_address(scratch.hidden.reshape(-1), 0)
    zero_row = mutable_address(scratch.zero, 0)
    touches = int32_address(scratch.touches, 0)
    num_out = num_private if negative > 0 else 0
    rows_out = (
        mutable_address(weight_out.reshape(-1), 0), mutable_address(scratch.private.reshape(-1), 0), np.int64(0),
        np.int64(num_out), row_bytes, zero_row,
    )  # fmt: skip
    lend_private(rows_out, touches, width)
    lists, rate_list = lists_of(subwords), address_of(rates)
    if tree is not None:
        path = int32_address(tree[0], 0), uint8_address(tree[1], 0), int64_address(tree[2], 0)
        num_inner = np.int64(min(num_private, tree[3].shape[0]))
        inner_touches = touches + 2 * scratch.touches.shape[0]
        rows_inner = (
            mutable_address(tree[3].reshape(-1), 0), mutable_address(scratch.private_inner.reshape(-1), 0),
            tree[3].shape[0] - num_inner, num_inner, row_bytes, zero_row,
        )  # fmt: skip
        lend_private(rows_inner, inner_touches, width)
    in_turn = unless(cbow, ())  # one input needs no other code than that of negative sampling
    loss = 0.0
    pairs = np.int64(0)
    for i in range(start, stop):
        rate = np.float32(alpha + alpha_slope * offsets[i])
        n = keep_words(id_list, offsets[i], offsets[i + 1], keep_list, text_seed, words, places)
        result[2] += n
        for p in range(min(n, window + 2)):
            prefetch_input(table_in, lists, np.int64(get_int32(words, p)), row_bytes, width)
        for pos in range(-1, n):
            # One window ahead, so that rows are in the cache when they are needed; the first round only looks ahead.
            if pos + 1 < n:
                ahead = np.int64(get_int32(words, pos + 1))
                if negative > 0:
                    draw_negatives(
                        negatives, pos + 1, get_int64(places, pos + 1), noise_list, num_words, noise_seed, negative,
                        rows_out, width,
                    )  # fmt: skip
                    prefetch_row(output_row(rows_out, ahead), row_bytes, width)
                if tree is not None:
                    prefetch_path(path, ahead, rows_inner, width)
            if pos < 0:
                continue
            if pos + window + 2 < n:
                coming = np.int64(get_int32(words, pos + window + 2))
                prefetch_input(table_in, lists, coming, row_bytes, width)
            move_window(
                words, n, pos, window, staleness, table_in, lists, rate_list, shares, lent, ring, row_bytes, width
            )
            reach = reach_of(text_seed, get_int64(places, pos), window, shrink_windows)
            m_count = np.int64(0)
            for p in range(max(0, pos - reach), min(n, pos + reach + 1)):
                slot = p & (ring - 1)
                put_int64(context, m_count, lent + slot * row_bytes)
                if subwords is not None:
                    put_float32(counts, m_count, get_float32(shares, slot))
                if rates is not None:
                    put_float32(factors, m_count, get_float32(shares, ring + slot))
                m_count += p != pos
            context_factors = given(rates, factors)
            input_factors = unless(cbow, context_factors)
            if cbow is None:
                inputs, num_inputs = context, m_count
            else:
                if m_count == 0:
                    continue
                counted = given(subwords, counts)
                number = combine(context, m_count, counted, cbow[0], hidden, hidden + row_bytes, row_bytes, width)
                inputs, num_inputs = outputs + 8 * OUTPUTS, np.int64(1)
                put_int64(inputs, 0, hidden)
            centre = get_int32(words, pos)
            if tree is not None:
                path_end = get_int64(path[2], np.int64(centre) + 1)
                for first in range(get_int64(path[2], np.int64(centre)), path_end, OUTPUTS):
                    kind = choose_path(block, outputs, path, first, path_end, rows_inner)
                    loss += train_block(
                        inputs, num_inputs, outputs, coefficients + 4 * kind, coefficients + 4 * SINGLE, gradients,
                        rate, input_factors, in_turn, row_bytes, width,
                    )  # fmt: skip
                    pairs += min(path_end - first, OUTPUTS) * num_inputs
                    if num_private > 0:
                        touch_rows(rows_inner, inner_touches, block, publish_every, width)
            for first in range(0, negative + 1 if negative > 0 else 0, OUTPUTS):
                distinct = choose_noise(
                    block, outputs, coefficients, centre, negatives + 4 * negative * (pos & 1), first, negative,
                    rows_out,
                )  # fmt: skip
                kind = kind_of(distinct, first, negative)
                loss += train_block(
                    inputs, num_inputs, outputs, coefficients + 4 * kind, coefficients + 4 * SINGLE, gradients, rate,
                    input_factors, None, row_bytes, width,
                )  # fmt: skip
                pairs += distinct * num_inputs
                if num_private > 0:
                    touch_rows(rows_out, touches, block, publish_every, width)
            if cbow is not None:
                scale = np.float32(1) / number if cbow[1] else np.float32(1)
                add_change(context, m_count, context_factors, scale, hidden, hidden + row_bytes, row_bytes, width)
        give_back_rest(words, n, window, table_in, lists, rate_list, shares, lent, ring, row_bytes, width)
    give_back_private(rows_out, width)
    if tree is not None:
        give_back_private(rows_inner, width)
    result[0] += loss
    result[1] += pairs
