"""The same lookups and bags in plain torch operations: for other devices, and for derivatives of derivatives."""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["MODES", "embedding", "embedding_bag"]

MODES = ("sum", "mean", "max", "min", "sqrtn")


def embedding(
    indices: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Look up rows; the second derivative, too, is scaled, which `torch.nn.functional.embedding` forgets.

    Examples
    --------
    >>> table = torch.zeros(3, 1, requires_grad=True)
    >>> embedding(torch.tensor([1, 1, 2]), table, scale_grad_by_freq=True).sum().backward()
    >>> table.grad.flatten()
    tensor([0., 1., 1.])
    """
    rows = F.embedding(indices, weight, padding_idx, sparse=sparse)
    if not scale_grad_by_freq:
        return rows
    counts = torch.bincount(indices.reshape(-1), minlength=len(weight))[indices][..., None]
    return rows.detach() + (rows - rows.detach()) / counts


def embedding_bag(
    indices: Tensor,
    weight: Tensor,
    offsets: Tensor,
    mode: str,
    per_sample_weights: Tensor | None = None,
    padding_idx: int | None = None,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Reduce bags of rows by operations that torch can differentiate any number of times, on any device.

    Parameters
    ----------
    indices : Tensor (num_lookups,)
    weight : Tensor (num_embeddings, embedding_dim)
    offsets : Tensor (num_bags + 1,)
        Where each bag starts, and where the last one ends.
    mode : {"sum", "mean", "max", "min", "sqrtn"}
    per_sample_weights : Tensor (num_lookups,), optional
    padding_idx : int, optional
        Not negative; its lookups are left out.
    scale_grad_by_freq, sparse : bool, default False
        As for `torch.nn.functional.embedding`.

    Returns
    -------
    Tensor (num_bags, embedding_dim)

    Examples
    --------
    >>> table = torch.arange(6.0).reshape(3, 2)
    >>> embedding_bag(torch.tensor([0, 2, 1]), table, torch.tensor([0, 2, 3]), "sqrtn")
    tensor([[2.8284, 4.2426],
            [2.0000, 3.0000]])
    """
    num_bags = len(offsets) - 1
    bags = torch.repeat_interleave(torch.arange(num_bags, device=weight.device), offsets.diff())
    if padding_idx is not None:
        kept = indices != padding_idx
        indices, bags = indices[kept], bags[kept]
        per_sample_weights = None if per_sample_weights is None else per_sample_weights[kept]
    rows = embedding(indices, weight, None, scale_grad_by_freq, sparse)
    if mode in ("max", "min"):
        return _extremes(rows, bags, num_bags, mode)
    if per_sample_weights is None:
        coefficients = rows.new_ones(len(indices))
    else:
        coefficients = per_sample_weights
        rows = rows * coefficients[:, None]
    sums = rows.new_zeros(num_bags, rows.shape[1]).index_add(0, bags, rows)
    return sums if mode == "sum" else sums * _scales(coefficients, bags, num_bags, mode)[:, None]


def _scales(coefficients: Tensor, bags: Tensor, num_bags: int, mode: str) -> Tensor:
    """Return what the sum of each bag is multiplied by: 0 where there is nothing to divide by."""
    shares = coefficients if mode == "mean" else coefficients * coefficients
    total = coefficients.new_zeros(num_bags).index_add(0, bags, shares)
    divisor = torch.where(total == 0, torch.ones_like(total), total)
    return torch.where(total == 0, torch.zeros_like(total), 1 / (divisor if mode == "mean" else divisor.sqrt()))


def _extremes(rows: Tensor, bags: Tensor, num_bags: int, mode: str) -> Tensor:
    """Return the earliest extreme of each column; a NaN wins as the first of its bag and nowhere else."""
    shape = (num_bags, rows.shape[1])
    if not len(rows):
        return rows.new_zeros(shape)
    with torch.no_grad():
        values = rows.detach() if mode == "max" else -rows.detach()
        first = torch.ones_like(bags, dtype=torch.bool)
        first[1:] = bags[1:] != bags[:-1]
        never = torch.full_like(values, -torch.inf)
        values = torch.where(values.isnan(), torch.where(first[:, None], -never, never), values)
        places = bags[:, None].expand_as(values)
        best = never.new_full(shape, -torch.inf).scatter_reduce(0, places, values, "amax")
        position = torch.arange(len(bags), device=bags.device)[:, None].expand_as(values)
        won = torch.where(values == best[bags], position, len(bags))
        winners = torch.full(shape, len(bags), device=bags.device).scatter_reduce(0, places, won, "amin")
        empty = winners == len(bags)
    return rows.gather(0, winners.masked_fill(empty, 0)).masked_fill(empty, 0)
