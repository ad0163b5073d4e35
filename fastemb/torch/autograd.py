"""The derivatives of lookups and bags, by fastemb's kernels on the tensors' own memory.

Torch sees the tensors that a result was made of, so it notices when one is changed before the backward; the kernels get
the arrays. Under ``create_graph`` a gradient is made by torch's own operations, which can be differentiated again.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor

from fastemb.engine import gradients, operations
from fastemb.engine.device import DeviceArray, zeros
from fastemb.engine.gpu_gradients import DeviceGradient
from fastemb.engine.gradients import RowGradient
from fastemb.engine.ragged import Bags
from fastemb.torch import composite
from fastemb.torch.devices import on_gpu, working
from fastemb.torch.fused import FusedTable
from fastemb.torch.tensors import DTYPES, array_of, table_of, tensor_of

__all__ = ["Call", "apply_lookup", "apply_reduce", "look_up", "reduce"]


def look_up(weight: Tensor, indices: Any, shape: tuple[int, ...]) -> Tensor:
    """Return rows as a tensor ``(*shape, embedding_dim)``."""
    table: Any = table_of(weight)
    embedding_dim = table.shape[1]
    rows = operations.lookup(table, indices, shape=shape)
    if on_gpu(weight):
        return tensor_of(rows, weight.dtype).view(*shape, embedding_dim)
    return tensor_of(rows.reshape(*shape, embedding_dim), weight.dtype)


def reduce(weight: Tensor, bags: Bags, mode: str) -> tuple[Tensor, NDArray | None]:
    """Return reduced bags as a tensor, and for extremes the lookups that won."""
    if mode in operations.EXTREMES:
        out, winners = operations.extremes(table_of(weight), bags, operations.EXTREMES[mode])
        return tensor_of(out, weight.dtype), winners
    return tensor_of(operations.reduce(table_of(weight), bags, mode), weight.dtype), None


class Call(NamedTuple):
    """What a backward needs to know of its forward.

    Parameters
    ----------
    shape : (num_embeddings, embedding_dim)
    dtype : torch.dtype
        Of the table.
    lookups : array (num_lookups,) or Bags
    mode : str
        Empty for a lookup.
    padding_idx : int or None
        For a lookup; `Bags` have their own.
    scale_grad_by_freq : bool
    sparse : torch.Tensor or None
        The weight whose gradient is to be sparse.
    fused : FusedTable or None
    around : optional
        What its `backward_around` returned.
    """

    shape: tuple[int, int]
    dtype: torch.dtype
    lookups: Any
    mode: str
    padding_idx: int | None
    scale_grad_by_freq: bool
    sparse: Tensor | None
    fused: FusedTable | None
    around: Any


def _where_it_lies(backward: Callable[..., Any]) -> Callable[..., Any]:
    """Let a backward queue its work where the gradient lies, in the stream that torch has set."""

    def run(ctx: Any, grad_output: Tensor) -> Any:
        if not on_gpu(grad_output):
            return backward(ctx, grad_output)
        with working(grad_output, tells=False):
            return backward(ctx, grad_output)

    return run


class Lookup(torch.autograd.Function):
    """Rows of a table."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, input: Tensor, call: Call) -> Tensor:
        """Look up, and remember what the gradient needs: not the table."""
        ctx.call = call
        ctx.save_for_backward(input)
        return look_up(weight, call.lookups, input.shape)

    @staticmethod
    @_where_it_lies
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradient of the weight, or give it to the fused optimizer."""
        (input,) = ctx.saved_tensors
        call = ctx.call
        fused = _stepping(ctx)
        if fused is None and torch.is_grad_enabled():
            weight = _stand_in(grad_output, call.shape)
            sparse = call.sparse is not None
            rows = composite.embedding(input, weight, call.padding_idx, call.scale_grad_by_freq, sparse)
            return *torch.autograd.grad(rows, weight, grad_output, create_graph=True), None, None
        gradient = gradients.gradient_of_lookup(
            _rows(grad_output), call.lookups, call.shape[0], call.padding_idx, call.scale_grad_by_freq,
            device=_device_of(call),
        )  # fmt: skip
        return _deliver(ctx, gradient, fused), None, None


class Reduce(torch.autograd.Function):
    """Bags of rows, reduced."""

    @staticmethod
    def forward(
        ctx: Any, weight: Tensor, per_sample_weights: Tensor | None, input: Tensor, offsets: Tensor | None, call: Call
    ) -> Tensor:
        """Reduce, and remember what the gradients need: the table only for those of `per_sample_weights`."""
        ctx.call = call
        ctx.save_for_backward(input, offsets, per_sample_weights, weight if ctx.needs_input_grad[1] else None)
        out, ctx.winners = reduce(weight, call.lookups, call.mode)
        return out

    @staticmethod
    @_where_it_lies
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of `per_sample_weights` and of the weight, or give that to the fused optimizer."""
        _, _, per_sample_weights, weight = ctx.saved_tensors
        call = ctx.call
        fused = _stepping(ctx)
        of_weight, of_samples = ctx.needs_input_grad[:2]
        again = torch.is_grad_enabled()
        results: list[Tensor | None] = [None, None]
        if again:
            results = _differentiable(ctx, grad_output, of_weight and fused is None, per_sample_weights, weight)
        rows = _rows(grad_output)
        if of_weight and (fused is not None or not again):
            gradient = gradients.gradient_of_bags(
                rows, call.lookups, call.shape[0], call.mode, call.scale_grad_by_freq, winners=ctx.winners,
                device=_device_of(call),
            )  # fmt: skip
            results[0] = _deliver(ctx, gradient, fused)
        if of_samples and not again:
            table, device = table_of(weight), _device_of(call)
            dots = gradients.gradient_of_coefficients(rows, table, call.lookups, call.mode, device=device)
            results[1] = tensor_of(dots).to(per_sample_weights.dtype).view(per_sample_weights.shape)
        return *results, None, None, None


