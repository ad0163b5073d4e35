"""A block's own memory, and loads of tables that other blocks add to at the same time.

A block's own memory is one array of float32: dynamic shared memory, or, where a window's rows are too many for it, a
row of an array in global memory. Places in it are counted in floats, and those of vectors of four are multiples of four.
"""

from typing import Any

import numpy as np
from numba import cuda

from fastemb.kernels.cuda.vector import SIMULATED, W4

__all__ = ["ALIGNMENT", "FLOATS", "fresh_load", "near_load", "near_memory", "near_store"]

FLOATS = np.dtype(np.float32)
ALIGNMENT = None if SIMULATED else 16  # of dynamic shared memory

if SIMULATED:
    from fastemb.kernels.cuda.simulated import _plain
    from fastemb.kernels.cuda.simulated import load as fresh_load

    @cuda.jit(device=True)
    def near_memory(near, shared):
        return near[0][cuda.blockIdx.x] if len(near) else shared

    def near_load(memory, place):
        plain = _plain(memory)
        assert 0 <= place <= plain.shape[0] - 4 and place % 4 == 0, "outside the array, or not aligned"
        return tuple(plain[place : place + 4])

    def near_store(memory, place, vector):
        plain = _plain(memory)
        assert 0 <= place <= plain.shape[0] - 4 and place % 4 == 0, "outside the array, or not aligned"
        plain[place : place + 4] = vector

else:
    from llvmlite import ir
    from numba.cuda import types
    from numba.cuda.extending import intrinsic
    from numba.cuda.np.arrayobj import populate_array

    from fastemb.kernels.cuda.vector import _address, _table

    _F32, _I64, _GLOBAL = ir.FloatType(), ir.IntType(64), 1
    _VECTOR = ir.VectorType(_F32, 4)

    @intrinsic
    def near_memory(typingctx, near, shared):
        """Return the block's own memory: its row of the array in the tuple `near`, or, where that is empty, `shared`."""
        kind = types.Array(types.float32, 1, "C")

        def codegen(context, builder, sig, args):
            if not len(sig.args[0]):
                return args[1]
            rows = context.make_array(sig.args[0][0])(context, builder, builder.extract_value(args[0], 0))
            block = builder.zext(builder.call(_block_index(builder.module), []), _I64)
            stride, floats = (builder.extract_value(field, n) for field, n in ((rows.strides, 0), (rows.shape, 1)))
            address = builder.add(builder.ptrtoint(rows.data, _I64), builder.mul(block, stride))
            size = ir.Constant(_I64, 4)
            row = context.make_array(kind)(context, builder)
            populate_array(
                row, builder.inttoptr(address, rows.data.type), shape=[floats], strides=[size], itemsize=size,
                meminfo=None,
            )  # fmt: skip
            return row._getvalue()

        return (kind if len(near) else shared)(near, shared), codegen

    def _block_index(module: Any) -> Any:
        name = "llvm.nvvm.read.ptx.sreg.ctaid.x"
        return module.globals.get(name) or ir.Function(module, ir.FunctionType(ir.IntType(32), []), name)

    def _near_address(context: Any, builder: Any, kind: Any, array: Any, place: Any) -> Any:
        """Return the address of four floats; it is generic, as the compiler finds out which memory it is in."""
        made = context.make_array(kind)(context, builder, array)
        return builder.bitcast(builder.gep(made.data, [place]), _VECTOR.as_pointer())

    @intrinsic
    def near_load(typingctx, memory, place):
        """Return four floats of the block's own memory."""

        def codegen(context, builder, sig, args):
            found = builder.load(_near_address(context, builder, sig.args[0], *args), align=16)
            values = [builder.extract_element(found, ir.Constant(ir.IntType(32), n)) for n in range(4)]
            return context.make_tuple(builder, sig.return_type, values)

        return types.UniTuple(types.float32, 4)(memory, types.int64), codegen

    @intrinsic
    def near_store(typingctx, memory, place, vector):
        """Write four floats of the block's own memory."""

        def codegen(context, builder, sig, args):
            made = ir.Constant(_VECTOR, ir.Undefined)
            for n in range(4):
                value = builder.extract_value(args[2], n)
                made = builder.insert_element(made, value, ir.Constant(ir.IntType(32), n))
            builder.store(made, _near_address(context, builder, sig.args[0], *args[:2]), align=16)
            return context.get_dummy_value()

        return types.void(memory, types.int64, types.UniTuple(types.float32, 4)), codegen

    @intrinsic
    def fresh_load(typingctx, array, row, column, width):
        """Return four floats of a table as they are in the memory that all blocks share, not in a block's cache."""
        _table(array)

        def codegen(context, builder, sig, args):
            address = _address(context, builder, sig.args[0], *args[:3])
            byte = ir.IntType(8)
            pointer = builder.addrspacecast(builder.inttoptr(address, byte.as_pointer()), byte.as_pointer(_GLOBAL))
            kind = ir.FunctionType(ir.LiteralStructType([_F32] * 4), [_I64])
            text = "ld.relaxed.gpu.global.v4.f32 {$0, $1, $2, $3}, [$4];"
            assembly = ir.InlineAsm(kind, text, "=f,=f,=f,=f,l,~{memory}", side_effect=True)
            found = builder.call(assembly, [builder.ptrtoint(pointer, _I64)])
            values = [builder.extract_value(found, n) for n in range(4)]
            return context.make_tuple(builder, sig.return_type, values)

        return types.UniTuple(types.float32, len(W4))(array, types.int64, types.int64, width), codegen
