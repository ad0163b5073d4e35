"""Vectors of neighbouring numbers in CUDA kernels: every intrinsic of the package.

A vector is a tuple of numbers in the accumulator dtype: float64 for float64 arrays; float32 for float32, float16 (as
int16, its bits), bfloat16 (as uint16) and uint8 (codes); integers stay what they are. How many there are is told by the
length of a `width`, a compile-time constant. Numba reads an array number by number; `load` and `store` move up to 16
bytes at once. They address ``array[row, column]`` of an array of two dimensions with unit inner stride, unchecked, in
64 bits. What is moved at once must be aligned to its size: `fastemb.engine.launch` sees to it, and `W1` always is.

A team is the threads of one ``threadIdx.y``: ``blockDim.x`` of them, a power of two up to 32, side by side in a warp.

The simulator runs kernels as Python and knows neither intrinsics nor shuffles: it gets the twins in `simulated`.
"""

from typing import Any

import numpy as np
from numba import config, cuda

__all__ = [
    "ATOMIC_SCALARS", "ATOMIC_VECTORS", "SIMULATED", "W1", "W2", "W4", "W8", "add", "affine", "codes", "copy",
    "dot", "ends", "first_team", "load", "multiply_add", "num_teams", "number", "scale", "select", "store",
    "team_max", "team_min", "team_sum", "until", "zeros",
]  # fmt: skip

W1, W2, W4, W8 = (0,), (0,) * 2, (0,) * 4, (0,) * 8
ATOMIC_SCALARS, ATOMIC_VECTORS = (0,), (0, 0)  # the second from compute capability 9.0 on
SIMULATED = bool(config.ENABLE_CUDASIM)

if SIMULATED:
    from fastemb.kernels.cuda.simulated import (
        add, affine, codes, copy, dot, ends, first_team, load, multiply_add, num_teams, number, scale, select, store,
        team_max, team_min, team_sum, until, zeros,
    )  # fmt: skip
