"""Whole rows of float32 tables, by address: what the trainers' kernels share.

A row is `row_bytes` long, a multiple of 64; `width` tells the SIMD vectors that it is walked in.
"""

from fastemb.kernels.cpu.options import inline
from fastemb.kernels.cpu.simd import UNIT, add, fma, load, mul, prefetch, splat, store, sub, total, zeros

__all__ = [
    "add_row", "add_scaled_both", "add_scaled_row", "dot", "fill_row", "give_back", "lend", "prefetch_row",
    "publish", "scale_row", "step_of",
]  # fmt: skip


@inline
def step_of(width):
    """Return the bytes of a vector."""
    return 4 * UNIT * len(width)


@inline
def prefetch_row(row, row_bytes, width):
    for c in range(0, row_bytes, step_of(width)):
        prefetch(row + c, width)


@inline
def fill_row(row, row_bytes, width):
    """row = 0."""
    for c in range(0, row_bytes, step_of(width)):
        store(row + c, zeros(width))


@inline
def add_row(row, change, row_bytes, width):
    """row += change."""
    for c in range(0, row_bytes, step_of(width)):
        store(row + c, add(load(row + c, width), load(change + c, width)))


@inline
def add_scaled_row(row, change, scale, row_bytes, width):
    """row += scale * change."""
    factor = splat(scale, width)
    for c in range(0, row_bytes, step_of(width)):
        store(row + c, fma(factor, load(change + c, width), load(row + c, width)))


@inline
def scale_row(row, scale, row_bytes, width):
    """row *= scale."""
    factor = splat(scale, width)
    for c in range(0, row_bytes, step_of(width)):
        store(row + c, mul(load(row + c, width), factor))


@inline
def dot(a, b, row_bytes, width):
    """Return the float32 inner product of two rows."""
    sums = zeros(width)
    for c in range(0, row_bytes, step_of(width)):
        sums = fma(load(a + c, width), load(b + c, width), sums)
    return total(sums)


@inline
def add_scaled_both(row, output, error, gradient, row_bytes, width):
    """error += gradient * output; then output += gradient * row."""
    g = splat(gradient, width)
    for c in range(0, row_bytes, step_of(width)):
        u = load(output + c, width)
        store(error + c, fma(g, u, load(error + c, width)))
        store(output + c, fma(g, load(row + c, width), u))


@inline
def lend(shared, row, base, row_bytes, width):
    """row = base = shared."""
    for c in range(0, row_bytes, step_of(width)):
        x = load(shared + c, width)
        store(row + c, x)
        store(base + c, x)


@inline
def give_back(shared, row, base, row_bytes, width):
    """shared += row - base."""
    for c in range(0, row_bytes, step_of(width)):
        store(shared + c, add(load(shared + c, width), sub(load(row + c, width), load(base + c, width))))


@inline
def publish(shared, row, base, row_bytes, width):
    """Give back and lend again: shared += row - base; row = base = shared."""
    for c in range(0, row_bytes, step_of(width)):
        x = add(load(shared + c, width), sub(load(row + c, width), load(base + c, width)))
        store(shared + c, x)
        store(row + c, x)
        store(base + c, x)
