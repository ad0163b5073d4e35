"""Rows of any length and any storage as values in registers.

A row is walked in spans of up to eight pieces; a piece is a vector of `PIECE` bytes in the type of the arithmetic: 16
float32, or 8 float64 for float64 tables. Short types become float32 when they are loaded and are rounded to the nearest
even when they are stored: float16, whose bits are handed over as int16 since Numba has no such type, and bfloat16,
whose bits are uint16 since NumPy has none. A span is one value, so that LLVM keeps it in registers. Where the length is
no multiple of a piece, the last piece ends with the row and overlaps the one before; a row shorter than a piece is one
partial piece, whose other lanes are 0 and are not written.

How many pieces a span has is told by the length of a tuple (none: partial), the storage by the type of a `Pointer`:
both are constants when a kernel is compiled, and both are kept by Numba's cache. Pointers are plain numbers, where
arrays handed to a function would have their references counted. There are no bounds checks: a kernel may only form
offsets from indices that have been validated.
"""

from collections.abc import Callable, Iterator
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic

from fastemb.kernels.cpu.layout import (
    F16, F32, I1, I8, I16, I32, I64, PIECE, STORED, Pieces, Pointer, arithmetic_of, broadcast, call, fill, first_lanes,
    join, named, span_type, split,
)  # fmt: skip
from fastemb.kernels.cpu.options import inline

PART, P1, P2, P3, P4 = (), (0,), (0,) * 2, (0,) * 3, (0,) * 4
P5, P6, P7, P8, P16 = (0,) * 5, (0,) * 6, (0,) * 7, (0,) * 8, (0,) * 16


def _places(
    builder: ir.IRBuilder, start: ir.Value, last: ir.Value, count: int, vector: ir.VectorType, size: int
) -> Iterator:
    """Yield pointers to the pieces of a span from address `start`; the last is `last` bytes further on."""
    for i in range(count):
        offset = last if i == count - 1 else I64(i * vector.count * size)
        yield builder.inttoptr(builder.add(start, offset), vector.as_pointer())


def _read(builder: ir.IRBuilder, start: ir.Value, last: ir.Value, span: Pieces, stored: ir.Type, size: int) -> list:
    vector = ir.VectorType(stored, span.lanes)
    if not span.partial:
        return [builder.load(p, align=1) for p in _places(builder, start, last, span.count, vector, size)]
    pointer = builder.inttoptr(start, vector.as_pointer())
    inputs = [pointer, I32(1), first_lanes(builder, span.lanes, last), ir.Constant(vector, None)]
    return [call(builder, f"{named('masked.load', vector)}.p0", vector, inputs)]


def _write(builder: ir.IRBuilder, start: ir.Value, last: ir.Value, span: Pieces, parts: list, size: int) -> None:
    vector = parts[0].type
    if not span.partial:
        for part, p in zip(parts, _places(builder, start, last, span.count, vector, size), strict=True):
            builder.store(part, p, align=1)
        return
    pointer = builder.inttoptr(start, vector.as_pointer())
    inputs = [parts[0], pointer, I32(1), first_lanes(builder, span.lanes, last)]
    call(builder, f"{named('masked.store', vector)}.p0", ir.VoidType(), inputs)


def _widen(builder: ir.IRBuilder, stored: ir.Value, dtype: types.Type) -> ir.Value:
    """Turn a vector as it is stored into the arithmetic's type."""
    floats, integers = (ir.VectorType(element, stored.type.count) for element in (F32, I32))
    if dtype == types.int16:
        return builder.fpext(stored, floats)
    if dtype == types.uint16:
        return builder.bitcast(builder.shl(builder.zext(stored, integers), fill(integers, 16)), floats)
    return stored


def _narrow(builder: ir.IRBuilder, value: ir.Value, dtype: types.Type) -> ir.Value:
    """Round a vector of the arithmetic's type to how it is stored: to nearest, ties to even; NaN stays NaN."""
    lanes = value.type.count
    if dtype == types.int16:
        return builder.fptrunc(value, ir.VectorType(F16, lanes))
    if dtype == types.uint16:
        integers = ir.VectorType(I32, lanes)
        bits = builder.bitcast(value, integers)
        high = builder.lshr(bits, fill(integers, 16))
        half = builder.add(builder.and_(high, fill(integers, 1)), fill(integers, 0x7FFF))
        rounded = builder.lshr(builder.add(bits, half), fill(integers, 16))
        magnitude = builder.and_(bits, fill(integers, 0x7FFFFFFF))
        number = builder.icmp_unsigned("<=", magnitude, fill(integers, 0x7F800000))
        result = builder.select(number, rounded, builder.or_(high, fill(integers, 0x40)))
        return builder.trunc(result, ir.VectorType(I16, lanes))
    return value


