"""Tensors as arrays and arrays as tensors, on the same memory."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import _C, Tensor, nn
from torch.autograd import forward_ad

from fastemb.engine.device import DeviceArray
from fastemb.torch.devices import device_array, on_gpu

__all__ = ["DTYPES", "array_of", "is_native", "table_of", "take_indices", "tensor_of"]

DTYPES: dict[torch.dtype, np.dtype] = {  # of tables, and of their arrays
    torch.float64: np.dtype(np.float64),
    torch.float32: np.dtype(np.float32),
    torch.float16: np.dtype(np.float16),
    torch.bfloat16: np.dtype(np.uint16),
}
_PLAIN = frozenset((nn.Parameter, Tensor))
_NARROW = frozenset((torch.uint8, torch.int8, torch.int16))


def is_native(weight: Tensor) -> bool:
    """Return whether fastemb's kernels can read this table here and now.

    They cannot on devices other than the CPU and an NVIDIA GPU that fastemb can use, in tensor subclasses (fake,
    distributed, quantised), under ``torch.func``'s transforms, forward-mode derivatives and ``torch.jit.trace``:
    torch's own operations do the work there.

    Examples
    --------
    >>> is_native(torch.zeros(2, 3)), is_native(torch.zeros(2, 3, device="meta"))
    (True, False)
    """
    return (
        type(weight) in _PLAIN
        and (weight.is_cpu or on_gpu(weight))
        and weight.dtype in DTYPES
        and weight.layout is torch.strided
        and not _C._are_functorch_transforms_active()
        and forward_ad._current_level < 0
        and not _C._get_tracing_state()
    )


def array_of(tensor: Tensor) -> Any:
    """Return a tensor's memory as an array, of NumPy or of a GPU: a bfloat16 one's as its bits in uint16.

    Examples
    --------
    >>> tensor = torch.ones(2, dtype=torch.bfloat16)
    >>> array_of(tensor)
    array([16256, 16256], dtype=uint16)
    """
    if tensor.requires_grad:
        tensor = tensor.detach()
    if on_gpu(tensor):
        return device_array(tensor)
    if tensor.dtype is torch.bfloat16:
        tensor = tensor.view(torch.uint16)
    return tensor.numpy()


def table_of(weight: Tensor) -> Any:
    """Return a table's memory as an array with unit inner stride, or a copy where there is none such.

    Examples
    --------
    >>> table_of(torch.zeros(3, 2).T).strides
    (12, 4)
    """
    return array_of(weight if weight.stride(1) == 1 else weight.detach().contiguous())


def tensor_of(array: NDArray | DeviceArray, dtype: torch.dtype | None = None) -> Tensor:
    """Return an array's memory as a tensor: uint16 as the bits of bfloat16 where that is the dtype.

    Examples
    --------
    >>> tensor_of(np.array([16256], np.uint16), torch.bfloat16)
    tensor([1.], dtype=torch.bfloat16)
    """
    tensor = torch.from_dlpack(array) if isinstance(array, DeviceArray) else torch.from_numpy(array)
    return tensor.view(torch.bfloat16) if dtype is torch.bfloat16 and array.dtype == np.uint16 else tensor


def take_indices(name: str, tensor: Tensor, weight: Tensor) -> Tensor:
    """Return indices as int32 or int64; narrower integers are widened.

    Raises
    ------
    TypeError
        If they are no tensor, or none of integers.
    ValueError
        If they lie on another device than the table.

    Examples
    --------
    >>> take_indices("input", torch.tensor([1.5]), torch.zeros(2, 3))
    Traceback (most recent call last):
        ...
    TypeError: input must be a tensor of integers, got one of torch.float32
    """
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name} must be a tensor of integers, got {type(tensor).__name__}")
    dtype = tensor.dtype
    if dtype is not torch.int64 and dtype is not torch.int32:
        if dtype not in _NARROW:
            raise TypeError(f"{name} must be a tensor of integers, got one of {dtype}")
        tensor = tensor.to(torch.int32)
    on_cpu = tensor.is_cpu
    if on_cpu != weight.is_cpu or not (on_cpu or tensor.get_device() == weight.get_device()):
        raise ValueError(f"{name} must lie where weight lies, on {weight.device}, got {tensor.device}")
    return tensor
