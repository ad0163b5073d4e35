"""Numba's types of pointers and of spans of pieces, and the LLVM values that spans are made of: see `pieces`."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import models, register_model

PIECE = 64  # bytes

I1, I8, I16, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))
F16, F32, F64 = ir.HalfType(), ir.FloatType(), ir.DoubleType()
STORED = {types.float64: F64, types.float32: F32, types.int16: F16, types.uint16: I16}
_NATIVE = {types.float64: F64, types.float32: F32, types.int32: I32}
_SUFFIX = {F64: "f64", F32: "f32", F16: "f16", I16: "i16", I32: "i32"}


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
        super().__init__(dmm, fe_type, I64)


@register_model(Pieces)
class _PiecesModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Pieces) -> None:
        super().__init__(dmm, fe_type, ir.ArrayType(fe_type.vector, fe_type.count))


def arithmetic_of(dtype: types.Type) -> types.Type:
    """Return the type that tables stored as `dtype` are computed in."""
    if dtype not in STORED:
        raise TypingError(f"a table of float64, float32, int16 (float16) or uint16 (bfloat16) is needed, got {dtype}")
    return types.float64 if dtype == types.float64 else types.float32


def span_type(pointer: Pointer, count: types.BaseTuple) -> Pieces:
    """Return the type of a span of `count` pieces of tables behind a pointer."""
    element = arithmetic_of(pointer.dtype)
    return Pieces(element, max(1, len(count)), PIECE * 8 // element.bitwidth, len(count) == 0)


def split(builder: ir.IRBuilder, value: ir.Value) -> list[ir.Value]:
    """Return the pieces of a span."""
    return [builder.extract_value(value, i) for i in range(value.type.count)]


def join(builder: ir.IRBuilder, parts: list[ir.Value]) -> ir.Value:
    """Return a span of pieces."""
    whole = ir.Constant(ir.ArrayType(parts[0].type, len(parts)), ir.Undefined)
    for i, part in enumerate(parts):
        whole = builder.insert_value(whole, part, i)
    return whole


def broadcast(builder: ir.IRBuilder, scalar: ir.Value, lanes: int) -> ir.Value:
    """Return a piece whose lanes are all `scalar`."""
    undefined = ir.Constant(ir.VectorType(scalar.type, lanes), ir.Undefined)
    first = builder.insert_element(undefined, scalar, I32(0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(I32, lanes), [0] * lanes))


def fill(vector: ir.VectorType, value: float | int) -> ir.Constant:
    """Return a piece whose lanes are all a constant."""
    return ir.Constant(vector, [value] * vector.count)


def call(builder: ir.IRBuilder, name: str, result: ir.Type, args: list) -> ir.Value:
    """Call a function of LLVM's."""
    function = ir.FunctionType(result, [a.type for a in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, function, name), args)


def named(name: str, vector: ir.VectorType) -> str:
    """Return the name of an operation of LLVM's on pieces of a type."""
    return f"llvm.{name}.v{vector.count}{_SUFFIX[vector.element]}"


def first_lanes(builder: ir.IRBuilder, lanes: int, n: ir.Value) -> ir.Value:
    """Return a mask of the first `n` lanes."""
    order = ir.Constant(ir.VectorType(I32, lanes), list(range(lanes)))
    return builder.icmp_signed("<", order, broadcast(builder, builder.trunc(n, I32), lanes))
