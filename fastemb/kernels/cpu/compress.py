"""The lanes of a vector that pass a test, side by side: one instruction with AVX-512, dozens on other processors."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

__all__ = ["LANES", "compress_ends", "compress_pairs"]

LANES = 8

_I8, _I32, _I64 = ir.IntType(8), ir.IntType(32), ir.IntType(64)
_VECTOR = ir.VectorType(_I64, LANES)
_MASK = ir.VectorType(ir.IntType(1), LANES)
_SHIFT = ir.Constant(_VECTOR, [32] * LANES)


def _splat(builder: ir.IRBuilder, value: ir.Value) -> ir.Value:
    undefined = ir.Constant(_VECTOR, ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(_I32, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(_I32, LANES), [0] * LANES))


def _count_up(builder: ir.IRBuilder, first: ir.Value) -> ir.Value:
    return builder.add(_splat(builder, first), ir.Constant(_VECTOR, list(range(LANES))))


def _pointer(context: Any, builder: ir.IRBuilder, array: types.Array, value: ir.Value, index: ir.Value) -> ir.Value:
    """Address element `index` of a C-contiguous array, and the vector that begins there."""
    element = context.get_value_type(array.dtype)
    data = builder.gep(context.make_array(array)(context, builder, value).data, [index])
    return builder.bitcast(data, ir.VectorType(element, LANES).as_pointer())


def _align(array: types.Array) -> int:
    return array.dtype.bitwidth // 8


def _store_kept(builder: ir.IRBuilder, where: ir.Value, vector: ir.Value, keep: ir.Value, align: int) -> None:
    """Write the lanes of `keep` side by side; the other lanes of the vector that begins at `where` become undefined."""
    kind, name = vector.type, f"llvm.experimental.vector.compress.v{LANES}{vector.type.element.intrinsic_name}"
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind, _MASK, kind]), name)
    builder.store(builder.call(function, [vector, keep, ir.Constant(kind, ir.Undefined)]), where, align=align)


def _count(builder: ir.IRBuilder, mask: ir.Value) -> ir.Value:
    return builder.zext(builder.ctpop(builder.bitcast(mask, _I8)), _I64)


@intrinsic
def compress_pairs(typingctx, pairs, at, indices, labels, position, low, span, padding_idx):
    """Append to pairs[at:] the pairs of those of the `LANES` indices from `position` on that are to be taken.

    These are the ones in ``[low, low + span)`` but for `padding_idx`; a pair is ``(index - low) << 32 | label``, where
    `labels` None stands for the positions. Return how many. All `LANES` of ``pairs[at:]`` are overwritten.
    """
    labelled = not isinstance(labels, types.NoneType)

    def codegen(context, builder, sig, args):
        pairs, at, indices, labels, position, low, span, padding_idx = args
        where = _pointer(context, builder, sig.args[2], indices, position)
        index = builder.load(where, align=_align(sig.args[2]))
        if sig.args[2].dtype.bitwidth < 64:
            index = builder.sext(index, _VECTOR)
        key = builder.sub(index, _splat(builder, low))
        keep = builder.icmp_unsigned("<", key, _splat(builder, span))
        keep = builder.and_(keep, builder.icmp_unsigned("!=", index, _splat(builder, padding_idx)))
        if labelled:
            label = builder.load(_pointer(context, builder, sig.args[3], labels, position), align=4)
            label = builder.zext(label, _VECTOR)
        else:
            label = _count_up(builder, position)
        pair = builder.or_(builder.shl(key, _SHIFT), label)
        _store_kept(builder, _pointer(context, builder, sig.args[0], pairs, at), pair, keep, 8)
        return _count(builder, keep)

    numbers = (types.uint64, types.int64, types.uint64, types.int64)
    return types.uint64(pairs, types.uint64, indices, labels, *numbers), codegen


@intrinsic
def compress_ends(typingctx, rows, ends, at, pairs, position, low, first):
    """Append to rows[at:] and ends[at:] the runs of equal keys that end in the `LANES` pairs from `position` on.

    The pair behind them is read, too. A run's row is its key + `low`, its end `first` + the position behind it. Return
    how many. All `LANES` of ``rows[at:]`` and ``ends[at:]`` are overwritten.
    """

    def codegen(context, builder, sig, args):
        rows, ends, at, pairs, position, low, first = args
        behind = builder.add(position, ir.Constant(_I64, 1))
        here = builder.load(_pointer(context, builder, sig.args[3], pairs, position), align=8)
        following = builder.load(_pointer(context, builder, sig.args[3], pairs, behind), align=8)
        key = builder.lshr(here, _SHIFT)
        keep = builder.icmp_unsigned("!=", key, builder.lshr(following, _SHIFT))
        row = builder.add(key, _splat(builder, low))
        if sig.args[0].dtype.bitwidth < 64:
            row = builder.trunc(row, ir.VectorType(_I32, LANES))
        end = _count_up(builder, builder.add(first, behind))
        _store_kept(builder, _pointer(context, builder, sig.args[0], rows, at), row, keep, _align(sig.args[0]))
        _store_kept(builder, _pointer(context, builder, sig.args[1], ends, at), end, keep, 8)
        return _count(builder, keep)

    numbers = (types.uint64, types.int64, types.uint64)
    return types.uint64(rows, ends, types.uint64, pairs, *numbers), codegen
