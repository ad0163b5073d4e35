"""The derivatives of lookups and bags, by fastemb's kernels on the tensors' own memory.

Torch sees the tensors that a result was made of, so it notices when one is changed before the backward; the kernels get
the arrays. Under ``create_graph`` a gradient is made by torch's own operations, which can be differentiated again.
"""

from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from fastemb.engine import gradients, operations
from fastemb.engine.gradients import RowGradient
from fastemb.engine.ragged import Bags
from fastemb.torch import composite
from fastemb.torch.fused import FusedTable
from fastemb.torch.tensors import DTYPES, array_of, table_of, tensor_of

__all__ = ["Lookup", "Reduce", "look_up", "reduce"]

Gradients = tuple[Tensor | None, ...]


def look_up(weight: Tensor, indices: NDArray, shape: tuple[int, ...]) -> Tensor:
    """Return rows as a tensor ``(*shape, embedding_dim)``."""
    rows = tensor_of(operations.lookup(table_of(weight), indices, shape=shape), weight.dtype)
    return rows if len(shape) == 1 else rows.view(*shape, weight.shape[1])


def reduce(weight: Tensor, bags: Bags, mode: str) -> tuple[Tensor, NDArray | None]:
    """Return reduced bags as a tensor, and for extremes the lookups that won."""
    if mode in operations.EXTREMES:
        out, winners = operations.extremes(table_of(weight), bags, operations.EXTREMES[mode])
        return tensor_of(out, weight.dtype), winners
    return tensor_of(operations.reduce(table_of(weight), bags, mode), weight.dtype), None


class Lookup(torch.autograd.Function):
    """Rows of a table."""

    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, input: Tensor, indices: NDArray, padding_idx: int | None,
        scale_grad_by_freq: bool, sparse: bool, fused: FusedTable | None,
    ) -> Tensor:  # fmt: skip
        """Look up, and remember what the gradient needs: not the table."""
        ctx.save_for_backward(input)
        ctx.indices, ctx.fused, ctx.shape, ctx.dtype = indices, fused, weight.shape, weight.dtype
        ctx.options = padding_idx, scale_grad_by_freq, sparse
        ctx.weight = weight if sparse else None
        return look_up(weight, indices, input.shape)

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Gradients:
        """Return the gradient of the weight, or give it to the fused optimizer."""
        (input,) = ctx.saved_tensors
        padding_idx, scale_grad_by_freq, sparse = ctx.options
        fused = _stepping(ctx)
        if fused is None and torch.is_grad_enabled():
            weight = _stand_in(grad_output, ctx.shape)
            rows = composite.embedding(input, weight, padding_idx, scale_grad_by_freq, sparse)
            return *torch.autograd.grad(rows, weight, grad_output, create_graph=True), *[None] * 6
        gradient = gradients.gradient_of_lookup(
            _rows(grad_output, ctx.shape[1]), ctx.indices, ctx.shape[0], padding_idx, scale_grad_by_freq
        )
        return _deliver(ctx, gradient, fused, sparse), *[None] * 6


class Reduce(torch.autograd.Function):
    """Bags of rows, reduced."""

    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, per_sample_weights: Tensor | None, input: Tensor, offsets: Tensor | None, bags: Bags,
        mode: str, scale_grad_by_freq: bool, sparse: bool, fused: FusedTable | None,
    ) -> Tensor:  # fmt: skip
        """Reduce, and remember what the gradients need: the table only for those of `per_sample_weights`."""
        table = weight if ctx.needs_input_grad[1] else None
        ctx.save_for_backward(input, offsets, per_sample_weights, table)
        ctx.bags, ctx.fused, ctx.shape, ctx.dtype = bags, fused, weight.shape, weight.dtype
        ctx.options = mode, scale_grad_by_freq, sparse
        ctx.weight = weight if sparse else None
        out, ctx.winners = reduce(weight, bags, mode)
        return out

    @staticmethod
    def backward(ctx: Any, grad_output: Tensor) -> Gradients:
        """Return the gradients of the weight, or give it to the fused optimizer, and of `per_sample_weights`."""
        _, _, per_sample_weights, weight = ctx.saved_tensors
        mode, scale_grad_by_freq, sparse = ctx.options
        fused = _stepping(ctx)
        of_weight, of_samples = ctx.needs_input_grad[:2]
        again = torch.is_grad_enabled()
        results: list[Tensor | None] = [None, None]
        if again:
            results = _differentiable(ctx, grad_output, of_weight and fused is None, per_sample_weights, weight)
        rows = _rows(grad_output, ctx.shape[1])
        if of_weight and (fused is not None or not again):
            gradient = gradients.gradient_of_bags(
                rows, ctx.bags, ctx.shape[0], mode, scale_grad_by_freq, winners=ctx.winners
            )
            results[0] = _deliver(ctx, gradient, fused, sparse)
        if of_samples and not again:
            dots = gradients.gradient_of_coefficients(rows, table_of(weight), ctx.bags, mode)
            results[1] = torch.from_numpy(dots).to(per_sample_weights.dtype).view(per_sample_weights.shape)
        return *results, *[None] * 7


