"""A block's own memory, and loads of tables that other blocks add to at the same time: intrinsics, as in `vector`.

A block's own memory is one array of float32: dynamic shared memory, or, where a window's rows are too many for it, a
row of an array in global memory. Places in it are counted in floats; vectors of four are at multiples of four.
"""

from typing import Any

import numpy as np

from fastemb.kernels.cuda.vector import SIMULATED, W4

__all__ = ["cuda", "fresh_load", "near_load", "near_memory", "near_store"]

if SIMULATED:
    import numba.cuda

    from fastemb.kernels.cuda.simulated import _plain, here
    from fastemb.kernels.cuda.simulated import load as fresh_load

    class _Here:
        """`numba.cuda` to functions that kernels call: Numba's simulator loses it when several threads are in one."""

        jit = staticmethod(numba.cuda.jit)

        def __getattr__(self, name):
            return getattr(here(), name)

    cuda: Any = _Here()

    @cuda.jit(device=True)
    def near_memory(near):
        return near[0][cuda.blockIdx.x] if len(near) else cuda.shared.array(0, np.dtype(np.float32))

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
    from numba import cuda  # type: ignore[no-redef]
    from numba.cuda import types
    from numba.cuda.extending import intrinsic
    from numba.cuda.np.arrayobj import populate_array

    from fastemb.kernels.cuda.vector import _address, _table

    _F32, _I32, _I64, _BYTES = ir.FloatType(), ir.IntType(32), ir.IntType(64), ir.IntType(8).as_pointer()
    _VECTOR = ir.VectorType(_F32, 4)
    _GLOBAL, _SHARED = 1, 3  # address spaces

    @intrinsic
    def near_memory(typingctx, near):
        """Return the block's own memory: its row of the array in the tuple `near`, or, where that is empty, shared."""
        kind = types.Array(types.float32, 1, "C")

        def codegen(context, builder, sig, args):
            if len(sig.args[0]):
                rows = context.make_array(sig.args[0][0])(context, builder, builder.extract_value(args[0], 0))
                block = builder.zext(_special(builder, "%ctaid.x"), _I64)
                start = builder.add(
                    builder.ptrtoint(rows.data, _I64), builder.mul(block, builder.extract_value(rows.strides, 0))
                )
                data = builder.inttoptr(start, rows.data.type)
                size = builder.extract_value(rows.shape, 1)
            else:
                data = _dynamic_shared(builder)
                size = builder.udiv(builder.zext(_special(builder, "%dynamic_smem_size"), _I64), ir.Constant(_I64, 4))
            made = context.make_array(kind)(context, builder)
            item = ir.Constant(_I64, 4)
            populate_array(
                made, builder.bitcast(data, made.data.type), shape=[size], strides=[item], itemsize=item, meminfo=None
            )
            return made._getvalue()

        return kind(near), codegen

    def _special(builder: Any, register: str) -> Any:
        """Return what a special register holds."""
        return builder.call(
            ir.InlineAsm(ir.FunctionType(_I32, []), f"mov.u32 $0, {register};", "=r", side_effect=False), []
        )

    def _dynamic_shared(builder: Any) -> Any:
        """Return the address of the dynamic shared memory, which begins at a multiple of 16 bytes."""
        name = "fastemb_near_memory"
        memory = builder.module.globals.get(name)
        if memory is None:
            memory = ir.GlobalVariable(builder.module, ir.ArrayType(_F32, 0), name, _SHARED)
            memory.linkage, memory.align = "external", 16
        return builder.addrspacecast(memory, _BYTES, "generic")

    def _near_address(context: Any, builder: Any, kind: Any, array: Any, place: Any) -> Any:
        """Return the generic address of four floats; the compiler finds out which memory they are in."""
        made = context.make_array(kind)(context, builder, array)
        return builder.bitcast(builder.gep(made.data, [place]), _VECTOR.as_pointer())

    @intrinsic
    def near_load(typingctx, memory, place):
        """Return four floats of the block's own memory."""

        def codegen(context, builder, sig, args):
            found = builder.load(_near_address(context, builder, sig.args[0], *args), align=16)
            values = [builder.extract_element(found, ir.Constant(_I32, n)) for n in range(4)]
            return context.make_tuple(builder, sig.return_type, values)

        return types.UniTuple(types.float32, 4)(memory, types.int64), codegen

    @intrinsic
    def near_store(typingctx, memory, place, vector):
        """Write four floats of the block's own memory."""

        def codegen(context, builder, sig, args):
            made = ir.Constant(_VECTOR, ir.Undefined)
            for n in range(4):
                made = builder.insert_element(made, builder.extract_value(args[2], n), ir.Constant(_I32, n))
            builder.store(made, _near_address(context, builder, sig.args[0], *args[:2]), align=16)
            return context.get_dummy_value()

        return types.void(memory, types.int64, types.UniTuple(types.float32, 4)), codegen

    @intrinsic
    def fresh_load(typingctx, array, row, column, width):
        """Return four floats of a table as they are in the memory that all blocks share, not in a block's cache."""
        if _table(array) != types.float32 or len(width) != len(W4):
            return None

        def codegen(context, builder, sig, args):
            generic = builder.inttoptr(_address(context, builder, sig.args[0], *args[:3]), _BYTES)
            pointer = builder.addrspacecast(generic, ir.IntType(8).as_pointer(_GLOBAL))
            kind = ir.FunctionType(ir.LiteralStructType([_F32] * 4), [_I64])
            text = "ld.relaxed.gpu.global.v4.f32 {$0, $1, $2, $3}, [$4];"
            assembly = ir.InlineAsm(kind, text, "=f,=f,=f,=f,l,~{memory}", side_effect=True)
            found = builder.call(assembly, [builder.ptrtoint(pointer, _I64)])
            return context.make_tuple(builder, sig.return_type, [builder.extract_value(found, n) for n in range(4)])

        return types.UniTuple(types.float32, 4)(array, types.int64, types.int64, width), codegen