def _pointer(mutable: bool) -> Any:
    @intrinsic
    def pointer_to(typingctx, array):
        if array == types.none:
            return types.none(array), lambda context, builder, sig, args: context.get_dummy_value()
        if not isinstance(array, types.Array) or (mutable and not array.mutable):
            raise TypingError(f"a{' writable' if mutable else 'n'} array is needed, got {array}")

        def codegen(context, builder, sig, args):
            return builder.ptrtoint(context.make_array(sig.args[0])(context, builder, args[0]).data, I64)

        return Pointer(array.dtype, mutable)(array), codegen

    return pointer_to


# The address of an array that is only read, or of one that is written; None stays None.
pointer, mutable_pointer = _pointer(mutable=False), _pointer(mutable=True)


@intrinsic
def pointer_at(typingctx, like, address):
    """Return a pointer of the kind of `like` to an address."""
    return like(like, types.int64), lambda context, builder, sig, args: args[1]


@intrinsic
def bytes_behind(typingctx, p):
    """Return a pointer to the same place that knows nothing but bytes."""
    return Pointer(types.uint8, p.mutable)(p), lambda context, builder, sig, args: args[0]


@intrinsic
def distance(typingctx, p, q):
    """Return the bytes from pointer `q` to pointer `p`."""
    return types.int64(p, q), lambda context, builder, sig, args: builder.sub(args[0], args[1])


@intrinsic
def stored_alike(typingctx, p, q):
    """Return whether what two pointers point to has one type."""
    same = I1(p.dtype == q.dtype)
    return types.boolean(p, q), lambda context, builder, sig, args: same


@intrinsic
def get(typingctx, p, index):
    """Return element `index` behind a pointer."""

    def codegen(context, builder, sig, args):
        item = context.get_value_type(p.dtype)
        return builder.load(builder.gep(builder.inttoptr(args[0], item.as_pointer()), [args[1]]))

    return p.dtype(p, types.int64), codegen


@intrinsic
def put(typingctx, p, index, value):
    """Write `value` to element `index` behind a pointer."""
    if not p.mutable:
        raise TypingError(f"a mutable pointer is needed, got {p}")

    def codegen(context, builder, sig, args):
        item = context.get_value_type(p.dtype)
        builder.store(args[2], builder.gep(builder.inttoptr(args[0], item.as_pointer()), [args[1]]))
        return context.get_dummy_value()

    return types.void(p, types.int64, p.dtype), codegen