def _stepping(ctx: Any) -> FusedTable | None:
    """Return the fused optimizer, if this backward is for parameters: `torch.autograd.grad` steps nothing."""
    if ctx.fused is None:
        return None
    try:
        runs = torch._C._will_engine_execute_node(ctx.next_functions[0][0])
    except RuntimeError:  # `torch.autograd.grad` of this weight
        return None
    return ctx.fused if runs else None


def _deliver(ctx: Any, gradient: RowGradient, fused: FusedTable | None, sparse: bool) -> Tensor | None:
    """Return a gradient as torch takes it, or None where an optimizer of ours has taken it."""
    if fused is not None:
        fused.collect(gradient)
        return None
    if not sparse:
        return tensor_of(gradient.to_dense(ctx.shape[0], DTYPES[ctx.dtype]), ctx.dtype)
    return _sparse(ctx, gradient)


def _sparse(ctx: Any, gradient: RowGradient) -> Tensor:
    """Return a coalesced gradient; torch forgets that it is as it takes it for ``.grad``, so it is told again."""
    values = torch.from_numpy(gradient.collect()).to(ctx.dtype)
    rows = torch.from_numpy(gradient.rows).long()[None]
    weight, memory = ctx.weight, values.data_ptr()
    if weight.is_leaf and weight.grad is None:

        def mark() -> None:
            taken = weight.grad
            if taken is not None and taken.is_sparse and taken._values().data_ptr() == memory:
                taken._coalesced_(True)

        torch.autograd.Variable._execution_engine.queue_callback(mark)
    return torch.sparse_coo_tensor(rows, values, ctx.shape, check_invariants=False, is_coalesced=True)


def _rows(grad_output: Tensor, embedding_dim: int) -> NDArray:
    return array_of(grad_output.contiguous()).reshape(-1, embedding_dim)


def _stand_in(grad_output: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return a table in whose gradient the values play no part."""
    return grad_output.new_zeros(()).expand(shape).requires_grad_()


def _differentiable(
    ctx: Any, grad_output: Tensor, of_weight: bool, per_sample_weights: Tensor | None, weight: Tensor | None
) -> list[Tensor | None]:
    """Return the gradients, themselves differentiable."""
    mode, scale_grad_by_freq, sparse = ctx.options
    bags, indices = ctx.bags, torch.from_numpy(ctx.bags.indices).long()
    if ctx.winners is not None:
        winners = torch.from_numpy(ctx.winners).long()
        won = grad_output.masked_fill(winners < 0, 0)
        rows = indices[winners.clamp(min=0)] if len(indices) else winners.clamp(min=0)
        return [grad_output.new_zeros(ctx.shape).scatter_add(0, rows, won) if of_weight else None, None]
    table = _stand_in(grad_output, ctx.shape) if weight is None else weight
    samples = None if per_sample_weights is None else per_sample_weights.reshape(-1)
    wanted = [table] * of_weight + [per_sample_weights] * ctx.needs_input_grad[1]
    if not wanted:
        return [None, None]
    offsets = torch.from_numpy(bags.offsets)
    out = composite.embedding_bag(indices, table, offsets, mode, samples, bags.padding_idx, scale_grad_by_freq, sparse)
    found = list(torch.autograd.grad(out, wanted, grad_output, create_graph=True))
    return [found.pop(0) if of_weight else None, found.pop(0) if found else None]
