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
from numba.extending import intrinsic, models, register_model

from fastemb.kernels.cpu.options import inline

PIECE = 64
OWN_CACHE, SHARED_CACHE = 1 << 20, 1 << 25  # bytes; the best distances were found by measuring
PART, P1, P2, P3, P4 = (), (0,), (0,) * 2, (0,) * 3, (0,) * 4
P5, P6, P7, P8, P16 = (0,) * 5, (0,) * 6, (0,) * 7, (0,) * 8, (0,) * 16

_I1, _I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))
_F16, _F32, _F64 = ir.HalfType(), ir.FloatType(), ir.DoubleType()
_STORED = {types.float64: _F64, types.float32: _F32, types.int16: _F16, types.uint16: _I16}
_NATIVE = {types.float64: _F64, types.float32: _F32, types.int32: _I32}
_SUFFIX = {_F64: "f64", _F32: "f32", _F16: "f16", _I16: "i16", _I32: "i32"}


class Pointer(types.Type):
    """Numba's type of the address of an array's first element."""

    def __init__(self, dtype: types.Type, mutable: bool) -> None:
        self.dtype, self.mutable = dtype, mutable
        super().__init__(name=f"Pointer({dtype}, {mutable})")


class Pieces(types.Type):
    """Numba's type of a span: `count` vectors of `lanes` elements each."""

    def __init__(self, element: types.Type, count: int, lanes: int, partial: bool) -> None:
        self.element, self.count, self.lanes, self.partial = element, count, lanes, partial
        super().__init__(name=f"Pieces({element}, {count}, {lanes}, {partial})")

    @property
    def vector(self) -> ir.VectorType:
        """LLVM's type of one piece."""
        return ir.VectorType(_NATIVE[self.element], self.lanes)


@register_model(Pointer)
class _PointerModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Pointer) -> None:
        super().__init__(dmm, fe_type, _I64)


@register_model(Pieces)
class _PiecesModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Pieces) -> None:
        super().__init__(dmm, fe_type, ir.ArrayType(fe_type.vector, fe_type.count))


def _arithmetic(dtype: types.Type) -> types.Type:
    """Return the type that tables stored as `dtype` are computed in."""
    if dtype not in _STORED:
        raise TypingError(f"a table of float64, float32, int16 (float16) or uint16 (bfloat16) is needed, got {dtype}")
    return types.float64 if dtype == types.float64 else types.float32


