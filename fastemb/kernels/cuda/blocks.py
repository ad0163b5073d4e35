"""A block of outputs meets the inputs of a window, in a block's own memory.

That memory holds rows that are `stride` floats apart: those lent to the places of a sentence and CBOW's input, what
they were when they were lent, and the outputs. Then come parts of logits, gradients, and two numbers for each row: of
how many rows of the table it is the mean, and the factor on its rate. The stride is an odd multiple of 16 floats, which
keeps threads that read neighbouring columns of neighbouring rows from conflicts of banks.
"""

import math

import numpy as np

from fastemb.kernels.cuda.near import ZEROS, atomic_add, columns_of, cuda, fresh_load, near_load, near_store
from fastemb.kernels.cuda.vector import W4, dot, multiply_add, scale

__all__ = ["OUTPUTS", "add_to_inputs", "choose_noise", "choose_path", "combine", "layout_of", "train_block"]

OUTPUTS = 6  # as in the reference
LOGIT_LIMIT = np.float32(16)
PLACES = 8  # of a block's outputs in memory: six, and two that stay empty so that vectors of four are aligned


@cuda.jit(device=True)
def layout_of(row_length, window):
    """Return where things begin in a block's memory, and the floats of it.

    Returns
    -------
    stride, before, outputs, parts, gradients, numbers, factors, coefficients, end : int
    """
    stride, slots = row_length | 16, 2 * window + 2
    before = slots * stride
    outputs = before + slots * stride
    parts = outputs + OUTPUTS * stride
    gradients = parts + PLACES * 8 * window
    numbers = gradients + PLACES * 2 * window
    factors = numbers + slots
    coefficients = factors + slots
    return stride, before, outputs, parts, gradients, numbers, factors, coefficients, coefficients + PLACES


@cuda.jit(device=True)
def choose_noise(memory, layout, rows, centre, drawn, first, negative):
    """Fill `rows` and the coefficients with the outputs ``[first, first + OUTPUTS)`` of the centre word and negatives.

    An output that is none (a negative that equals the centre word, a second occurrence, a place after the last) has a
    coefficient of 0. `drawn` is the negatives.
    """
    n = cuda.threadIdx.x
    while n < OUTPUTS:
        at = first + n
        word, coefficient = centre, np.float32(1)
        if at > 0:
            coefficient = np.float32(0)
            if at <= negative:
                word = np.int64(drawn[at - 1])
                if word != centre:
                    for other in range(max(1, first), min(first + OUTPUTS, negative + 1)):
                        if np.int64(drawn[other - 1]) == word:
                            if other < at:  # the first of them has them all
                                coefficient = np.float32(0)
                                break
                            coefficient -= np.float32(1)
        rows[n] = word
        memory[layout[7] + n] = coefficient
        n += cuda.blockDim.x


@cuda.jit(device=True)
def choose_path(memory, layout, rows, points, codes, first, last):
    """Fill `rows` and the coefficients with the nodes ``[first, last)`` of a path, at most `OUTPUTS`."""
    n = cuda.threadIdx.x
    while n < OUTPUTS:
        row, coefficient = np.int64(0), np.float32(0)
        if first + n < last:
            row = np.int64(points[first + n])
            coefficient = np.float32(1) - np.float32(2) * np.float32(codes[first + n])
        rows[n] = row
        memory[layout[7] + n] = coefficient
        n += cuda.blockDim.x


@cuda.jit(device=True)
def load_output(table, rows, memory, coefficients, n, c):
    """Return four columns of an output row; zeros where there is none."""
    if memory[coefficients + n] == np.float32(0):
        return ZEROS
    return fresh_load(table, rows[n], c, W4)


@cuda.jit(device=True)
def add_output(table, rows, memory, coefficients, n, c, change, atomics):
    if memory[coefficients + n] != np.float32(0):
        atomic_add(table, rows[n], c, change, atomics)


