"""The fast modes of skip-gram and CBOW on a GPU; the specification is `kernels/reference/windows.py`.

A block, which is one warp or a part of one, trains one sentence at a time; blocks stride over the range, so as many
sentences are in flight as the grid has blocks. What several of them do to one row is added up by atomic additions, of
four floats at once where the GPU can; what a block reads of a row may lack what others are about to add. With one block
the result is the reference's.

A thread owns the columns of every ``blockDim.x``-th vector of four: it alone loads, changes and adds back these columns
of rows, so what it reads of a table holds what it added before. Only logits need all columns: see `blocks`.

After the reference's arguments come `base`, the place in the text of ``ids[0]``, since a part of the text may be all
that is on the device; `near`, see `near.near_memory`; and `atomics`, see `vector`. Where the reference has None for
`subwords` or `tree`, a kernel has arrays of one element, and for `rates` the one factor 1; a table without rows has
one. Rows are whole multiples of 16 floats.
"""

import numpy as np

from fastemb.kernels.cuda.blocks import (
    OUTPUTS, add_to_inputs, choose_noise, choose_path, combine, layout_of, train_block,
)  # fmt: skip
from fastemb.kernels.cuda.lending import give_back, move_window, slot_near
from fastemb.kernels.cuda.near import columns_of, cuda, near_memory
from fastemb.kernels.cuda.random import random_u64
from fastemb.kernels.cuda.sentences import QUEUE, draw_noise, keep_words, reach_of

__all__ = ["train_windows"]

MOST_NEGATIVES, MOST_INPUTS, MOST_LANES = 64, 201, 32  # the inputs are 200 context words, or CBOW's one after these
SKIPGRAM_SHARE, CBOW_SHARE = 2, 3  # 4 threads sum a logit of an input of several, 8 of the only one


@cuda.jit(device=True)
def train_windows(
    cbow, ids, offsets, start, stop, weight_in, weight_out, subwords, rates, tree, keep, noise, window, shrink_windows,
    negative, alpha, alpha_slope, seed, staleness, result, base, near, atomics,
):  # fmt: skip
    """Train those sentences of the range that are this block's."""
    words = cuda.shared.array(QUEUE, np.int32)
    places = cuda.shared.array(QUEUE, np.int64)
    flags = cuda.shared.array(MOST_LANES, np.int32)
    slots = cuda.shared.array(MOST_INPUTS, np.int32)
    drawn = cuda.shared.array(MOST_NEGATIVES, np.int32)
    rows = cuda.shared.array(OUTPUTS, np.int64)
    memory = near_memory(near)
    lane, lanes = cuda.threadIdx.x, cuda.blockDim.x
    layout = layout_of(columns_of(weight_in), window)
    text_seed, noise_seed = random_u64(seed, np.uint64(0)), random_u64(seed, np.uint64(1))
    if lane == 0:
        slots[MOST_INPUTS - 1] = 2 * window + 1
    loss, pairs, kept = np.float64(0), np.int64(0), np.int64(0)
    i = start + cuda.blockIdx.x
    while i < stop:
        rate = np.float32(alpha + alpha_slope * offsets[i])
        token, last = offsets[i], offsets[i + 1]
        number, pos, centre_slot = np.int64(0), np.int64(0), np.int64(0)
        while True:
            while token < last and number < pos + window + 1:
                number = keep_words(ids, base, token, last, keep, text_seed, words, places, flags, number)
                token += lanes
            if pos >= number:
                break
            move_window(
                memory, layout, weight_in, subwords, rates, words, number, pos, centre_slot, window, staleness, atomics
            )
            place = places[pos & (QUEUE - 1)]
            reach = reach_of(text_seed, place, window, shrink_windows)
            first = max(-reach, -pos)
            inputs = min(number - pos, reach + 1) - first - 1
            if inputs > 0:
                m = lane
                while m < inputs:
                    apart = first + m
                    slots[m] = slot_near(centre_slot, apart if apart < 0 else apart + 1, window)
                    m += lanes
                k = lane
                while k < negative:
                    drawn[k] = draw_noise(noise, noise_seed, place * negative + k)
                    k += lanes
            cuda.syncthreads()
            if inputs > 0:
                centre = np.int64(words[pos & (QUEUE - 1)])
                more_loss, more_pairs = train_window(
                    cbow, memory, layout, slots, inputs, weight_out, tree, rows, centre, drawn, negative, rate, window,
                    atomics,
                )  # fmt: skip
                loss += more_loss
                pairs += more_pairs
            pos += 1
            centre_slot = slot_near(centre_slot, 1, window)
        for p in range(max(0, number - 1 - window), number):
            give_back(
                memory, layout, weight_in, subwords, rates, np.int64(words[p & (QUEUE - 1)]),
                slot_near(centre_slot, p - pos, window), atomics,
            )  # fmt: skip
        cuda.syncthreads()
        kept += number
        i += cuda.gridDim.x
    cuda.atomic.add(result, 0, loss)
    cuda.atomic.add(result, 1, np.float64(pairs))
    if lane == 0:
        cuda.atomic.add(result, 2, np.float64(kept))


@cuda.jit(device=True)
def train_window(
    cbow, memory, layout, slots, inputs, weight_out, tree, rows, centre, drawn, negative, rate, window, atomics
):
    """Train a window whose context words have the rows `slots` of `memory`; return this thread's loss and pairs."""
    is_cbow, mean, divided = cbow
    hidden = 2 * window + 1
    first_input, num_inputs, share = np.int64(0), inputs, SKIPGRAM_SHARE
    number = np.float32(1)
    if is_cbow:
        number = combine(memory, layout, slots, inputs, mean, columns_of(weight_out), hidden)
        first_input, num_inputs, share = MOST_INPUTS - 1, np.int64(1), CBOW_SHARE
    loss, pairs = np.float64(0), np.int64(0)
    points, codes, ends, weight_inner = tree
    if ends.shape[0] > 1:
        end = ends[centre + 1]
        for at in range(ends[centre], end, OUTPUTS):
            choose_path(memory, layout, rows, points, codes, at, end)
            more_loss, more_pairs = train_block(
                memory, layout, slots, first_input, num_inputs, share, weight_inner, rows, rate, True, atomics
            )
            loss += more_loss
            pairs += more_pairs
    if negative > 0:
        for at in range(0, negative + 1, OUTPUTS):
            choose_noise(memory, layout, rows, centre, drawn, at, negative)
            more_loss, more_pairs = train_block(
                memory, layout, slots, first_input, num_inputs, share, weight_out, rows, rate, False, atomics
            )
            loss += more_loss
            pairs += more_pairs
    if is_cbow:
        add_to_inputs(
            memory, layout, slots, inputs, np.float32(1) / number if divided else np.float32(1), columns_of(weight_out),
            hidden,
        )  # fmt: skip
        cuda.syncthreads()
    return loss, pairs
