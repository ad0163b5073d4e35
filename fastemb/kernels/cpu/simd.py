"""Float32 vectors as values in Numba kernels: every SIMD intrinsic of the package, and no instruction set's name.

Numba's vectoriser keeps a reduction in memory when the row length is known only at run time. Here a kernel holds a
value of LLVM type ``<n x float>`` in a local variable, so accumulators stay in registers; LLVM legalises any width for
the machine at hand. The width is told by the length of a tuple, in units of `UNIT` lanes: a compile-time constant that
Numba's cache keeps, so one function text serves every width.

Rows are addressed by plain integers (`address`), so that one loop can walk rows of several arrays. `address` checks
the array's dtype and layout when the kernel is compiled, and `mutable_address` that it may be written to. There are
no bounds checks: a kernel may only form addresses from indices that its caller has validated.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import TypingError
from numba.extending import intrinsic, models, register_model

UNIT = 8
BLOCK = 16  # lanes of what `totals` returns
W8 = (0,)
W16 = (0, 0)

_F32, _F64, _I1, _I8, _I32 = ir.FloatType(), ir.DoubleType(), ir.IntType(1), ir.IntType(8), ir.IntType(32)


class Float32Vector(types.Type):
    """Numba's type of a vector of `lanes` float32 values."""

    def __init__(self, lanes: int) -> None:
        self.lanes = lanes
        super().__init__(name=f"Float32Vector({lanes})")


@register_model(Float32Vector)
class _Float32VectorModel(models.PrimitiveModel):
    def __init__(self, dmm: Any, fe_type: Float32Vector) -> None:
        super().__init__(dmm, fe_type, _llvm_type(fe_type))


def _llvm_type(vector: Float32Vector, element: ir.Type = _F32) -> ir.VectorType:
    return ir.VectorType(element, vector.lanes)


def _of(width: types.BaseTuple) -> Float32Vector:
    return Float32Vector(UNIT * len(width))


def _call(builder: ir.IRBuilder, name: str, result: ir.Type, args: list) -> ir.Value:
    function = ir.FunctionType(result, [a.type for a in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, function, name), args)


def _constant(lanes: int, value: float | int, element: ir.Type = _F32) -> ir.Constant:
    return ir.Constant(ir.VectorType(element, lanes), [value] * lanes)


def _shuffle(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, lanes: list[int]) -> ir.Value:
    return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(_I32, len(lanes)), lanes))


def _pointer(builder: ir.IRBuilder, address: ir.Value, pointee: ir.Type) -> ir.Value:
    return builder.inttoptr(address, pointee.as_pointer())


def _address_of(dtype: types.Type, writable: bool) -> Any:
    @intrinsic
    def element_address(typingctx, array, index):
        if not isinstance(array, types.Array) or array.dtype != dtype or array.layout != "C":
            raise TypingError(f"a C-contiguous {dtype} array is needed, got {array}")
        if writable and not array.mutable:
            raise TypingError(f"a writable array is needed, got {array}")

        def codegen(context, builder, sig, args):
            data = context.make_array(sig.args[0])(context, builder, args[0]).data
            return builder.ptrtoint(builder.gep(data, [args[1]]), ir.IntType(64))

        return types.int64(array, types.intp), codegen

    return element_address


# The address of element `index`, counted flat, of a C-contiguous array that is only read, or of one that is written.
address = _address_of(types.float32, writable=False)
mutable_address = _address_of(types.float32, writable=True)
int32_address = _address_of(types.int32, writable=False)
int64_address = _address_of(types.int64, writable=False)
uint32_address = _address_of(types.uint32, writable=False)
float64_address = _address_of(types.float64, writable=False)
uint8_address = _address_of(types.uint8, writable=False)


def _getter(dtype: types.Type, item: ir.Type) -> Any:
    @intrinsic
    def get(typingctx, where, index):
        def codegen(context, builder, sig, args):
            return builder.load(builder.gep(_pointer(builder, args[0], item), [args[1]]))

        return dtype(types.int64, types.int64), codegen

    return get