@cuda.jit(device=True)
def train_block(memory, layout, slots, first, inputs, share, table, rows, rate, in_turn, atomics):
    """One step on the logits of every input with every output of a block; return its loss and the number of pairs.

    Parameters
    ----------
    memory, layout
        The block's memory, in which the coefficients are set, and `layout_of` it.
    slots : int32
        The rows of `memory` that are inputs, from place `first` on.
    inputs : int
        How many.
    share : int
        A logit is summed by ``2**share`` threads.
    table : float32 (number of rows, row length)
    rows : int64 (OUTPUTS,)
        The rows of `table` that are outputs.
    rate : float32
    in_turn : bool
        Whether each input is changed by what the inputs before it have left of the outputs.
    atomics
        See `vector`.

    Returns
    -------
    loss : float64
        Of the pairs that this thread has.
    pairs : int64
        How many these are.
    """
    lane, lanes = cuda.threadIdx.x, cuda.blockDim.x
    stride, _, outputs, parts, gradients, _, _, coefficients, _ = layout
    length = columns_of(table)
    cuda.syncthreads()  # rows and coefficients are chosen
    c = 4 * lane
    while c < length:
        a = load_output(table, rows, memory, coefficients, 0, c)
        b = load_output(table, rows, memory, coefficients, 1, c)
        d = load_output(table, rows, memory, coefficients, 2, c)
        e = load_output(table, rows, memory, coefficients, 3, c)
        f = load_output(table, rows, memory, coefficients, 4, c)
        g = load_output(table, rows, memory, coefficients, 5, c)
        near_store(memory, outputs + c, a)
        near_store(memory, outputs + stride + c, b)
        near_store(memory, outputs + 2 * stride + c, d)
        near_store(memory, outputs + 3 * stride + c, e)
        near_store(memory, outputs + 4 * stride + c, f)
        near_store(memory, outputs + 5 * stride + c, g)
        c += 4 * lanes
    cuda.syncthreads()
    sum_parts(memory, layout, slots, first, inputs, share, length)
    cuda.syncthreads()
    loss, pairs = np.float64(0), np.int64(0)
    item = lane
    while item < inputs * PLACES:
        n = item & (PLACES - 1)
        gradient = np.float32(0)
        if n < OUTPUTS:
            coefficient = memory[coefficients + n]
            if coefficient != np.float32(0):
                logit = np.float32(0)
                begin = parts + ((item >> 3) << share) * PLACES + n
                for part in range(1 << share):
                    logit += memory[begin + part * PLACES]
                if coefficient < np.float32(0):
                    logit = -logit
                if logit > LOGIT_LIMIT:  # comparisons, which let NaN through
                    logit = LOGIT_LIMIT
                if logit < -LOGIT_LIMIT:
                    logit = -LOGIT_LIMIT
                small = np.float32(math.exp(-logit))
                gradient = coefficient * rate * (small / (np.float32(1) + small))
                loss += np.float64(math.log1p(small))
                pairs += 1
        memory[gradients + item] = gradient
        item += lanes
    cuda.syncthreads()
    update(memory, layout, slots, first, inputs, table, rows, in_turn, atomics)
    cuda.syncthreads()
    return loss, pairs


@cuda.jit(device=True)
def sum_parts(memory, layout, slots, first, inputs, share, length):
    """Sum the logits of each input with all outputs, in ``2**share`` parts of interleaved columns."""
    stride, _, outputs, parts, _, _, _, _, _ = layout
    item = cuda.threadIdx.x
    while item < inputs << share:
        row = slots[first + (item >> share)] * stride
        a = b = d = e = f = g = np.float32(0)
        c = 4 * (item & ((1 << share) - 1))
        while c < length:
            x = near_load(memory, row + c)
            a = dot(x, near_load(memory, outputs + c), a)
            b = dot(x, near_load(memory, outputs + stride + c), b)
            d = dot(x, near_load(memory, outputs + 2 * stride + c), d)
            e = dot(x, near_load(memory, outputs + 3 * stride + c), e)
            f = dot(x, near_load(memory, outputs + 4 * stride + c), f)
            g = dot(x, near_load(memory, outputs + 5 * stride + c), g)
            c += 4 << share
        near_store(memory, parts + item * PLACES, (a, b, d, e))
        near_store(memory, parts + item * PLACES + 4, (f, g, np.float32(0), np.float32(0)))
        item += cuda.blockDim.x


