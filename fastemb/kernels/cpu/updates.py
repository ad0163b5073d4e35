"""Optimizers' rules applied to the rows of a table: see the reference for what each function means."""

import numpy as np
from numba import prange

from fastemb.kernels.cpu.bags import SUM, reduce
from fastemb.kernels.cpu.lookup import NO_PADDING
from fastemb.kernels.cpu.options import inline, kernel, parallel_kernel, part_of
from fastemb.kernels.cpu.pieces import distance, get, mutable_pointer, pointer, put, scalar_of, size_of, stored_alike
from fastemb.kernels.cpu.prefetching import OWN_CACHE, lies_near, prefetch_bytes, prefetch_to_write
from fastemb.kernels.cpu.rules import (
    ADAGRAD, ADAM, ADD, CLIP, FTRL, KEEP, MOMENTUM, NESTEROV, PULL, ROWWISE_ADAGRAD, ROWWISE_ADAM, RULE, SCALE, SGD,
    factor_of, numbers_of, walk,
)  # fmt: skip

__all__ = [
    "ADAGRAD", "ADAM", "ADD", "CLIP", "FTRL", "KEEP", "MOMENTUM", "NESTEROV", "PULL", "ROWWISE_ADAGRAD", "ROWWISE_ADAM",
    "RULE", "SGD", "decay", "parallel_decay", "parallel_scatter_add", "parallel_step", "parallel_update", "part_of_row",
    "scatter_add", "step", "update",
]  # fmt: skip

_STRIDE, _MIXED, _32 = map(np.uint64, (0x9E3779B9, 2**32 - 1, 32))
SMALL_TABLE = 1 << 19  # bytes that a core's own cache holds
IN_FLIGHT = 6144  # bytes of rows and their state that are asked for beforehand


@kernel
def update(weight, first, second, rows, gradients, base, hyper, rule, start, stop):
    update_rows(weight, first, second, rows, gradients, base, None, hyper, rule, start, stop)


