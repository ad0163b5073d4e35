"""Rows of codes, a byte or half a byte a column, as float32 values in registers.

Which of the two is told by the length of a tuple, in half bytes: `BYTES` or `HALVES`. A row ends with its scale and its
bias, float32 after bytes and float16 after half bytes, at any address. As in `pieces`, there are no bounds checks.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastemb.kernels.cpu.layout import Pieces, Pointer

__all__ = [
    "BYTES",
    "HALVES",
    "LANES",
    "code_at",
    "encode",
    "fused",
    "get_end",
    "get_float32",
    "load_codes",
    "put_end",
    "round_half",
    "store_values",
]

BYTES, HALVES = (0, 0), (0,)
LANES = 16

_I8, _I16, _I32, _I64 = (ir.IntType(bits) for bits in (8, 16, 32, 64))
_F16, _F32 = ir.HalfType(), ir.FloatType()
_INTEGERS, _FLOATS = ir.VectorType(_I32, LANES), ir.VectorType(_F32, LANES)


def _at(builder: ir.IRBuilder, args: Any, item: ir.Type, more: ir.Value | None = None) -> ir.Value:
    """Return where an `item` lies: ``args[1]`` bytes, and `more`, behind the pointer ``args[0]``."""
    where = builder.add(args[0], args[1])
    return builder.inttoptr(builder.add(where, more) if more is not None else where, item.as_pointer())


def _lanes(values: list[int], element: ir.Type = _I32) -> ir.Constant:
    return ir.Constant(ir.VectorType(element, len(values)), values)


def _bytes(builder: ir.IRBuilder, where: ir.Value, size: int, most: ir.Value | None) -> ir.Value:
    """Return `size` bytes, of which only the first `most` are read where it is given; the others are 0 then."""
    packed = ir.VectorType(_I8, size)
    pointer = builder.inttoptr(where, packed.as_pointer())
    if most is None:
        return builder.load(pointer, align=1)
    order, lanes = _lanes(list(range(size))), ir.VectorType(_I32, size)
    edge = builder.insert_element(ir.Constant(lanes, ir.Undefined), builder.trunc(most, _I32), _I32(0))
    edge = builder.shuffle_vector(edge, ir.Constant(lanes, ir.Undefined), _lanes([0] * size))
    inputs = [pointer, _I32(1), builder.icmp_signed("<", order, edge), ir.Constant(packed, None)]
    function = ir.FunctionType(packed, [value.type for value in inputs])
    name = f"llvm.masked.load.v{size}i8.p0"
    return builder.call(cgutils.get_or_insert_function(builder.module, function, name), inputs)


def _single(builder: ir.IRBuilder, where: ir.Value, most: ir.Value | None = None) -> list[ir.Value]:
    """Return the codes of 16 columns of half bytes, as integers."""
    found = _bytes(builder, where, LANES // 2, most)
    twice = builder.shuffle_vector(found, ir.Constant(found.type, ir.Undefined), _lanes([i // 2 for i in range(LANES)]))
    shifted = builder.lshr(builder.zext(twice, _INTEGERS), _lanes([0, 4] * (LANES // 2)))
    return [builder.and_(shifted, _lanes([15] * LANES))]


def _unit(builder: ir.IRBuilder, where: ir.Value, halves: int, most: ir.Value | None = None) -> list[ir.Value]:
    """Return the codes of 16 bytes as integers: of half bytes, first those of the even columns, then the odd ones'."""
    found = builder.zext(_bytes(builder, where, LANES, most), _INTEGERS)
    if halves == 2:
        return [found]
    return [builder.and_(found, _lanes([15] * LANES)), builder.lshr(found, _lanes([4] * LANES))]


@intrinsic
def load_codes(typingctx, p, offset, last, halves, count):
    """Return the codes of `count` pieces, `offset` bytes behind a pointer; the last unit is `last` bytes after them.

    A unit is 16 bytes: one piece of bytes, or two of half bytes, whose columns `store_values` puts in order. Only where
    a single piece of half bytes is asked for, it is 8 bytes and in order. A partial piece (no count) is the `last`
    bytes at `offset`, of a row that is shorter than a piece.
    """
    span = Pieces(types.float32, max(1, len(count)), LANES, len(count) == 0)
    single = len(halves) == 1 and span.count == 1
    units = 1 if single else span.count * len(halves) // 2

    def codegen(context, builder, sig, args):
        start, parts, most = builder.add(args[0], args[1]), [], args[2] if span.partial else None
        for i in range(units):
            where = start if span.partial else builder.add(start, args[2] if i == units - 1 else _I64(16 * i))
            parts += _single(builder, where, most) if single else _unit(builder, where, len(halves), most)
        whole = ir.Constant(ir.ArrayType(_FLOATS, span.count), ir.Undefined)
        for i, part in enumerate(parts):
            whole = builder.insert_value(whole, builder.sitofp(part, _FLOATS), i)
        return whole

    return span(p, types.int64, types.int64, halves, count), codegen


