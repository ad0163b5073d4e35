"""Asking for rows before they are needed: which lines, and how many rows ahead.

Lines of a table in memory are asked for into a core's second cache, which has more requests under way than the first
one: rows come up to 1.7 times as fast. Those of a table that lies in the caches are asked for into the first one; short
ones that will be written, with the right to: a row that another core has changed then travels once, not twice.
"""

from collections.abc import Sequence

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastemb.kernels.cpu.layout import I8, I32, I64, Pointer, call, span_type
from fastemb.kernels.cpu.options import inline

OWN_CACHE, SHARED_CACHE = 1 << 20, 1 << 25  # bytes; the best distances were found by measuring
SHORT_ROW = 512  # bytes: several longer ones are too many requests for the first cache


def _ask(builder: ir.IRBuilder, start: ir.Value, offset: int, cache: int = 2, write: bool = False) -> None:
    at = builder.inttoptr(builder.add(start, I64(offset)), I8.as_pointer())
    call(builder, "llvm.prefetch.p0", ir.VoidType(), [at, I32(int(write)), I32(4 - cache), I32(1)])


def _ask_for_lines(builder: ir.IRBuilder, start: ir.Value, offsets: Sequence[int], near: ir.Value) -> None:
    """Ask for lines into the first cache if `near`, else into the second."""
    with builder.if_else(near) as (then, otherwise):
        for cache, branch in ((1, then), (2, otherwise)):
            with branch:
                for offset in offsets:
                    _ask(builder, start, offset, cache)


def _span_bytes(p: Pointer, count: types.BaseTuple) -> int:
    span = span_type(p, count)
    return span.count * span.lanes * p.dtype.bitwidth // 8


@intrinsic
def prefetch(typingctx, p, offset, count, near):
    """Ask for the cache lines of a span that begins a line; never faults."""
    size = _span_bytes(p, count)

    def codegen(context, builder, sig, args):
        _ask_for_lines(builder, builder.add(args[0], args[1]), range(0, size, 64), args[3])
        return context.get_dummy_value()

    return types.void(p, types.int64, count, types.boolean), codegen


@intrinsic
def prefetch_end(typingctx, p, offset, count, near):
    """Ask for the line in which a span ends, which `prefetch` leaves out if it begins amid a line; never faults."""
    size = _span_bytes(p, count)

    def codegen(context, builder, sig, args):
        _ask_for_lines(builder, builder.add(args[0], args[1]), [size - 1], args[3])
        return context.get_dummy_value()

    return types.void(p, types.int64, count, types.boolean), codegen


@intrinsic
def straddles_lines(typingctx, p, row_bytes):
    """Return whether rows, `row_bytes` apart, begin amid cache lines."""

    def codegen(context, builder, sig, args):
        amid = builder.and_(builder.or_(args[0], args[1]), I64(63))
        return builder.icmp_unsigned("!=", amid, I64(0))

    return types.boolean(p, types.int64), codegen


@intrinsic
def prefetch_line(typingctx, p, offset):
    """Ask for one cache line; never faults."""

    def codegen(context, builder, sig, args):
        _ask(builder, builder.add(args[0], args[1]), 0)
        return context.get_dummy_value()

    return types.void(p, types.int64), codegen


@inline
def prefetch_bytes(p, offset, size):
    """Ask for the cache lines of `size` bytes, which may begin amid a line; never faults."""
    for line in range(offset, offset + size, 64):
        prefetch_line(p, line)
    prefetch_line(p, offset + size - 1)


@intrinsic
def prefetch_line_to_write(typingctx, p, offset):
    """Ask for one cache line and the right to write it; never faults."""

    def codegen(context, builder, sig, args):
        _ask(builder, builder.add(args[0], args[1]), 0, cache=1, write=True)
        return context.get_dummy_value()

    return types.void(p, types.int64), codegen


@inline
def prefetch_to_write(p, offset, size, near):
    """Do as `prefetch_bytes` does, for lines that will be written; `near` tells whether they lie in the caches."""
    if near and size <= SHORT_ROW:
        for line in range(offset, offset + size, 64):
            prefetch_line_to_write(p, line)
        prefetch_line_to_write(p, offset + size - 1)
    else:
        prefetch_bytes(p, offset, size)


@inline
def lookahead(num_rows, row_bytes):
    """Return how many rows ahead to prefetch: none of a table that a core's own cache holds."""
    return 0 if num_rows * row_bytes <= OWN_CACHE else max(16, min(64, 8192 // max(1, row_bytes)))


@inline
def lies_near(num_rows, row_bytes):
    """Return whether the caches hold a table."""
    return num_rows * row_bytes <= SHARED_CACHE
