"""How the small functions that kernels are made of are compiled: into their callers, and by themselves not at all.

Numba compiles every function to machine code and optimises it, and then does both again in each function that takes it
in. Of a kernel made of small functions, that is much of what compiling takes. The code of a `taken_in` function gets
only the first, quick passes (without which the loss is measurable) until a kernel takes it in; then it is optimised as
a part of the kernel.
"""

from collections.abc import Callable
from typing import Any

import numba
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler

__all__ = ["taken_in"]


class _NoEnvironment:
    """In the place of what keeps Python objects for compiled functions, which need none: they raise nothing."""

    @staticmethod
    def set_env(name: str, environment: Any) -> None:
        """Keep nothing."""


class _Lowered(JITCodeLibrary):
    """Code that is there to be linked, not run."""

    codegen = _NoEnvironment()

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name: str) -> int:
        """Return that there is no machine code."""
        return 0


class TakenIn(Compiler):
    """Numba's compiler, for functions that are taken in."""

    def __init__(self, typingctx: Any, targetctx: Any, library: Any, *arguments: Any) -> None:
        super().__init__(typingctx, targetctx, _Lowered(targetctx.codegen(), "taken in"), *arguments)


OPTIONS = {"forceinline": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True, "pipeline_class": TakenIn}


def taken_in(function: Callable, options: dict[str, Any]) -> Any:
    """Compile `function` into the kernels that call it. Called from Python, it is compiled as any other."""
    compiled, by_itself = numba.njit(**options, **OPTIONS)(function), numba.njit(**options)(function)
    compiled._insert = _keep_from_python
    compiled._compile_for_args = by_itself._compile_for_args
    return compiled


def _keep_from_python(*overload: Any) -> None:
    """In the place of what shows machine code to Python."""
