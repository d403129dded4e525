"""Loads and stores that tell LLVM which array they belong to.

A fused loop over twenty arrays or more silently stops being vectorised, because LLVM gives up on checking
that they do not overlap. Each array of a loop gets an alias scope: what belongs to one scope is said not to
touch the others.
"""

import functools

from llvmlite import ir
from numba import types
from numba.extending import intrinsic


@functools.cache
def access(scope: int, scopes: int):
    """Intrinsics ``load(array, offset)`` and ``store(array, offset, value)`` of flat arrays in one of so many
    alias scopes.
    """

    def mark(builder, instruction):
        module = builder.module
        domain = module.add_metadata([ir.MetaDataString(module, "tinyrnn")])
        names = [ir.MetaDataString(module, f"array {i}") for i in range(scopes)]
        all_scopes = [module.add_metadata([name, domain]) for name in names]
        own = all_scopes.pop(scope)
        instruction.set_metadata("alias.scope", module.add_metadata([own]))
        instruction.set_metadata("noalias", module.add_metadata(all_scopes))
        return instruction

    def pointer(context, builder, array_type, array, offset):
        return builder.gep(context.make_array(array_type)(context, builder, array).data, [offset])

    @intrinsic
    def load(typing_context, array, offset):
        def codegen(context, builder, signature, args):
            return mark(builder, builder.load(pointer(context, builder, signature.args[0], *args)))

        return array.dtype(array, types.intp), codegen

    @intrinsic
    def store(typing_context, array, offset, value):
        def codegen(context, builder, signature, args):
            mark(builder, builder.store(args[2], pointer(context, builder, signature.args[0], *args[:2])))
            return context.get_dummy_value()

        return types.void(array, types.intp, array.dtype), codegen

    return load, store