@cuda.jit(device=True)
def update(memory, layout, slots, first, inputs, table, rows, in_turn, atomics):
    """Change the inputs, and add the outputs' changes to the table."""
    stride, _, outputs, _, gradients, _, factors, coefficients, _ = layout
    c = 4 * cuda.threadIdx.x
    while c < columns_of(table):
        a, da = near_load(memory, outputs + c), ZEROS
        b, db = near_load(memory, outputs + stride + c), ZEROS
        d, dd = near_load(memory, outputs + 2 * stride + c), ZEROS
        e, de = near_load(memory, outputs + 3 * stride + c), ZEROS
        f, df = near_load(memory, outputs + 4 * stride + c), ZEROS
        g, dg = near_load(memory, outputs + 5 * stride + c), ZEROS
        for m in range(inputs):
            slot = slots[first + m]
            factor = memory[factors + slot]
            x = near_load(memory, slot * stride + c)
            p, q, r, s = near_load(memory, gradients + m * PLACES)
            t, u, _, _ = near_load(memory, gradients + m * PLACES + 4)
            change = multiply_add(a, p, multiply_add(b, q, multiply_add(d, r, scale(e, s))))
            change = multiply_add(f, t, multiply_add(g, u, change))
            near_store(memory, slot * stride + c, multiply_add(change, factor, x))
            da, db, dd = multiply_add(x, p, da), multiply_add(x, q, db), multiply_add(x, r, dd)
            de, df, dg = multiply_add(x, s, de), multiply_add(x, t, df), multiply_add(x, u, dg)
            if in_turn:
                a, b, d = multiply_add(x, p, a), multiply_add(x, q, b), multiply_add(x, r, d)
                e, f, g = multiply_add(x, s, e), multiply_add(x, t, f), multiply_add(x, u, g)
        add_output(table, rows, memory, coefficients, 0, c, da, atomics)
        add_output(table, rows, memory, coefficients, 1, c, db, atomics)
        add_output(table, rows, memory, coefficients, 2, c, dd, atomics)
        add_output(table, rows, memory, coefficients, 3, c, de, atomics)
        add_output(table, rows, memory, coefficients, 4, c, df, atomics)
        add_output(table, rows, memory, coefficients, 5, c, dg, atomics)
        c += 4 * cuda.blockDim.x


@cuda.jit(device=True)
def combine(memory, layout, slots, inputs, mean, length, hidden):
    """Make the row `hidden` of a window's rows, each as often as rows of the table make it; return their number."""
    stride, before, _, _, _, numbers, factors, _, _ = layout
    number = np.float32(0)
    for m in range(inputs):
        number += memory[numbers + slots[m]]
    factor = np.float32(1) / number if mean else np.float32(1)
    c = 4 * cuda.threadIdx.x
    while c < length:
        slot = slots[0]
        total = scale(near_load(memory, slot * stride + c), memory[numbers + slot])
        for m in range(1, inputs):
            slot = slots[m]
            total = multiply_add(near_load(memory, slot * stride + c), memory[numbers + slot], total)
        total = scale(total, factor)
        near_store(memory, hidden * stride + c, total)
        near_store(memory, before + hidden * stride + c, total)
        c += 4 * cuda.blockDim.x
    if cuda.threadIdx.x == 0:
        memory[factors + hidden] = np.float32(1)
    return number


@cuda.jit(device=True)
def add_to_inputs(memory, layout, slots, inputs, share, length, hidden):
    """Add `share` of the change of the row `hidden` to the rows that it was made of."""
    stride, before, _, _, _, _, factors, _, _ = layout
    c = 4 * cuda.threadIdx.x
    while c < length:
        old = near_load(memory, before + hidden * stride + c)
        change = multiply_add(old, np.float32(-1), near_load(memory, hidden * stride + c))
        for m in range(inputs):
            slot = slots[m]
            row = near_load(memory, slot * stride + c)
            near_store(memory, slot * stride + c, multiply_add(change, share * memory[factors + slot], row))
        c += 4 * cuda.blockDim.x