# `Function.apply` without its provision for torch.func, under which torch's own operations run: it takes microseconds.
apply_lookup = super(torch.autograd.Function, Lookup).apply
apply_reduce = super(torch.autograd.Function, Reduce).apply


def _accumulates(ctx: Any) -> bool:
    """Return whether this backward reaches the weight, as `torch.autograd.grad` does not."""
    try:
        return torch._C._will_engine_execute_node(ctx.next_functions[0][0])
    except RuntimeError:  # `torch.autograd.grad` of this weight
        return False


def _stepping(ctx: Any) -> FusedTable | None:
    """Return the fused optimizer, if this backward is for parameters: `torch.autograd.grad` steps nothing."""
    fused = ctx.call.fused
    return fused if fused is not None and _accumulates(ctx) else None


def _deliver(ctx: Any, gradient: RowGradient, fused: FusedTable | None) -> Tensor | None:
    """Return a gradient as torch takes it, or None where an optimizer of ours has taken it."""
    call = ctx.call
    if fused is not None:
        fused.collect(gradient, call.around)
        return None
    if call.sparse is None:
        return _dense(call, gradient)
    weight, sparse = call.sparse, _sparse(call, gradient)
    if weight.is_leaf and weight.requires_grad and weight.grad is None and _accumulates(ctx):
        _keep_coalesced(weight, sparse)
    return sparse


def _device_of(call: Call) -> str:
    """Return where the gradient of a table is made."""
    indices = call.lookups.indices if isinstance(call.lookups, Bags) else call.lookups
    return "cuda" if isinstance(indices, DeviceArray) else "cpu"


def _dense(call: Call, gradient: RowGradient) -> Tensor:
    dtype = DTYPES[call.dtype]
    if not isinstance(gradient, DeviceGradient):
        return tensor_of(gradient.to_dense(call.shape[0], dtype), call.dtype)
    dense: Any = zeros(call.shape, dtype)
    gradient.add_to(dense)
    return tensor_of(dense, call.dtype)


def _sparse(call: Call, gradient: RowGradient) -> Tensor:
    """Return a coalesced gradient."""
    if isinstance(gradient, DeviceGradient):
        places, found = gradient.collect_as(DTYPES[call.dtype])
        rows, values = tensor_of(places).long()[None], tensor_of(found, call.dtype)
    else:
        rows = torch.from_numpy(gradient.rows).long()[None]
        values = torch.from_numpy(gradient.collect()).to(call.dtype)
    if not len(values):  # torch makes it larger when it adds another gradient to it, which it can in memory of its own
        rows, values = rows.clone(), values.clone()
    return torch.sparse_coo_tensor(rows, values, call.shape, check_invariants=False, is_coalesced=True)


def _keep_coalesced(weight: Tensor, gradient: Tensor) -> None:
    """Mark a gradient again when it has become ``.grad``: torch forgets that it is coalesced as it takes it.

    Not later than that: from then on `DistributedDataParallel` reads it in a thread of its own.
    """
    parts = gradient._indices(), gradient._values()  # kept, so that no other gradient comes to lie where they do

    def mark(weight: Tensor) -> None:
        handle.remove()
        taken = weight.grad
        if taken is not None and taken.is_sparse and _places(taken._indices(), taken._values()) == _places(*parts):
            taken._coalesced_(True)

    handle = weight.register_post_accumulate_grad_hook(mark)


def _places(*tensors: Tensor) -> list[int]:
    return [tensor.data_ptr() for tensor in tensors]


def _rows(grad_output: Tensor) -> Any:
    rows = array_of(grad_output.contiguous())
    return rows if rows.ndim == 2 else rows.reshape(-1, rows.shape[-1])


def _stand_in(grad_output: Tensor, shape: tuple[int, int]) -> Tensor:
    """Return a table in whose gradient the values play no part."""
    return grad_output.new_zeros(()).expand(shape).requires_grad_()


def _differentiable(
    ctx: Any, grad_output: Tensor, of_weight: bool, per_sample_weights: Tensor | None, weight: Tensor | None
) -> list[Tensor | None]:
    """Return the gradients, themselves differentiable."""
    call, bags = ctx.call, ctx.call.lookups
    indices = tensor_of(bags.indices).long()
    if ctx.winners is not None:
        winners = tensor_of(ctx.winners).long()
        won = grad_output.masked_fill(winners < 0, 0)
        rows = indices[winners.clamp(min=0)] if len(indices) else winners.clamp(min=0)
        return [grad_output.new_zeros(call.shape).scatter_add(0, rows, won) if of_weight else None, None]
    table = _stand_in(grad_output, call.shape) if weight is None else weight
    samples = None if per_sample_weights is None else per_sample_weights.reshape(-1)
    wanted = [table] * of_weight + [per_sample_weights] * ctx.needs_input_grad[1]
    if not wanted:
        return [None, None]
    out = composite.embedding_bag(
        indices, table, tensor_of(bags.offsets), call.mode, samples, bags.padding_idx, call.scale_grad_by_freq,
        call.sparse is not None,
    )  # fmt: skip
    found = list(torch.autograd.grad(out, wanted, grad_output, create_graph=True))
    return [found.pop(0) if of_weight else None, found.pop(0) if found else None]
