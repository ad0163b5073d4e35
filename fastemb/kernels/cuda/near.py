"""A block's own memory, and tables to which all blocks add at the same time: intrinsics, as in `vector`.

A table is an array (rows, columns) of float32, or a tuple of two, of which the second has the rows after the first's:
those for which there is no room in the GPU's memory, in the host's.

A block's own memory is one array of float32: dynamic shared memory, or, where a window's rows are too many for it, a
row of an array in global memory. Places in it are counted in floats; vectors of four are at multiples of four.
"""

from typing import Any

import numpy as np

from fastemb.kernels.cuda.vector import SIMULATED, W4

__all__ = ["ZEROS", "atomic_add", "columns_of", "cuda", "fresh_load", "near_load", "near_memory", "near_store"]

ZEROS = (np.float32(0),) * 4

if SIMULATED:
    import threading

    import numba.cuda

    from fastemb.kernels.cuda.simulated import _plain, add, here, load, store

    _adding = threading.Lock()

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

    def _part(table, row):
        """Return the array that has a row of a table, and the row's number there."""
        if not isinstance(table, tuple):
            return table, row
        first = table[0].shape[0]
        return (table[0], row) if row < first else (table[1], row - first)

    def columns_of(table):
        return (table[0] if isinstance(table, tuple) else table).shape[1]

    def fresh_load(table, row, column, width):
        array, row = _part(table, row)
        return load(array, row, column, width)

    def atomic_add(table, row, column, vector, atomics):
        array, row = _part(table, row)
        with _adding:
            store(array, row, column, add(load(array, row, column, vector), vector))

else:
    from llvmlite import ir
    from numba import cuda  # type: ignore[no-redef]
    from numba.cuda import types
    from numba.cuda.core.errors import TypingError
    from numba.cuda.extending import intrinsic, overload
    from numba.cuda.np.arrayobj import populate_array

    from fastemb.kernels.cuda.vector import ATOMIC_VECTORS, _address, _table

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

    def columns_of(table: Any) -> Any:
        """Return the number of a table's columns."""

    @overload(columns_of)
    def _columns_of(table: Any) -> Any:
        return _columns_of_first if isinstance(table, types.BaseTuple) else _columns_of_all

    def _columns_of_first(table: Any) -> Any:
        return table[0].shape[1]

    def _columns_of_all(table: Any) -> Any:
        return table.shape[1]

    def _numbers(table: Any) -> Any:
        """Return the dtype of a table."""
        return _table(table[0] if isinstance(table, types.BaseTuple) else table)

    def _row_address(context: Any, builder: Any, kind: Any, table: Any, row: Any, column: Any) -> Any:
        """Return the address of an element of a table as a 64-bit integer."""
        if not isinstance(kind, types.BaseTuple):
            return _address(context, builder, kind, table, row, column)
        first, second = builder.extract_value(table, 0), builder.extract_value(table, 1)
        size = builder.extract_value(context.make_array(kind[0])(context, builder, first).shape, 0)
        near = _address(context, builder, kind[0], first, row, column)
        far = _address(context, builder, kind[1], second, builder.sub(row, size), column)
        return builder.select(builder.icmp_signed("<", row, size), near, far)

    @intrinsic
    def fresh_load(typingctx, array, row, column, width):
        """Return four floats of a table as they are in the memory that all blocks share, not in a block's cache."""
        if _numbers(array) != types.float32 or len(width) != len(W4):
            return None

        def codegen(context, builder, sig, args):
            generic = builder.inttoptr(_row_address(context, builder, sig.args[0], *args[:3]), _BYTES)
            pointer = builder.addrspacecast(generic, ir.IntType(8).as_pointer(_GLOBAL))
            kind = ir.FunctionType(ir.LiteralStructType([_F32] * 4), [_I64])
            text = "ld.relaxed.gpu.global.v4.f32 {$0, $1, $2, $3}, [$4];"
            assembly = ir.InlineAsm(kind, text, "=f,=f,=f,=f,l,~{memory}", side_effect=True)
            found = builder.call(assembly, [builder.ptrtoint(pointer, _I64)])
            return context.make_tuple(builder, sig.return_type, [builder.extract_value(found, n) for n in range(4)])

        return types.UniTuple(types.float32, 4)(array, types.int64, types.int64, width), codegen

    @intrinsic
    def atomic_add(typingctx, array, row, column, vector, atomics):
        """Add a vector to columns of a row of a table; `atomics` is ATOMIC_SCALARS or ATOMIC_VECTORS."""
        count = len(vector)
        if _numbers(array) != types.float32:
            raise TypingError(f"a table of float32 is needed, got {array}")

        def codegen(context, builder, sig, args):
            address = _row_address(context, builder, sig.args[0], *args[:3])
            values = [builder.extract_value(args[3], n) for n in range(count)]
            size = min(4, count) if len(sig.args[4]) == len(ATOMIC_VECTORS) else 1
            spelled = {1: "f32", 2: "v2.f32", 4: "v4.f32"}[size]
            named = ", ".join(f"${n + 1}" for n in range(size))
            text = f"red.global.add.{spelled} [$0], {named if size == 1 else '{' + named + '}'};"
            kind = ir.FunctionType(ir.VoidType(), [_I64, *[_F32] * size])
            assembly = ir.InlineAsm(kind, text, ",".join(["l", *["f"] * size, "~{memory}"]), side_effect=True)
            for first in range(0, count, size):
                moved = builder.add(address, ir.Constant(_I64, 4 * first))
                pointer = builder.inttoptr(moved, ir.IntType(8).as_pointer())
                place = builder.ptrtoint(builder.addrspacecast(pointer, ir.IntType(8).as_pointer(_GLOBAL)), _I64)
                builder.call(assembly, [place, *values[first : first + size]])
            return context.get_dummy_value()

        given = types.UniTuple(types.float32, count)
        return types.void(array, types.int64, types.int64, given, atomics), codegen
