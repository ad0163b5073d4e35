"""`torch.nn.functional.embedding` and `embedding_bag` by fastemb's kernels."""

from contextlib import AbstractContextManager, nullcontext
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from fastemb.engine import operations
from fastemb.engine.grouping import group
from fastemb.engine.ragged import Bags, as_bags, padding_row
from fastemb.engine.validate import choice
from fastemb.torch import composite
from fastemb.torch.autograd import Call, apply_lookup, apply_reduce, look_up, reduce
from fastemb.torch.devices import on_gpu, why_not_on_gpu, working
from fastemb.torch.fused import FusedTable
from fastemb.torch.tensors import array_of, is_native, take_indices

__all__ = ["embedding", "embedding_bag"]

_HERE: AbstractContextManager[None] = nullcontext()
_FLOAT64, _FLOAT32 = np.dtype(np.float64), np.dtype(np.float32)


def embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
    *,
    fused: FusedTable | None = None,
) -> Tensor:
    """Look up rows of a table, as `torch.nn.functional.embedding` does.

    Parameters
    ----------
    input : Tensor of integers
        Of any shape, or jagged nested.
    weight : Tensor (num_embeddings, embedding_dim)
        float64, float32, float16 or bfloat16. On devices other than the CPU and an NVIDIA GPU that fastemb can use, in
        tensor subclasses and under ``torch.func``, ``torch.jit.trace`` and forward-mode derivatives, torch's own lookup
        runs.
    padding_idx : int, optional
        A row that takes no gradient; negative ones count from the end.
    max_norm : float, optional
        Rows that are looked up are scaled down in place to this norm first.
    norm_type : float, default 2
        The p of that norm.
    scale_grad_by_freq : bool, default False
        Divide gradients by how often an index is in the input.
    sparse : bool, default False
        Make the gradient a sparse tensor, coalesced.
    fused : optional
        Of a module that has a fused optimizer; not for users.

    Returns
    -------
    Tensor (*input.shape, embedding_dim)

    Raises
    ------
    IndexError
        If an index is out of range.

    Examples
    --------
    >>> embedding(torch.tensor([[2], [0]]), torch.arange(6.0).reshape(3, 2))
    tensor([[[4., 5.]],
    <BLANKLINE>
            [[0., 1.]]])
    """
    if not is_native(weight) or type(input) is not Tensor:
        _refuse_fused(fused, weight)
        return F.embedding(input, weight, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse)
    with working(weight) if on_gpu(weight) else _HERE:
        input = take_indices("input", input, weight)
        indices = array_of(input.contiguous()).reshape(-1)
        if padding_idx is not None:
            padding_idx = padding_row(padding_idx, len(weight))
        _before_reading(weight, indices, max_norm, norm_type, fused)
        if weight.requires_grad and torch.is_grad_enabled():
            kept, around = weight if sparse else None, fused and fused.backward_around()
            call = Call(weight.shape, weight.dtype, indices, "", padding_idx, scale_grad_by_freq, kept, fused, around)
            return apply_lookup(weight, input, call)
        return look_up(weight, indices, input.shape)