def _span(pointer: Pointer, count: types.BaseTuple) -> Pieces:
    element = _arithmetic(pointer.dtype)
    return Pieces(element, max(1, len(count)), PIECE * 8 // element.bitwidth, len(count) == 0)


def _split(builder: ir.IRBuilder, value: ir.Value) -> list[ir.Value]:
    return [builder.extract_value(value, i) for i in range(value.type.count)]


def _join(builder: ir.IRBuilder, parts: list[ir.Value]) -> ir.Value:
    whole = ir.Constant(ir.ArrayType(parts[0].type, len(parts)), ir.Undefined)
    for i, part in enumerate(parts):
        whole = builder.insert_value(whole, part, i)
    return whole


def _splat(builder: ir.IRBuilder, scalar: ir.Value, lanes: int) -> ir.Value:
    undefined = ir.Constant(ir.VectorType(scalar.type, lanes), ir.Undefined)
    first = builder.insert_element(undefined, scalar, _I32(0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(_I32, lanes), [0] * lanes))


def _fill(vector: ir.VectorType, value: float | int) -> ir.Constant:
    return ir.Constant(vector, [value] * vector.count)


def _call(builder: ir.IRBuilder, name: str, result: ir.Type, args: list) -> ir.Value:
    function = ir.FunctionType(result, [a.type for a in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, function, name), args)


def _named(name: str, vector: ir.VectorType) -> str:
    return f"llvm.{name}.v{vector.count}{_SUFFIX[vector.element]}"


def _first(builder: ir.IRBuilder, lanes: int, n: ir.Value) -> ir.Value:
    """Return a mask of the first `n` lanes."""
    order = ir.Constant(ir.VectorType(_I32, lanes), list(range(lanes)))
    return builder.icmp_signed("<", order, _splat(builder, builder.trunc(n, _I32), lanes))


def _places(
    builder: ir.IRBuilder, start: ir.Value, last: ir.Value, count: int, vector: ir.VectorType, size: int
) -> Iterator:
    """Yield pointers to the pieces of a span from address `start`; the last is `last` bytes further on."""
    for i in range(count):
        offset = last if i == count - 1 else _I64(i * vector.count * size)
        yield builder.inttoptr(builder.add(start, offset), vector.as_pointer())


def _read(builder: ir.IRBuilder, start: ir.Value, last: ir.Value, span: Pieces, stored: ir.Type, size: int) -> list:
    vector = ir.VectorType(stored, span.lanes)
    if not span.partial:
        return [builder.load(p, align=1) for p in _places(builder, start, last, span.count, vector, size)]
    pointer = builder.inttoptr(start, vector.as_pointer())
    inputs = [pointer, _I32(1), _first(builder, span.lanes, last), ir.Constant(vector, None)]
    return [_call(builder, f"{_named('masked.load', vector)}.p0", vector, inputs)]


def _write(builder: ir.IRBuilder, start: ir.Value, last: ir.Value, span: Pieces, parts: list, size: int) -> None:
    vector = parts[0].type
    if not span.partial:
        for part, p in zip(parts, _places(builder, start, last, span.count, vector, size), strict=True):
            builder.store(part, p, align=1)
        return
    pointer = builder.inttoptr(start, vector.as_pointer())
    inputs = [parts[0], pointer, _I32(1), _first(builder, span.lanes, last)]
    _call(builder, f"{_named('masked.store', vector)}.p0", ir.VoidType(), inputs)


def _widen(builder: ir.IRBuilder, stored: ir.Value, dtype: types.Type) -> ir.Value:
    """Turn a vector as it is stored into the arithmetic's type."""
    floats, integers = (ir.VectorType(element, stored.type.count) for element in (_F32, _I32))
    if dtype == types.int16:
        return builder.fpext(stored, floats)
    if dtype == types.uint16:
        return builder.bitcast(builder.shl(builder.zext(stored, integers), _fill(integers, 16)), floats)
    return stored


def _narrow(builder: ir.IRBuilder, value: ir.Value, dtype: types.Type) -> ir.Value:
    """Round a vector of the arithmetic's type to how it is stored: to nearest, ties to even; NaN stays NaN."""
    lanes = value.type.count
    if dtype == types.int16:
        return builder.fptrunc(value, ir.VectorType(_F16, lanes))
    if dtype == types.uint16:
        integers = ir.VectorType(_I32, lanes)
        bits = builder.bitcast(value, integers)
        high = builder.lshr(bits, _fill(integers, 16))
        half = builder.add(builder.and_(high, _fill(integers, 1)), _fill(integers, 0x7FFF))
        rounded = builder.lshr(builder.add(bits, half), _fill(integers, 16))
        magnitude = builder.and_(bits, _fill(integers, 0x7FFFFFFF))
        number = builder.icmp_unsigned("<=", magnitude, _fill(integers, 0x7F800000))
        result = builder.select(number, rounded, builder.or_(high, _fill(integers, 0x40)))
        return builder.trunc(result, ir.VectorType(_I16, lanes))
    return value


def _pointer(mutable: bool) -> Any:
    @intrinsic
    def pointer_to(typingctx, array):
        if array == types.none:
            return types.none(array), lambda context, builder, sig, args: context.get_dummy_value()
        if not isinstance(array, types.Array) or (mutable and not array.mutable):
            raise TypingError(f"a{' writable' if mutable else 'n'} array is needed, got {array}")

        def codegen(context, builder, sig, args):
            return builder.ptrtoint(context.make_array(sig.args[0])(context, builder, args[0]).data, _I64)

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
    same = _I1(p.dtype == q.dtype)
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
    span, stored = _span(p, count), _STORED[p.dtype]

    def codegen(context, builder, sig, args):
        found = _read(builder, builder.add(args[0], args[1]), args[2], span, stored, p.dtype.bitwidth // 8)
        return _join(builder, [_widen(builder, part, p.dtype) for part in found])

    return span(p, types.int64, types.int64, count), codegen


@intrinsic
def store(typingctx, p, offset, last, value):
    """Write a span `offset` bytes behind a pointer; `last` as for `load`."""
    if not p.mutable or _arithmetic(p.dtype) != value.element:
        raise TypingError(f"{value} cannot be written to {p}")

    def codegen(context, builder, sig, args):
        parts = [_narrow(builder, part, p.dtype) for part in _split(builder, args[3])]
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
        return _join(builder, _read(builder, builder.add(args[0], args[1]), args[2], span, _I32, 4))

    return span(p, types.int64, types.int64, like), codegen


@intrinsic
def store_integers(typingctx, p, offset, last, value):
    """Write an int32 span; see `store`."""
    if not p.mutable or p.dtype != types.int32:
        raise TypingError(f"a mutable pointer to int32 is needed, got {p}")

    def codegen(context, builder, sig, args):
        _write(builder, builder.add(args[0], args[1]), args[2], value, _split(builder, args[3]), 4)
        return context.get_dummy_value()

    return types.void(p, types.int64, types.int64, value), codegen


def _ask(builder: ir.IRBuilder, start: ir.Value, offset: int) -> None:
    """Ask for a line, into the second cache: it has many more requests under way at a time than the first one has."""
    at = builder.inttoptr(builder.add(start, _I64(offset)), _I8.as_pointer())
    _call(builder, "llvm.prefetch.p0", ir.VoidType(), [at, _I32(0), _I32(2), _I32(1)])


def _span_bytes(p: Pointer, count: types.BaseTuple) -> int:
    span = _span(p, count)
    return span.count * span.lanes * p.dtype.bitwidth // 8


@intrinsic
def prefetch(typingctx, p, offset, count):
    """Ask for the cache lines of a span that begins a line; never faults."""
    size = _span_bytes(p, count)

    def codegen(context, builder, sig, args):
        for line in range(0, size, 64):
            _ask(builder, builder.add(args[0], args[1]), line)
        return context.get_dummy_value()

    return types.void(p, types.int64, count), codegen


@intrinsic
def prefetch_end(typingctx, p, offset, count):
    """Ask for the line in which a span ends, which `prefetch` leaves out if it begins amid a line; never faults."""
    size = _span_bytes(p, count)

    def codegen(context, builder, sig, args):
        _ask(builder, builder.add(args[0], args[1]), size - 1)
        return context.get_dummy_value()

    return types.void(p, types.int64, count), codegen


@intrinsic
def straddles_lines(typingctx, p, row_bytes):
    """Return whether rows, `row_bytes` apart, begin amid cache lines."""

    def codegen(context, builder, sig, args):
        amid = builder.and_(builder.or_(args[0], args[1]), _I64(63))
        return builder.icmp_unsigned("!=", amid, _I64(0))

    return types.boolean(p, types.int64), codegen


@intrinsic
def prefetch_line(typingctx, p, offset):
    """Ask for one cache line; never faults."""

    def codegen(context, builder, sig, args):
        _ask(builder, builder.add(args[0], args[1]), 0)
        return context.get_dummy_value()

    return types.void(p, types.int64), codegen


@intrinsic
def copy(typingctx, target, to, source, at, block):
    """Copy as many bytes as the tuple `block` is long, from `at` behind `source` to `to` behind `target`."""
    if not target.mutable:
        raise TypingError(f"a mutable pointer is needed, got {target}")
    vector = ir.VectorType(_I8, max(1, len(block)))

    def codegen(context, builder, sig, args):
        read = builder.inttoptr(builder.add(args[2], args[3]), vector.as_pointer())
        write = builder.inttoptr(builder.add(args[0], args[1]), vector.as_pointer())
        builder.store(builder.load(read, align=1), write, align=1)
        return context.get_dummy_value()

    return types.void(target, types.int64, source, types.int64, block), codegen


@intrinsic
def zeros(typingctx, p, count):
    """Return a span of zeros, in the type that tables behind `p` are computed in."""
    span = _span(p, count)

    def codegen(context, builder, sig, args):
        return ir.Constant(ir.ArrayType(span.vector, span.count), None)

    return span(p, count), codegen


@intrinsic
def splat(typingctx, x, like):
    """Return a span in the shape of `like` whose lanes are all `x`."""

    def codegen(context, builder, sig, args):
        return _join(builder, [_splat(builder, args[0], like.lanes)] * like.count)

    return like(like.element, like), codegen


@intrinsic
def splat_integer(typingctx, i, like):
    """Return an int32 span in the shape of `like` whose lanes are all `i`."""
    span = Pieces(types.int32, like.count, like.lanes, like.partial)

    def codegen(context, builder, sig, args):
        return _join(builder, [_splat(builder, builder.trunc(args[0], _I32), span.lanes)] * span.count)

    return span(types.int64, like), codegen


def _elementwise(operation: Callable[..., ir.Value]) -> Callable[..., ir.Value]:
    """Return code that applies `operation` to the pieces of all arguments."""

    def codegen(context: Any, builder: ir.IRBuilder, sig: Any, args: Any) -> ir.Value:
        columns = [_split(builder, arg) for arg in args]
        return _join(builder, [operation(builder, *parts) for parts in zip(*columns, strict=True)])

    return codegen


def _binary(opcode: str) -> Any:
    @intrinsic
    def operation(typingctx, a, b):
        return a(a, a), _elementwise(lambda builder, x, y: getattr(builder, opcode)(x, y))

    return operation


def _unary(name: str) -> Any:
    @intrinsic
    def operation(typingctx, a):
        return a(a), _elementwise(lambda builder, x: _call(builder, _named(name, x.type), x.type, [x]))

    return operation


add, sub, mul, div = map(_binary, ("fadd", "fsub", "fmul", "fdiv"))
sqrt, absolute = map(_unary, ("sqrt", "fabs"))


@intrinsic
def fma(typingctx, a, b, c):
    """Return ``a * b + c``, rounded once."""

    def operation(builder, x, y, z):
        return _call(builder, _named("fma", x.type), x.type, [x, y, z])

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
        parts = _split(builder, args[0])
        parts[-1] = builder.select(_first(builder, a.lanes, args[1]), ir.Constant(a.vector, None), parts[-1])
        return _join(builder, parts)

    return a(a, types.int64), codegen


@intrinsic
def total(typingctx, a):
    """Return the sum of all lanes, in any order."""

    def codegen(context, builder, sig, args):
        parts = _split(builder, args[0])
        while len(parts) > 1:
            pairs = [builder.fadd(x, y) for x, y in zip(parts[::2], parts[1::2], strict=False)]
            parts = pairs + parts[len(parts) & ~1 :]
        element, vector = a.vector.element, a.vector
        function = ir.FunctionType(element, [element, vector])
        callee = cgutils.get_or_insert_function(builder.module, function, _named("vector.reduce.fadd", vector))
        return builder.call(callee, [ir.Constant(element, -0.0), parts[0]], fastmath=("reassoc",))

    return a.element(a), codegen


@intrinsic
def scalar_of(typingctx, x, p):
    """Return the float64 `x` in the type that tables behind `p` are computed in."""
    element = _arithmetic(p.dtype)

    def codegen(context, builder, sig, args):
        return args[0] if element == types.float64 else builder.fptrunc(args[0], _F32)

    return element(types.float64, p), codegen


@intrinsic
def lanes_of(typingctx, p):
    """Return how many columns a piece holds."""
    lanes = PIECE * 8 // _arithmetic(p.dtype).bitwidth
    return types.int64(p), lambda context, builder, sig, args: _I64(lanes)


@intrinsic
def size_of(typingctx, p):
    """Return the bytes of an element behind a pointer."""
    return types.int64(p), lambda context, builder, sig, args: _I64(p.dtype.bitwidth // 8)


@inline
def prefetch_bytes(p, offset, size):
    """Ask for the cache lines of `size` bytes, which may begin amid a line; never faults."""
    for line in range(offset, offset + size, 64):
        prefetch_line(p, line)
    prefetch_line(p, offset + size - 1)


@inline
def span_of(left, most):
    """Return how many of the `left` pieces of a row the next span takes, at most `most`.

    A row's last piece overlaps the one before, so the two must be in one span where a kernel reads what it writes.
    """
    if left <= most:
        return left
    return most - 1 if left == most + 1 else most


@inline
def lookahead(num_rows, row_bytes):
    """Return how many rows ahead to prefetch, by where the table lies: a core's own cache, a shared one, or memory."""
    if num_rows * row_bytes <= OWN_CACHE:
        return 0
    if num_rows * row_bytes <= SHARED_CACHE:
        return 16
    return max(16, min(64, 8192 // max(1, row_bytes)))