def _putter(dtype: types.Type, item: ir.Type) -> Any:
    @intrinsic
    def put(typingctx, where, index, value):
        def codegen(context, builder, sig, args):
            builder.store(args[2], builder.gep(_pointer(builder, args[0], item), [args[1]]))
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, dtype), codegen

    return put


# Element `index` behind an address, read or written. Numba counts references whenever an array is handed to a function,
# which costs more than the work of a small one; a number is handed over for nothing.
get_float32, put_float32 = _getter(types.float32, _F32), _putter(types.float32, _F32)
get_int32, put_int32 = _getter(types.int32, _I32), _putter(types.int32, _I32)
get_int64, put_int64 = _getter(types.int64, ir.IntType(64)), _putter(types.int64, ir.IntType(64))
get_float64, put_float64 = _getter(types.float64, _F64), _putter(types.float64, _F64)
get_uint32 = _getter(types.uint32, _I32)
get_uint8 = _getter(types.uint8, _I8)


@intrinsic
def load(typingctx, where, width):
    """Return the vector at address `where`."""
    vector = _of(width)

    def codegen(context, builder, sig, args):
        return builder.load(_pointer(builder, args[0], _llvm_type(vector)), align=4)

    return vector(types.int64, width), codegen


@intrinsic
def load_splat(typingctx, where, width):
    """Return a vector whose lanes are all the float32 at address `where`."""
    vector = _of(width)

    def codegen(context, builder, sig, args):
        value = builder.load(_pointer(builder, args[0], _F32), align=4)
        undefined = ir.Constant(_llvm_type(vector), ir.Undefined)
        return _shuffle(builder, builder.insert_element(undefined, value, _I32(0)), undefined, [0] * vector.lanes)

    return vector(types.int64, width), codegen


@intrinsic
def store(typingctx, where, value):
    """Write the vector `value` to address `where`."""

    def codegen(context, builder, sig, args):
        builder.store(args[1], _pointer(builder, args[0], args[1].type), align=4)
        return context.get_dummy_value()

    return types.void(types.int64, value), codegen


@intrinsic
def prefetch(typingctx, where, width):
    """Ask for the cache lines of a vector at address `where`, into the second cache; never faults."""
    lines = max(1, UNIT * len(width) // 16)

    def codegen(context, builder, sig, args):
        for line in range(lines):
            at = builder.add(args[0], ir.Constant(args[0].type, 64 * line))
            _call(builder, "llvm.prefetch.p0", ir.VoidType(), [_pointer(builder, at, _I8), _I32(0), _I32(2), _I32(1)])
        return context.get_dummy_value()

    return types.void(types.int64, width), codegen


@intrinsic
def zeros(typingctx, width):
    """Return a vector of zeros."""
    vector = _of(width)
    return vector(width), lambda context, builder, sig, args: _constant(vector.lanes, 0.0)


@intrinsic
def splat(typingctx, x, width):
    """Return a vector whose lanes are all the float32 `x`."""
    vector = _of(width)

    def codegen(context, builder, sig, args):
        undefined = ir.Constant(_llvm_type(vector), ir.Undefined)
        first = builder.insert_element(undefined, args[0], _I32(0))
        return _shuffle(builder, first, undefined, [0] * vector.lanes)

    return vector(types.float32, width), codegen


def _binary(opcode: str) -> Any:
    @intrinsic
    def operation(typingctx, a, b):
        return a(a, a), lambda context, builder, sig, args: getattr(builder, opcode)(*args)

    return operation


add, sub, mul, div = map(_binary, ("fadd", "fsub", "fmul", "fdiv"))


@intrinsic
def fma(typingctx, a, b, c):
    """Return ``a * b + c``, rounded once."""

    def codegen(context, builder, sig, args):
        return _call(builder, f"llvm.fma.v{sig.return_type.lanes}f32", args[0].type, list(args))

    return a(a, a, a), codegen


@intrinsic
def sqrt(typingctx, a):
    """Return the square root lane by lane."""

    def codegen(context, builder, sig, args):
        return _call(builder, f"llvm.sqrt.v{sig.return_type.lanes}f32", args[0].type, list(args))

    return a(a), codegen


@intrinsic
def trailing_zeros(typingctx, bits):
    """Return how many of the lowest bits of a uint64, not of zero, are zero."""

    def codegen(context, builder, sig, args):
        return builder.cttz(args[0], _I1(1))

    return types.uint64(types.uint64), codegen


@intrinsic
def total(typingctx, a):
    """Return the sum of the lanes, in any order, as a float32."""

    def codegen(context, builder, sig, args):
        name = f"llvm.vector.reduce.fadd.v{sig.args[0].lanes}f32"
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(_F32, [_F32, args[0].type]), name)
        return builder.call(function, [ir.Constant(_F32, -0.0), args[0]], fastmath=("reassoc",))

    return types.float32(a), codegen