@intrinsic
def load(typingctx, p, offset, last, count):
    """Return the span of `count` pieces, `offset` bytes behind a pointer.

    Its last piece begins `last` bytes after the first; with a `count` of none, only the first `last` lanes are loaded.
    """
    span, stored = span_type(p, count), STORED[p.dtype]

    def codegen(context, builder, sig, args):
        found = _read(builder, builder.add(args[0], args[1]), args[2], span, stored, p.dtype.bitwidth // 8)
        return join(builder, [_widen(builder, part, p.dtype) for part in found])

    return span(p, types.int64, types.int64, count), codegen


@intrinsic
def store(typingctx, p, offset, last, value):
    """Write a span `offset` bytes behind a pointer; `last` as for `load`."""
    if not p.mutable or arithmetic_of(p.dtype) != value.element:
        raise TypingError(f"{value} cannot be written to {p}")

    def codegen(context, builder, sig, args):
        parts = [_narrow(builder, part, p.dtype) for part in split(builder, args[3])]
        _write(builder, builder.add(args[0], args[1]), args[2], value, parts, p.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(p, types.int64, types.int64, value), codegen


@intrinsic
def load_integers(typingctx, p, offset, last, like):
    """Return an int32 span in the shape of `like`; see `load`."""
    if p.dtype != types.int32:
        raise TypingError(f"an int32 array is needed, got {p}")
    span = Pieces(types.int32, like.count, like.lanes, like.partial)

    def codegen(context, builder, sig, args):
        return join(builder, _read(builder, builder.add(args[0], args[1]), args[2], span, I32, 4))

    return span(p, types.int64, types.int64, like), codegen


@intrinsic
def store_integers(typingctx, p, offset, last, value):
    """Write an int32 span; see `store`."""
    if not p.mutable or p.dtype != types.int32:
        raise TypingError(f"a mutable pointer to int32 is needed, got {p}")

    def codegen(context, builder, sig, args):
        _write(builder, builder.add(args[0], args[1]), args[2], value, split(builder, args[3]), 4)
        return context.get_dummy_value()

    return types.void(p, types.int64, types.int64, value), codegen


@intrinsic
def copy(typingctx, target, to, source, at, block):
    """Copy as many bytes as the tuple `block` is long, from `at` behind `source` to `to` behind `target`."""
    if not target.mutable:
        raise TypingError(f"a mutable pointer is needed, got {target}")
    vector = ir.VectorType(I8, max(1, len(block)))

    def codegen(context, builder, sig, args):
        read = builder.inttoptr(builder.add(args[2], args[3]), vector.as_pointer())
        write = builder.inttoptr(builder.add(args[0], args[1]), vector.as_pointer())
        builder.store(builder.load(read, align=1), write, align=1)
        return context.get_dummy_value()

    return types.void(target, types.int64, source, types.int64, block), codegen


@intrinsic
def zeros(typingctx, p, count):
    """Return a span of zeros, in the type that tables behind `p` are computed in."""
    span = span_type(p, count)

    def codegen(context, builder, sig, args):
        return ir.Constant(ir.ArrayType(span.vector, span.count), None)

    return span(p, count), codegen


@intrinsic
def splat(typingctx, x, like):
    """Return a span in the shape of `like` whose lanes are all `x`."""

    def codegen(context, builder, sig, args):
        return join(builder, [broadcast(builder, args[0], like.lanes)] * like.count)

    return like(like.element, like), codegen


@intrinsic
def splat_integer(typingctx, i, like):
    """Return an int32 span in the shape of `like` whose lanes are all `i`."""
    span = Pieces(types.int32, like.count, like.lanes, like.partial)

    def codegen(context, builder, sig, args):
        return join(builder, [broadcast(builder, builder.trunc(args[0], I32), span.lanes)] * span.count)

    return span(types.int64, like), codegen


def _elementwise(operation: Callable[..., ir.Value]) -> Callable[..., ir.Value]:
    """Return code that applies `operation` to the pieces of all arguments."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        columns = [split(builder, arg) for arg in args]
        return join(builder, [operation(builder, *parts) for parts in zip(*columns, strict=True)])

    return codegen


def _binary(opcode: str) -> Any:
    @intrinsic
    def operation(typingctx, a, b):
        return a(a, a), _elementwise(lambda builder, x, y: getattr(builder, opcode)(x, y))

    return operation


def _unary(name: str) -> Any:
    @intrinsic
    def operation(typingctx, a):
        return a(a), _elementwise(lambda builder, x: call(builder, named(name, x.type), x.type, [x]))

    return operation


add, sub, mul, div = map(_binary, ("fadd", "fsub", "fmul", "fdiv"))
sqrt, absolute = map(_unary, ("sqrt", "fabs"))


@intrinsic
def fma(typingctx, a, b, c):
    """Return ``a * b + c``, rounded once."""

    def operation(builder, x, y, z):
        return call(builder, named("fma", x.type), x.type, [x, y, z])

    return a(a, a, a), _elementwise(operation)


@intrinsic
def where_greater(typingctx, a, b, x, y):
    """Return `x` in the lanes where ``a > b`` (false for NaN), `y` in the others."""

    def operation(builder, p, q, yes, no):
        return builder.select(builder.fcmp_ordered(">", p, q), yes, no)

    return x(a, a, x, x), _elementwise(operation)


@intrinsic
def where_equal(typingctx, i, j, x, y):
    """Return `x` in the lanes where the integers `i` and `j` are equal, `y` in the others."""

    def operation(builder, p, q, yes, no):
        return builder.select(builder.icmp_signed("==", p, q), yes, no)

    return x(i, i, x, x), _elementwise(operation)


@intrinsic
def without_first(typingctx, a, n):
    """Return the span with the first `n` lanes of its last piece 0: those that overlap the piece before."""

    def codegen(context, builder, sig, args):
        parts = split(builder, args[0])
        parts[-1] = builder.select(first_lanes(builder, a.lanes, args[1]), ir.Constant(a.vector, None), parts[-1])
        return join(builder, parts)

    return a(a, types.int64), codegen


@intrinsic
def total(typingctx, a):
    """Return the sum of all lanes, in any order."""

    def codegen(context, builder, sig, args):
        parts = split(builder, args[0])
        while len(parts) > 1:
            pairs = [builder.fadd(x, y) for x, y in zip(parts[::2], parts[1::2], strict=False)]
            parts = pairs + parts[len(parts) & ~1 :]
        element, vector = a.vector.element, a.vector
        function = ir.FunctionType(element, [element, vector])
        callee = cgutils.get_or_insert_function(builder.module, function, named("vector.reduce.fadd", vector))
        return builder.call(callee, [ir.Constant(element, -0.0), parts[0]], fastmath=("reassoc",))

    return a.element(a), codegen


@intrinsic
def scalar_of(typingctx, x, p):
    """Return the float64 `x` in the type that tables behind `p` are computed in."""
    element = arithmetic_of(p.dtype)

    def codegen(context, builder, sig, args):
        return args[0] if element == types.float64 else builder.fptrunc(args[0], F32)

    return element(types.float64, p), codegen


@intrinsic
def lanes_of(typingctx, p):
    """Return how many columns a piece holds."""
    lanes = PIECE * 8 // arithmetic_of(p.dtype).bitwidth
    return types.int64(p), lambda context, builder, sig, args: I64(lanes)


@intrinsic
def size_of(typingctx, p):
    """Return the bytes of an element behind a pointer."""
    return types.int64(p), lambda context, builder, sig, args: I64(p.dtype.bitwidth // 8)


@inline
def span_of(left, most):
    """Return how many of the `left` pieces of a row the next span takes, at most `most`.

    A row's last piece overlaps the one before, so the two must be in one span where a kernel reads what it writes.
    """
    if left <= most:
        return left
    return most - 1 if left == most + 1 else most
