"""Arguments that may be None, chosen when a kernel is compiled.

Numba drops ``if x is None`` where x is None, but where it is not, both branches give a variable its type. Each of these
functions has one type.
"""

from numba import types

from fastemb.kernels.cpu.options import chosen
from fastemb.kernels.cpu.simd import address, int32_address, int64_address

__all__ = ["address_of", "given", "lists_of", "unless"]


def given(option, value):
    """Return `value` where there is an `option`, else None."""


@chosen(given)
def _given(option, value):
    return (lambda option, value: None) if isinstance(option, types.NoneType) else (lambda option, value: value)


def unless(option, value):
    """Return None where there is an `option`, else `value`."""


@chosen(unless)
def _unless(option, value):
    return (lambda option, value: value) if isinstance(option, types.NoneType) else (lambda option, value: None)


def address_of(array):
    """Return the address of an optional float32 array."""


@chosen(address_of)
def _address_of(array):
    return (lambda array: None) if isinstance(array, types.NoneType) else (lambda array: address(array, 0))


def lists_of(ragged):
    """Return the addresses of optional values and offsets."""


@chosen(lists_of)
def _lists_of(ragged):
    if isinstance(ragged, types.NoneType):
        return lambda ragged: None
    return lambda ragged: (int32_address(ragged[0], 0), int64_address(ragged[1], 0))