@inline
def update_rows(weight, first, second, rows, gradients, base, lookups, hyper, rule, start, stop):
    """Do what `update` does; the gradient of a row with a single one of `lookups` is read where it lies."""
    num_embeddings, dim = weight.shape
    table, sums = mutable_pointer(weight), pointer(gradients)
    firsts, seconds = mutable_pointer(first), mutable_pointer(second)
    ids, numbers = pointer(rows), numbers_of(hyper)
    row_bytes, size, last = weight.strides[0], dim * size_of(table), rows.shape[0] - 1
    first_bytes, second_bytes = first.shape[1] * size_of(firsts), second.shape[1] * size_of(seconds)
    ahead = max(4, min(32, IN_FLIGHT // (row_bytes + first_bytes + second_bytes)))
    near = lies_near(num_embeddings, row_bytes)
    for s in range(start, stop):
        if num_embeddings * row_bytes > SMALL_TABLE:
            row = np.int64(get(ids, min(s + ahead, last)))
            prefetch_to_write(table, row * row_bytes, size, near)
            if first.shape[0] > 0:
                prefetch_to_write(firsts, row * first_bytes, first_bytes, near)
            if second.shape[0] > 0:
                prefetch_to_write(seconds, row * second_bytes, second_bytes, near)
        row = np.int64(get(ids, s))
        place = (s - base) * gradients.strides[0]
        if lookups is not None:
            place = place_of_single(lookups, sums, dim * size_of(sums), s, min(s + ahead, last), place)
        weights, slopes = (table, row * row_bytes), (sums, place)
        factor = factor_of(rule, (weights, slopes, numbers), firsts, seconds, row, dim)
        state = (firsts, row * first_bytes), (seconds, row * second_bytes)
        walk(rule, dim, (weights, slopes, numbers, state, factor), table)


@inline
def is_single(starts, s):
    return get(starts, s + 1) - get(starts, s) == 1


@inline
def place_of_single(lookups, sums, size, s, later, otherwise):
    """Return where, from `sums`, the gradient of a row with a single lookup lies; ask for that of a `later` row."""
    grad, grad_bytes, bags, num_lookups, starts, asks = lookups
    if asks and is_single(starts, later):  # which has not been checked yet
        found = np.int64(min(np.uint64(get(starts, later)), np.uint64(num_lookups - 1)))
        prefetch_bytes(grad, np.int64(get(bags, found)) * grad_bytes, size)
    if is_single(starts, s):
        return distance(grad, sums) + np.int64(get(bags, get(starts, s))) * grad_bytes
    return otherwise


@kernel
def part_of_row(row, num_parts):
    return np.int64((np.uint64(row) * _STRIDE & _MIXED) * np.uint64(num_parts) >> _32)


@kernel
def scatter_add(weight, rows, values, factor, chosen, start, stop):
    num_embeddings, dim = weight.shape
    table, source, ids = mutable_pointer(weight), pointer(values), pointer(rows)
    row_bytes, size, scale = weight.strides[0], dim * size_of(table), get(pointer(factor), 0)
    num_parts, block = chosen.shape
    ahead = max(4, min(32, IN_FLIGHT // max(1, row_bytes))) if num_embeddings * row_bytes > SMALL_TABLE else 0
    near = lies_near(num_embeddings, row_bytes)
    for part in range(start, stop):
        places = mutable_pointer(chosen[part])
        for lo in range(0, rows.shape[0], block):
            n = 0
            for s in range(lo, min(lo + block, rows.shape[0])):  # without a branch that could be foreseen wrongly
                row = np.int64(get(ids, s))
                put(places, n, s)
                n += (row != -1) & (part_of_row(row, num_parts) == part)
            for i in range(-ahead, n):
                if ahead > 0 and i + ahead < n:
                    row = np.int64(get(ids, get(places, i + ahead)))
                    prefetch_to_write(table, row * row_bytes, size, near)
                    prefetch_bytes(source, get(places, i + ahead) * values.strides[0], size)
                if i >= 0:
                    s = get(places, i)
                    row = np.int64(get(ids, s))
                    weights, added = (table, row * row_bytes), (source, s * values.strides[0])
                    walk(ADD, dim, (weights, added, None, None, scale), table)


@kernel
def step(
    weight, first, second, rows, grad_output, bags, starts, coefficients, hyper, rule, bounds, scratch, start, stop
):
    grad, begins = pointer(grad_output), pointer(starts)
    num_bags, grad_bytes, num_lookups = grad_output.shape[0], grad_output.strides[0], bags.shape[0]
    asks = num_bags * grad_bytes > OWN_CACHE and num_lookups > 0
    singles = (grad, grad_bytes, pointer(bags), num_lookups, begins, asks)
    for part in range(start, stop):
        gradients = scratch[part]
        for lo in range(bounds[part], bounds[part + 1], gradients.shape[0]):
            hi = min(lo + gradients.shape[0], bounds[part + 1])
            lookups = grad_output, bags, starts[lo : hi + 1], coefficients
            if coefficients is None and stored_alike(grad, pointer(gradients)):
                s = lo
                while s < hi:
                    if is_single(begins, s):
                        if np.uint64(starts[s]) >= np.uint64(num_lookups):
                            return -2 - (s - lo)
                        if np.uint64(bags[starts[s]]) >= np.uint64(num_bags):
                            return starts[s]
                        s += 1
                        continue
                    run = s
                    while s < hi and not is_single(begins, s):
                        s += 1
                    status = reduce(gradients, *lookups, np.int64(NO_PADDING), np.int64(SUM), run - lo, s - lo)
                    if status != -1:
                        return status
                update_rows(weight, first, second, rows, gradients, lo, singles, hyper, rule, lo, hi)
                continue
            # No literals, for which Numba would compile `reduce` once more.
            status = reduce(gradients, *lookups, np.int64(NO_PADDING), np.int64(SUM), np.int64(0), hi - lo)
            if status != -1:
                return status
            update(weight, first, second, rows, gradients, lo, hyper, rule, lo, hi)
    return -1


@kernel
def decay(weight, reached, rows, log_product, start, stop):
    num_embeddings, dim = weight.shape
    table, ids, known = mutable_pointer(weight), pointer(rows), mutable_pointer(reached)
    row_bytes, size, last = weight.strides[0], dim * size_of(table), rows.shape[0] - 1
    ahead = max(4, min(32, IN_FLIGHT // (row_bytes + 64)))
    for s in range(start, stop):
        if num_embeddings * row_bytes > SMALL_TABLE:
            row = np.int64(get(ids, min(s + ahead, last)))
            prefetch_bytes(table, row * row_bytes, size)
            prefetch_bytes(known, row * 8, 8)
        row = np.int64(get(ids, s))
        missed = log_product - get(known, row)
        if missed != 0:
            walk(SCALE, dim, ((table, row * row_bytes), scalar_of(np.exp(missed), table)), table)
            put(known, row, log_product)


@parallel_kernel
def parallel_update(weight, first, second, rows, gradients, base, hyper, rule, start, stop, chunks):
    for c in prange(chunks):
        a, b = part_of(start, stop, c, chunks), part_of(start, stop, c + 1, chunks)
        update(weight, first, second, rows, gradients, base, hyper, rule, a, b)
    return 0


@parallel_kernel
def parallel_scatter_add(weight, rows, values, factor, chosen, start, stop, chunks):
    for c in prange(chunks):
        a, b = part_of(start, stop, c, chunks), part_of(start, stop, c + 1, chunks)
        scatter_add(weight, rows, values, factor, chosen, a, b)
    return 0


@parallel_kernel
def parallel_step(
    weight, first, second, rows, grad_output, bags, starts, coefficients, hyper, rule, bounds, scratch, start, stop,
    chunks,
):  # fmt: skip
    failed = 0
    for c in prange(chunks):
        a, b = part_of(start, stop, c, chunks), part_of(start, stop, c + 1, chunks)
        status = step(
            weight, first, second, rows, grad_output, bags, starts, coefficients, hyper, rule, bounds, scratch, a, b
        )
        failed += status != -1
    return failed


@parallel_kernel
def parallel_decay(weight, reached, rows, log_product, start, stop, chunks):
    for c in prange(chunks):
        decay(weight, reached, rows, log_product, part_of(start, stop, c, chunks), part_of(start, stop, c + 1, chunks))
    return 0