def embedding_bag(
    input: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
    *,
    fused: FusedTable | None = None,
) -> Tensor:
    """Look up bags of rows and reduce each, as `torch.nn.functional.embedding_bag` does.

    Parameters
    ----------
    input : Tensor of integers (num_bags, bag_size) or (num_lookups,), or jagged nested
    weight : Tensor (num_embeddings, embedding_dim)
        As in `embedding`.
    offsets : Tensor of integers (num_bags,), optional
        With 1-D input: where each bag starts; with `include_last_offset` one more, where the last one ends.
    mode : {"mean", "sum", "max", "min", "sqrtn"}, default "mean"
        ``"sqrtn"`` divides the sum by the square root of the number of rows, or of the sum of the squared weights.
    per_sample_weights : Tensor, optional
        Of the input's shape and the table's dtype; with all modes but ``"max"`` and ``"min"``. ``"mean"`` divides the
        weighted sum by the sum of the weights. A bag whose divisor is zero gives zeros.
    padding_idx : int, optional
        Lookups of this row are left out of their bags.
    max_norm, norm_type, scale_grad_by_freq, sparse, fused
        As in `embedding`.

    Returns
    -------
    Tensor (num_bags, embedding_dim)

    Raises
    ------
    IndexError
        If an index is out of range.
    ValueError
        If shapes do not agree, or offsets fall, do not start at 0 or exceed the input.

    Examples
    --------
    >>> embedding_bag(torch.tensor([2, 0, 1]), torch.arange(6.0).reshape(3, 2), torch.tensor([0, 2]), mode="sum")
    tensor([[4., 6.],
            [2., 3.]])
    """
    if mode not in operations.SUMS:
        choice("mode", mode, composite.MODES)
        _refuse_for_extremes(mode, scale_grad_by_freq, sparse, per_sample_weights)
    if type(input) is not Tensor and input.is_nested and input.layout is torch.jagged:
        if per_sample_weights is not None:
            per_sample_weights = per_sample_weights.values()
        input, offsets, include_last_offset = input.values(), input.offsets(), True
    if per_sample_weights is not None:
        _check_samples(per_sample_weights, input, weight)
    if not is_native(weight) or type(input) is not Tensor:
        _refuse_fused(fused, weight)
        if mode in ("sum", "mean", "max") and (mode == "sum" or per_sample_weights is None):
            return F.embedding_bag(
                input, weight, offsets, max_norm, norm_type, scale_grad_by_freq, mode, sparse, per_sample_weights,
                include_last_offset, padding_idx,
            )  # fmt: skip
        return _compose(
            input, weight, offsets, max_norm, norm_type, scale_grad_by_freq, mode, sparse, per_sample_weights,
            include_last_offset, padding_idx,
        )  # fmt: skip
    there = on_gpu(weight)
    with working(weight) if there else _HERE:
        make = _bags_on_gpu if there else _bags
        bags = make(input, offsets, weight, per_sample_weights, include_last_offset, padding_idx)
        _before_reading(weight, bags.indices, max_norm, norm_type, fused)
        learns = weight.requires_grad or (per_sample_weights is not None and per_sample_weights.requires_grad)
        if learns and torch.is_grad_enabled():
            kept, around = weight if sparse else None, fused and fused.backward_around()
            call = Call(weight.shape, weight.dtype, bags, mode, None, scale_grad_by_freq, kept, fused, around)
            return apply_reduce(weight, per_sample_weights, input, offsets, call)
        return reduce(weight, bags, mode)[0]


def _bags(
    input: Tensor, offsets: Tensor | None, weight: Tensor, per_sample_weights: Tensor | None,
    include_last_offset: bool, padding_idx: int | None,
) -> Bags:  # fmt: skip
    """Return torch's two forms of bags as arrays on the same memory."""
    values = take_indices("input", input, weight).numpy()
    if values.ndim == 2 and offsets is None and per_sample_weights is None:
        num_bags, size = shape = values.shape
        if padding_idx is not None:
            padding_idx = padding_row(padding_idx, len(weight))
        return Bags(np.ascontiguousarray(values).reshape(-1), _even_offsets(num_bags, size), None, padding_idx, shape)
    dtype = _FLOAT64 if weight.dtype is torch.float64 else _FLOAT32
    if per_sample_weights is not None:
        wide = torch.float64 if dtype is _FLOAT64 else torch.float32
        per_sample_weights = per_sample_weights.detach().to(wide).numpy()
    return as_bags(
        values, None if offsets is None else take_indices("offsets", offsets, weight).numpy(),
        len(weight), dtype, padding_idx=padding_idx, include_last_offset=include_last_offset,
        per_sample_weights=per_sample_weights,
    )  # fmt: skip


def _bags_on_gpu(
    input: Tensor, offsets: Tensor | None, weight: Tensor, per_sample_weights: Tensor | None,
    include_last_offset: bool, padding_idx: int | None,
) -> Bags:  # fmt: skip
    """Return the same of tensors on a GPU; kernels find what is wrong with offsets, and nothing waits for them here.

    Lookups before the first offset, and behind the last, are of no bag.
    """
    values = take_indices("input", input, weight)
    if padding_idx is not None:
        padding_idx = padding_row(padding_idx, len(weight))
    if offsets is None:
        if values.dim() != 2:
            raise ValueError(f"an input of {values.dim()} dimension needs offsets, got None")
        starts = torch.arange(len(values) + 1, device=weight.device) * values.shape[1]
    else:
        starts = _starts(take_indices("offsets", offsets, weight).long(), values, include_last_offset)
    coefficients = None
    if per_sample_weights is not None:
        wide = torch.float64 if weight.dtype is torch.float64 else torch.float32
        coefficients = array_of(per_sample_weights.detach().to(wide).contiguous().view(-1))
    indices = array_of(values.contiguous().view(-1))
    return Bags(indices, array_of(starts), coefficients, padding_idx, tuple(values.shape))