@intrinsic
def store_values(typingctx, p, offset, last, values, halves):
    """Write float32 columns that are arranged as `load_codes` arranges codes; `last` in bytes behind the first."""
    together = 1 if values.count == 1 else 2 // len(halves)

    def codegen(context, builder, sig, args):
        start, step = builder.add(args[0], args[1]), 4 * LANES * together
        for i in range(0, values.count, together):
            part = builder.extract_value(args[3], i)
            if together == 2:
                order = [lane // 2 + LANES * (lane % 2) for lane in range(2 * LANES)]
                part = builder.shuffle_vector(part, builder.extract_value(args[3], i + 1), _lanes(order))
            where = builder.add(start, args[2] if i + together == values.count else _I64(i // together * step))
            builder.store(part, builder.inttoptr(where, part.type.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(p, types.int64, types.int64, values, halves), codegen


@intrinsic
def code_at(typingctx, p, offset, column, halves):
    """Return the code of one column of the row that begins `offset` bytes behind a pointer."""

    def codegen(context, builder, sig, args):
        if len(halves) == 2:
            code = builder.load(_at(builder, args, _I8, args[2]))
        else:
            byte = builder.load(_at(builder, args, _I8, builder.lshr(args[2], _I64(1))))
            shift = builder.shl(builder.and_(builder.trunc(args[2], _I8), _I8(1)), _I8(2))
            code = builder.and_(builder.lshr(byte, shift), _I8(15))
        return builder.uitofp(code, _F32)

    return types.float32(p, types.int64, types.int64, halves), codegen


@intrinsic
def get_end(typingctx, p, offset, place, halves):
    """Return number `place` of those `offset` bytes behind a pointer, the end of a row: its scale, then its bias."""
    stored = _F32 if len(halves) == 2 else _F16

    def codegen(context, builder, sig, args):
        more = builder.mul(args[2], _I64(2 * len(halves)))
        found = builder.load(_at(builder, args, stored, more), align=1)
        return found if stored == _F32 else builder.fpext(found, _F32)

    return types.float32(p, types.int64, types.int64, halves), codegen


@intrinsic
def put_end(typingctx, p, offset, place, value, halves):
    """Write what `get_end` reads."""
    stored = _F32 if len(halves) == 2 else _F16

    def codegen(context, builder, sig, args):
        more = builder.mul(args[2], _I64(2 * len(halves)))
        value = args[3] if stored == _F32 else builder.fptrunc(args[3], _F16)
        builder.store(value, _at(builder, args, stored, more), align=1)
        return context.get_dummy_value()

    return types.void(p, types.int64, types.int64, types.float32, halves), codegen


@intrinsic
def get_float32(typingctx, p, offset, column):
    """Return one column, as float32, of the row of a table of any storage that begins `offset` bytes on."""
    size = p.dtype.bitwidth // 8
    stored = {types.float32: _F32, types.float64: ir.DoubleType(), types.int16: _F16, types.uint16: _I16}[p.dtype]

    def codegen(context, builder, sig, args):
        found = builder.load(_at(builder, args, stored, builder.mul(args[2], _I64(size))), align=1)
        if p.dtype == types.float64:
            return builder.fptrunc(found, _F32)
        if p.dtype == types.uint16:
            return builder.bitcast(builder.shl(builder.zext(found, _I32), _I32(16)), _F32)
        return found if p.dtype == types.float32 else builder.fpext(found, _F32)

    if not isinstance(p, Pointer):
        raise TypeError(f"a pointer is needed, got {p}")
    return types.float32(p, types.int64, types.int64), codegen


def _call(builder: ir.IRBuilder, name: str, *args: ir.Value) -> ir.Value:
    function = ir.FunctionType(_F32, [_F32] * len(args))
    return builder.call(cgutils.get_or_insert_function(builder.module, function, f"llvm.{name}.f32"), args)


@intrinsic
def fused(typingctx, a, b, c):
    """Return ``a * b + c`` of three float32, rounded once."""
    codegen = lambda context, builder, sig, args: _call(builder, "fma", *args)  # noqa: E731
    return types.float32(types.float32, types.float32, types.float32), codegen


@intrinsic
def round_half(typingctx, x):
    """Return the float32 `x` as float16 holds it."""

    def codegen(context, builder, sig, args):
        return builder.fpext(builder.fptrunc(args[0], _F16), _F32)

    return types.float32(types.float32), codegen


@intrinsic
def encode(typingctx, x, bias, inverse, greatest):
    """Return ``(x - bias) * inverse`` rounded to the nearest even integer and limited to ``[0, greatest]``."""

    def codegen(context, builder, sig, args):
        x, bias, inverse, greatest = args
        code = _call(builder, "rint", builder.fmul(builder.fsub(x, bias), inverse))
        code = _call(builder, "minnum", _call(builder, "maxnum", code, _F32(0.0)), greatest)
        return builder.fptoui(code, _I8)

    return types.uint8(types.float32, types.float32, types.float32, types.float32), codegen