@intrinsic
def totals(typingctx, vectors):
    """Return the lane sums of a tuple of up to 16 vectors: lane i of the result, of `BLOCK` lanes, is that of vector i.

    A tree that folds two vectors into one at every step needs about three instructions a sum, where summing each
    vector by itself needs eight and more. Lanes beyond the number of vectors hold copies of other sums.
    """

    def codegen(context, builder, sig, args):
        lanes = sig.args[0].dtype.lanes
        parts, step = cgutils.unpack_tuple(builder, args[0]), 1
        while step < lanes:
            pairs = [(parts[i], parts[min(i + 1, len(parts) - 1)]) for i in range(0, len(parts), 2)]
            parts = [_fold(builder, a, b, step, lanes) for a, b in pairs]
            step *= 2
        out = parts[0] if lanes == BLOCK else _shuffle(builder, parts[0], parts[-1], list(range(BLOCK)))
        return out

    uniform = isinstance(vectors, types.UniTuple) and isinstance(vectors.dtype, Float32Vector)
    if not uniform or len(vectors) > BLOCK:
        raise TypingError(f"totals takes 1 to {BLOCK} vectors of one width, got {vectors}")
    return Float32Vector(BLOCK)(vectors), codegen


def _fold(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, step: int, lanes: int) -> ir.Value:
    """Half sums of `a` in the lanes whose bit `step` is clear, half sums of `b` in the others."""
    kept = [i + lanes if i & step else i for i in range(lanes)]
    moved = [(i ^ step) + lanes if i & step else i ^ step for i in range(lanes)]
    return builder.fadd(_shuffle(builder, a, b, kept), _shuffle(builder, a, b, moved))


@intrinsic
def where_positive(typingctx, condition, a, b):
    """Return `a` in the lanes where `condition` > 0, `b` elsewhere."""

    def codegen(context, builder, sig, args):
        zero = _constant(sig.args[0].lanes, 0.0)
        return builder.select(builder.fcmp_ordered(">", args[0], zero), args[1], args[2])

    return a(condition, a, a), codegen


@intrinsic
def maximum(typingctx, a, b):
    """Return the greater of two vectors, lane by lane: `b` where `a` is not a number."""

    def codegen(context, builder, sig, args):
        return builder.select(builder.fcmp_ordered(">", args[0], args[1]), args[0], args[1])

    return a(a, a), codegen


@intrinsic
def any_greater(typingctx, a, b):
    """Return whether `a` is greater than `b` in any lane; a NaN never is."""

    def codegen(context, builder, sig, args):
        greater = builder.fcmp_ordered(">", args[0], args[1])
        return _call(builder, f"llvm.vector.reduce.or.v{sig.args[0].lanes}i1", _I1, [greater])

    return types.boolean(a, a), codegen


@intrinsic
def clamp(typingctx, a, bound):
    """Limit `a` to [-bound, bound] lane by lane, `bound` a float32; NaN stays NaN."""

    def codegen(context, builder, sig, args):
        lanes = sig.args[0].lanes
        undefined = ir.Constant(args[0].type, ir.Undefined)
        high = _shuffle(builder, builder.insert_element(undefined, args[1], _I32(0)), undefined, [0] * lanes)
        low = builder.fsub(_constant(lanes, -0.0), high)
        x = builder.select(builder.fcmp_ordered("<", high, args[0]), high, args[0])
        return builder.select(builder.fcmp_ordered(">", low, x), low, x)

    return a(a, types.float32), codegen