else:
    from llvmlite import ir
    from numba.cuda import types
    from numba.cuda.core.errors import TypingError
    from numba.cuda.extending import intrinsic, overload

    _I1, _I16, _I32, _I64 = ir.IntType(1), ir.IntType(16), ir.IntType(32), ir.IntType(64)
    _F16, _F32 = ir.HalfType(), ir.FloatType()
    _VECTOR_BYTES = 16
    _GLOBAL = 1  # the address space: a generic address would be asked for its own at every access
    _SHORT = {types.int16, types.uint16, types.uint8}

    def _accumulator(dtype: Any) -> Any:
        return types.float32 if dtype in _SHORT else dtype

    def _table(array: Any) -> Any:
        """Return the dtype of an array that can be moved by vectors."""
        if not isinstance(array, types.Array) or array.ndim != 2 or array.layout == "F":
            raise TypingError(f"an array of two dimensions with unit inner stride is needed, got {array}")
        return array.dtype

    def _address(context: Any, builder: Any, kind: Any, array: Any, row: Any, column: Any) -> Any:
        """Return the address of an element as a 64-bit integer."""
        made = context.make_array(kind)(context, builder, array)
        stride = builder.extract_value(made.strides, 0)
        size = ir.Constant(_I64, context.get_abi_sizeof(context.get_value_type(kind.dtype)))
        place = builder.add(builder.mul(row, stride), builder.mul(column, size))
        return builder.add(builder.ptrtoint(made.data, _I64), place)

    def _pointer(builder: Any, address: Any, offset: int, kind: Any) -> Any:
        moved = builder.add(address, ir.Constant(_I64, offset)) if offset else address
        # Not `inttoptr` to the global space: an address is generic until it is cast.
        generic = builder.inttoptr(moved, kind.as_pointer())
        return builder.addrspacecast(generic, kind.as_pointer(_GLOBAL))

    def _pieces(count: int, size: int) -> list[tuple[int, int]]:
        """Return (first, how many) of the elements that one access moves."""
        most = min(count, _VECTOR_BYTES // size)
        return [(first, most) for first in range(0, count, most)]

    def _widened(builder: Any, dtype: Any, value: Any) -> Any:
        """Return an element in the accumulator dtype."""
        if dtype == types.int16:
            return builder.fpext(builder.bitcast(value, _F16), _F32)
        return builder.uitofp(value, _F32) if dtype == types.uint8 else value

    def _narrowed(builder: Any, dtype: Any, value: Any) -> Any:
        """Return a number of the accumulator dtype as an element, rounded to nearest, ties to even."""
        if dtype == types.int16:
            return builder.bitcast(builder.fptrunc(value, _F16), _I16)
        if dtype != types.uint16:
            return value
        bits = builder.bitcast(value, _I32)
        upper = builder.lshr(bits, ir.Constant(_I32, 16))
        tie = builder.and_(upper, ir.Constant(_I32, 1))
        rounded = builder.lshr(builder.add(bits, builder.add(tie, ir.Constant(_I32, 0x7FFF))), ir.Constant(_I32, 16))
        quiet = builder.or_(upper, ir.Constant(_I32, 0x40))
        is_nan = builder.fcmp_unordered("uno", value, value)
        return builder.trunc(builder.select(is_nan, quiet, rounded), _I16)

    def _moved_as(size: int, count: int) -> tuple[Any, int]:
        """Return the type and number of the words in which `count` elements of `size` bytes are moved."""
        total = size * count
        word = 8 if size == 8 else 4 if total % 4 == 0 else total
        return ir.IntType(8 * word), total // word

    def _load_halves(builder: Any, address: Any, offset: int, count: int) -> list[Any]:
        """Return `count` neighbouring bfloat16, read at once: the upper half of a word is one as it stands."""
        if count == 1:
            found = builder.load(_pointer(builder, address, offset, _I16), align=2)
            return [builder.bitcast(builder.shl(builder.zext(found, _I32), ir.Constant(_I32, 16)), _F32)]
        kind = ir.VectorType(_I32, count // 2)
        found = builder.load(_pointer(builder, address, offset, kind), align=2 * count)
        values = []
        for n in range(count // 2):
            word = builder.extract_element(found, ir.Constant(_I32, n))
            values.append(builder.bitcast(builder.shl(word, ir.Constant(_I32, 16)), _F32))
            values.append(builder.bitcast(builder.and_(word, ir.Constant(_I32, 0xFFFF0000)), _F32))
        return values

    def _load_piece(builder: Any, address: Any, offset: int, count: int, element: Any, size: int) -> list[Any]:
        """Return `count` neighbouring elements, read at once."""
        word, words = _moved_as(size, count)
        kind = word if words == 1 else ir.VectorType(word, words)
        found = builder.load(_pointer(builder, address, offset, kind), align=size * count)
        if words == count == 1:
            return [builder.bitcast(found, element)]
        vector = builder.bitcast(found, ir.VectorType(element, count))
        return [builder.extract_element(vector, ir.Constant(_I32, n)) for n in range(count)]

    def _store_piece(builder: Any, address: Any, offset: int, values: list[Any], element: Any, size: int) -> None:
        """Write neighbouring elements at once."""
        count = len(values)
        word, words = _moved_as(size, count)
        kind = word if words == 1 else ir.VectorType(word, words)
        if count == 1:
            made = values[0]
        else:
            made = ir.Constant(ir.VectorType(element, count), ir.Undefined)
            for n, value in enumerate(values):
                made = builder.insert_element(made, value, ir.Constant(_I32, n))
        builder.store(builder.bitcast(made, kind), _pointer(builder, address, offset, kind), align=size * count)

    @intrinsic
    def load(typingctx, array, row, column, width):
        """Return ``array[row, column : column + len(width)]`` in the accumulator dtype."""
        dtype, count = _table(array), len(width)

        def codegen(context, builder, sig, args):
            address = _address(context, builder, sig.args[0], *args[:3])
            element = context.get_value_type(dtype)
            size = context.get_abi_sizeof(element)
            values = []
            for first, many in _pieces(count, size):
                if dtype == types.uint16:
                    values += _load_halves(builder, address, first * size, many)
                else:
                    found = _load_piece(builder, address, first * size, many, element, size)
                    values += [_widened(builder, dtype, value) for value in found]
            return context.make_tuple(builder, sig.return_type, values)

        return types.UniTuple(_accumulator(dtype), count)(array, types.int64, types.int64, width), codegen

    @intrinsic
    def store(typingctx, array, row, column, vector):
        """Write ``array[row, column : column + len(vector)]``, rounded to the array's dtype."""
        dtype, count = _table(array), len(vector)
        given = types.UniTuple(_accumulator(dtype), count)

        def codegen(context, builder, sig, args):
            address = _address(context, builder, sig.args[0], *args[:3])
            element = context.get_value_type(dtype)
            size = context.get_abi_sizeof(element)
            values = [_narrowed(builder, dtype, builder.extract_value(args[3], n)) for n in range(count)]
            for first, many in _pieces(count, size):
                _store_piece(builder, address, first * size, values[first : first + many], element, size)
            return context.get_dummy_value()

        return types.void(array, types.int64, types.int64, given), codegen

    @intrinsic
    def copy(typingctx, out, row, column, table, from_row, width):
        """Write ``out[row, column : column + len(width)] = table[from_row, ...]``, bits of one dtype as they are."""
        dtype, count = _table(table), len(width)
        if _table(out) != dtype:
            raise TypingError(f"arrays of one dtype are needed, got {out} and {table}")

        def codegen(context, builder, sig, args):
            source = _address(context, builder, sig.args[3], args[3], args[4], args[2])
            target = _address(context, builder, sig.args[0], *args[:3])
            size = context.get_abi_sizeof(context.get_value_type(dtype))
            for first, many in _pieces(count, size):
                word, words = _moved_as(size, many)
                kind = word if words == 1 else ir.VectorType(word, words)
                found = builder.load(_pointer(builder, source, first * size, kind), align=size * many)
                builder.store(found, _pointer(builder, target, first * size, kind), align=size * many)
            return context.get_dummy_value()

        return types.void(out, types.int64, types.int64, table, types.int64, width), codegen

    def _elementwise(build: Any, result: Any = None) -> Any:
        """Return what makes the elements of a vector from those of the arguments; `build` gets one of each."""

        def codegen(context, builder, sig, args):
            def parts(n: int) -> list[Any]:
                are_tuples = [isinstance(kind, types.BaseTuple) for kind in sig.args]
                return [
                    builder.extract_value(arg, n) if many else arg for arg, many in zip(args, are_tuples, strict=True)
                ]

            values = [build(builder, *parts(n)) for n in range(len(sig.return_type))]
            return context.make_tuple(builder, sig.return_type, values)

        return codegen

    def _fma(builder: Any, a: Any, b: Any, c: Any) -> Any:
        kind = ir.FunctionType(a.type, [a.type] * 3)
        name = f"llvm.fma.{'f32' if a.type == _F32 else 'f64'}"
        function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
        return builder.call(function, [a, b, c])

    @intrinsic
    def number(typingctx, array, value):
        """Return a float64 as a number of the accumulator dtype of `array`."""
        dtype = _accumulator(array.dtype)

        def codegen(context, builder, sig, args):
            return args[1] if dtype == types.float64 else builder.fptrunc(args[1], _F32)

        return dtype(array, types.float64), codegen

    @intrinsic
    def zeros(typingctx, array, width):
        """Return a vector of zeros that is added to vectors of `array`."""
        dtype = _accumulator(array.dtype)

        def codegen(context, builder, sig, args):
            return ir.Constant(context.get_value_type(sig.return_type), None)

        return types.UniTuple(dtype, len(width))(array, width), codegen

    @intrinsic
    def add(typingctx, a, b):
        """Return ``a + b``."""
        return a(a, a), _elementwise(lambda builder, x, y: builder.fadd(x, y))

    @intrinsic
    def scale(typingctx, a, factor):
        """Return ``factor * a``."""
        return a(a, a.dtype), _elementwise(lambda builder, x, y: builder.fmul(x, y))

    @intrinsic
    def multiply_add(typingctx, a, factor, c):
        """Return ``factor * a + c``, rounded once."""
        return a(a, a.dtype, a), _elementwise(_fma)

    @intrinsic
    def affine(typingctx, a, factor, offset):
        """Return ``factor * a + offset``, rounded once."""
        return a(a, a.dtype, a.dtype), _elementwise(_fma)

    @intrinsic
    def select(typingctx, chosen, a, b):
        """Return `a` where a bool is true, else `b`."""

        def build(builder: Any, flag: Any, x: Any, y: Any) -> Any:
            return builder.select(builder.trunc(flag, _I1) if flag.type != _I1 else flag, x, y)

        return a(types.boolean, a, a), _elementwise(build)

    @intrinsic
    def dot(typingctx, a, b, begin):
        """Return ``begin + sum(a * b)``, summed in order."""

        def codegen(context, builder, sig, args):
            total = args[2]
            for n in range(len(sig.args[0])):
                total = _fma(builder, builder.extract_value(args[0], n), builder.extract_value(args[1], n), total)
            return total

        return a.dtype(a, a, a.dtype), codegen

    @intrinsic
    def codes(typingctx, table, row, column, halves, width):
        """Return the codes of ``column : column + len(width)`` in a quantized row, as float32.

        `halves` is BYTES, (0, 0), or HALVES, (0,), of which a byte holds two, the first one in its low half.
        """
        if _table(table) != types.uint8:
            raise TypingError(f"a uint8 array is needed, got {table}")
        count, per_byte = len(width), 2 // len(halves)

        def codegen(context, builder, sig, args):
            at = builder.sdiv(args[2], ir.Constant(_I64, per_byte))
            address = _address(context, builder, sig.args[0], args[0], args[1], at)
            many = max(1, count // per_byte)
            kind = ir.IntType(8 * many)
            word = builder.load(_pointer(builder, address, 0, kind), align=many)
            if per_byte == 2 and count == 1:
                odd = builder.trunc(builder.and_(args[2], ir.Constant(_I64, 1)), kind)
                word = builder.lshr(word, builder.shl(odd, ir.Constant(kind, 2)))
            values = []
            for n in range(count):
                moved = builder.lshr(word, ir.Constant(kind, n * 8 // per_byte)) if n else word
                code = builder.and_(moved, ir.Constant(kind, 0xFF if per_byte == 1 else 0xF))
                values.append(builder.uitofp(code, _F32))
            return context.make_tuple(builder, sig.return_type, values)

        return types.UniTuple(types.float32, count)(table, types.int64, types.int64, halves, width), codegen

    @intrinsic
    def ends(typingctx, table, row, column, halves, width):
        """Return the scale and the bias of a quantized row, which begin at a byte of it."""
        size = 2 * len(halves)

        def codegen(context, builder, sig, args):
            address = _address(context, builder, sig.args[0], *args[:3])
            kind = _F32 if size == 4 else _F16
            align = size if len(width) >= 4 else 1
            found = [builder.load(_pointer(builder, address, place, kind), align=align) for place in (0, size)]
            values = [value if size == 4 else builder.fpext(value, _F32) for value in found]
            return context.make_tuple(builder, sig.return_type, values)

        return types.UniTuple(types.float32, 2)(table, types.int64, types.int64, halves, width), codegen

    def until(stop: Any) -> Any:
        """Return the end of a range: a number, or the first entry of an array where only the GPU knows it."""

    @overload(until)
    def _until(stop: Any) -> Any:
        return _entry if isinstance(stop, types.Array) else _itself

    def _entry(stop: Any) -> Any:
        return stop[0]

    def _itself(stop: Any) -> Any:
        return stop

    @cuda.jit(device=True)
    def first_team():
        """Return the number of this thread's team in the grid."""
        return np.int64(cuda.blockIdx.x) * cuda.blockDim.y + cuda.threadIdx.y

    @cuda.jit(device=True)
    def num_teams():
        """Return the number of teams in the grid."""
        return np.int64(cuda.gridDim.x) * cuda.blockDim.y

    @cuda.jit(device=True)
    def _team_mask():
        """Return the threads of this thread's team in its warp: others may have gone another way."""
        lanes = cuda.blockDim.x
        if lanes == 32:
            return 0xFFFFFFFF
        first = (cuda.threadIdx.y * lanes) & 31
        return ((1 << lanes) - 1) << first

    @cuda.jit(device=True)
    def team_sum(value):
        """Return the sum of a number over the threads of a team, the same in each."""
        mask, apart = _team_mask(), cuda.blockDim.x >> 1
        while apart > 0:
            value += cuda.shfl_xor_sync(mask, value, apart)
            apart >>= 1
        return value

    @cuda.jit(device=True)
    def team_max(value):
        """Return the greatest of a number over the threads of a team."""
        mask, apart = _team_mask(), cuda.blockDim.x >> 1
        while apart > 0:
            value = max(value, cuda.shfl_xor_sync(mask, value, apart))
            apart >>= 1
        return value

    @cuda.jit(device=True)
    def team_min(value):
        """Return the least of a number over the threads of a team."""
        mask, apart = _team_mask(), cuda.blockDim.x >> 1
        while apart > 0:
            value = min(value, cuda.shfl_xor_sync(mask, value, apart))
            apart >>= 1
        return value