def _starts(offsets: Tensor, values: Tensor, include_last_offset: bool) -> Tensor:
    """Return offsets with the last one."""
    if values.dim() != 1:
        raise ValueError(f"offsets go with an input of one dimension, got input of shape {tuple(values.shape)}")
    if offsets.dim() != 1:
        raise ValueError(f"offsets must have 1 dimension, got shape {tuple(offsets.shape)}")
    if not include_last_offset:
        return torch.cat([offsets, offsets.new_full((1,), len(values))])
    if not len(offsets):
        raise ValueError("offsets must end with the number of lookups, got no offsets")
    return offsets.contiguous()


@lru_cache(maxsize=16)
def _even_offsets(num_bags: int, size: int) -> NDArray[np.int64]:
    return np.arange(num_bags + 1, dtype=np.int64) * size


def _compose(
    input: Tensor, weight: Tensor, offsets: Tensor | None, max_norm: float | None, norm_type: float,
    scale_grad_by_freq: bool, mode: str, sparse: bool, per_sample_weights: Tensor | None, include_last_offset: bool,
    padding_idx: int | None,
) -> Tensor:  # fmt: skip
    """Do what torch has no operation for by several, on any device."""
    if input.dim() == 2:
        offsets = torch.arange(len(input) + 1, device=input.device) * input.shape[1]
    elif offsets is None:
        raise ValueError("an input of 1 dimension needs offsets, got None")
    elif not include_last_offset:
        offsets = torch.cat([offsets, offsets.new_tensor([len(input)])])
    indices = input.reshape(-1).long()
    if padding_idx is not None:
        padding_idx = padding_row(padding_idx, len(weight))
    if max_norm is not None:
        with torch.no_grad():
            torch.embedding_renorm_(weight, indices, max_norm, norm_type)
    samples = None if per_sample_weights is None else per_sample_weights.reshape(-1)
    return composite.embedding_bag(indices, weight, offsets, mode, samples, padding_idx, scale_grad_by_freq, sparse)


def _before_reading(
    weight: Tensor, indices: NDArray, max_norm: float | None, norm_type: float, fused: FusedTable | None
) -> None:  # fmt: skip
    """Change rows before they are read: weight decay that is due, and the limit of their norms."""
    if fused is not None:
        fused.catch_up(indices)
    if max_norm is not None:
        if on_gpu(weight) or weight.stride(1) == 1:
            operations.limit_norms(array_of(weight), indices, max_norm, norm_type)
            torch.autograd.graph.increment_version(weight)
        else:
            rows = torch.from_numpy(group(indices, len(weight)).rows)
            torch.embedding_renorm_(weight.detach(), rows, max_norm, norm_type)


def _check_samples(per_sample_weights: Tensor, input: Tensor, weight: Tensor) -> None:
    if per_sample_weights.shape != input.shape:
        shapes = f"{tuple(input.shape)}, got {tuple(per_sample_weights.shape)}"
        raise ValueError(f"per_sample_weights must have the shape of input, {shapes}")
    if per_sample_weights.dtype is not weight.dtype:
        raise TypeError(f"per_sample_weights must be of weight's {weight.dtype}, got {per_sample_weights.dtype}")


def _refuse_for_extremes(mode: str, scale_grad_by_freq: bool, sparse: bool, per_sample_weights: Tensor | None) -> None:
    """Torch's refusals for max, and ours for min."""
    if scale_grad_by_freq or sparse:
        name = "scale_grad_by_freq" if scale_grad_by_freq else "sparse"
        raise ValueError(f"{name} must be False for mode={mode!r}, got True")
    if per_sample_weights is not None:
        raise NotImplementedError(f"per_sample_weights must be None for mode={mode!r}")


def _refuse_fused(fused: FusedTable | None, weight: Tensor) -> None:
    if fused is not None and weight.requires_grad and torch.is_grad_enabled():
        raise RuntimeError(
            "a fused optimizer needs plain tensors on cpu or on a GPU that fastemb can use, outside of torch.func and "
            f"tracing, got {type(weight).__name__} on {weight.device}; {why_not_on_gpu(weight)}".rstrip("; ")
            + "; trace under torch.no_grad(), or set the module's fused_optimizer to None"
        )