# exp(x) = 2^n * 2^r with n the nearest integer to x / ln 2; the coefficients, of r^0 first, are 2^r's Taylor series,
# whose first omitted term is below 1.3e-7 for |r| <= 1/2.
_EXP2 = (1.0, 6.931471805599453e-01, 2.402265069591007e-01, 5.5504108664821576e-02, 9.618129107628477e-03,
         1.3333558146428443e-03, 1.5403530393381608e-04)  # fmt: skip
_LOG2_E = 1.4426950408889634


def _polynomial(builder: ir.IRBuilder, x: ir.Value, coefficients: tuple[float, ...]) -> ir.Value:
    """Add up coefficients[k] * x**k by Estrin's scheme: pairs at once, so that the chain of multiply-adds is short."""
    lanes = x.type.count
    terms = [_constant(lanes, c) for c in coefficients]
    while len(terms) > 1:
        pairs = zip(terms[::2], terms[1::2], strict=False)
        odd = terms[len(terms) & ~1 :]
        terms = [_call(builder, f"llvm.fma.v{lanes}f32", x.type, [high, x, low]) for low, high in pairs] + odd
        x = builder.fmul(x, x)
    return terms[0]


@intrinsic
def exp(typingctx, a):
    """Return ``e ** a`` lane by lane, within 1e-6 of the true value for ``|a| <= 16``, 2e-6 up to 80; NaN stays NaN."""

    def codegen(context, builder, sig, args):
        lanes, x = sig.args[0].lanes, args[0]
        integers = ir.VectorType(_I32, lanes)
        log2_e = _constant(lanes, _LOG2_E)
        n = _call(builder, f"llvm.rint.v{lanes}f32", x.type, [builder.fmul(x, log2_e)])
        r = _call(builder, f"llvm.fma.v{lanes}f32", x.type, [x, log2_e, builder.fsub(_constant(lanes, -0.0), n)])
        # NaN has no integer; y is NaN already.
        whole = builder.select(builder.fcmp_ordered("ord", n, n), n, _constant(lanes, 0.0))
        exponent = builder.fptosi(whole, integers)
        power = builder.shl(exponent, _constant(lanes, 23, _I32))
        y = _polynomial(builder, r, _EXP2)
        return builder.bitcast(builder.add(builder.bitcast(y, integers), power), x.type)

    return a(a), codegen


# log(x) = n ln 2 + 2 atanh((m - 1) / (m + 1)) with x = 2^n m and m in [1/sqrt 2, sqrt 2).
_ATANH = (2.0, 2 / 3, 2 / 5, 2 / 7, 2 / 9)
_LN_2 = 0.6931471805599453
_SQRT_HALF_BITS = 0x3F3504F3


@intrinsic
def log(typingctx, a):
    """Return the natural logarithm lane by lane of positive normal numbers, within 4e-7; NaN stays NaN."""

    def codegen(context, builder, sig, args):
        lanes, x = sig.args[0].lanes, args[0]
        integers = ir.VectorType(_I32, lanes)
        bits = builder.bitcast(x, integers)
        base = _constant(lanes, _SQRT_HALF_BITS, _I32)
        exponent = builder.ashr(builder.sub(bits, base), _constant(lanes, 23, _I32))
        mantissa = builder.sub(bits, builder.shl(exponent, _constant(lanes, 23, _I32)))
        m = builder.bitcast(mantissa, x.type)
        one = _constant(lanes, 1.0)
        t = builder.fdiv(builder.fsub(m, one), builder.fadd(m, one))
        y = builder.fmul(t, _polynomial(builder, builder.fmul(t, t), _ATANH))
        n = builder.sitofp(exponent, x.type)
        y = _call(builder, f"llvm.fma.v{lanes}f32", x.type, [n, _constant(lanes, _LN_2), y])
        return builder.fadd(y, builder.fmul(x, _constant(lanes, 0.0)))

    return a(a), codegen
