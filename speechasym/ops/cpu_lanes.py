"""What numba cannot say to LLVM about the lanes of SIMD registers: two intrinsics for kernels."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic


@intrinsic
def registers(typingctx: Any, count: Any, like: Any) -> Any:
    """Allocate `count` numbers on the stack; LLVM keeps them in registers, unlike heap arrays."""
    if not isinstance(count, types.IntegerLiteral):
        return None  # numba asks again with the literal
    pointer = types.CPointer(like)

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        element = context.get_value_type(like)
        slot = cgutils.alloca_once(builder, ir.ArrayType(element, count.literal_value))
        return builder.bitcast(slot, element.as_pointer())

    return pointer(count, like), codegen


@intrinsic
def store(typingctx: Any, to: Any, at: Any, rows: Any, scale: Any, count: Any) -> Any:
    """Write to[at:] = scale a, or scale (a + i b) (c + i d) as re, im, re, im, ...

    The rows (a,) or (a, b, c, d) have `count` numbers. A loop over so few would be unrolled by
    numba before LLVM could vectorise it.
    """
    if not isinstance(count, types.IntegerLiteral):
        return None
    lanes = count.literal_value

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def shuffle(x: Any, y: Any, order: list[int]) -> Any:
            mask = ir.Constant(ir.VectorType(ir.IntType(32), len(order)), order)
            return builder.shuffle_vector(x, y, mask)

        def start(kind: Any, array: Any) -> Any:
            return context.make_array(kind)(context, builder, array).data

        vector = ir.VectorType(context.get_value_type(scale), lanes)
        pointers = [
            start(kind, builder.extract_value(args[2], i))
            for i, kind in enumerate(signature.args[2])
        ]
        out, *others = (
            builder.load(builder.bitcast(pointer, vector.as_pointer()), align=4)
            for pointer in pointers
        )
        if others:
            b, c, d = others
            re = builder.fsub(builder.fmul(out, c), builder.fmul(b, d))
            im = builder.fadd(builder.fmul(out, d), builder.fmul(b, c))
            out = shuffle(re, im, [i + part * lanes for i in range(lanes) for part in (0, 1)])
        wide = ir.VectorType(vector.element, out.type.count)
        factor = builder.insert_element(ir.Constant(wide, ir.Undefined), args[3], ir.IntType(32)(0))
        out = builder.fmul(out, shuffle(factor, factor, [0] * wide.count))
        if isinstance(wide.element, ir.DoubleType):
            out = builder.fptrunc(out, ir.VectorType(ir.FloatType(), wide.count))
        target = builder.gep(start(signature.args[0], args[0]), [args[1]])
        builder.store(out, builder.bitcast(target, out.type.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.none(to, at, rows, scale, count), codegen
