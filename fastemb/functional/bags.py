"""Bags of rows, and their gradients."""

from typing import Any

from numpy.typing import ArrayLike, NDArray

from fastemb.engine import gradients, operations
from fastemb.engine.arrays import as_rows, as_table, give_back
from fastemb.engine.checks import check_offsets
from fastemb.engine.foreign import in_kind
from fastemb.engine.ragged import as_bags
from fastemb.engine.validate import choice
from fastemb.functional.arguments import (
    check_lookups,
    device_of,
    limit_norms,
    same_place,
    settle,
    table_gradient,
    target,
)

__all__ = ["embedding_bag", "embedding_bag_backward", "per_sample_weights_backward"]

MODES = (*operations.SUMS, *operations.EXTREMES)


def embedding_bag(
    input: Any,
    weight: ArrayLike,
    offsets: ArrayLike | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Any = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
    *,
    on_invalid: str = "raise",
    out: NDArray | None = None,
) -> NDArray:
    """Return bags of a table's rows, reduced: ``torch.nn.functional.embedding_bag``.

    Parameters
    ----------
    input : integer array, sequence of sequences, Arrow array, or tuple (values, offsets)
        Two dimensions: each row is a bag. One dimension: `offsets` tell where bags begin. Lists of any lengths, or an
        Arrow array of lists (its memory is used as it is): each is a bag. A tuple: values and the ``num_bags + 1``
        offsets of a CSR matrix.
    weight : array (num_embeddings, embedding_dim)
        The table.
    offsets : integer array (num_bags,), optional
        For an `input` of one dimension only, with which it is required.
    max_norm, norm_type
        As in `embedding`.
    scale_grad_by_freq, sparse : bool, default False
        For the gradient: see `embedding_bag_backward`.
    mode : {"mean", "sum", "sqrtn", "max", "min"}, default "mean"
        "mean" divides the sum by the number of the bag's lookups, "sqrtn" by its square root; with
        `per_sample_weights` by their sum, and by the square root of the sum of their squares. A bag without lookups
        gives zeros, and so does one whose divisor is 0. Of "max" and "min", NaNs count only at the first lookup of a
        bag.
    per_sample_weights : float array, sequence of sequences, or Arrow array, optional
        What each looked-up row is multiplied by; in the form of `input`, or flat. Not for "max" and
        "min".
    include_last_offset : bool, default False
        `offsets` has ``num_bags + 1`` entries, of which the last is the length of `input`. Ignored for an `input` of
        two dimensions.
    padding_idx : int, optional
        A row that is left out of bags, and gets no gradient; from ``-num_embeddings`` to ``num_embeddings - 1``.
    on_invalid : {"raise", "clip", "pad", "hash"}, default "raise"
        What becomes of an index outside the table: see `fastemb.functional`.
    out : array, optional
        To fill, of the result's shape and dtype; or float32 for a float16 or bfloat16 table (not for "max", "min").

    Returns
    -------
    array (num_bags, embedding_dim), dtype of the table

    Raises
    ------
    IndexError
        If an index is outside ``[0, num_embeddings)``.
    ValueError
        If offsets do not start at 0, fall, exceed the number of lookups or (with `include_last_offset`) do not end
        with it; if shapes disagree; if `padding_idx` is out of range; if `weight` is read-only and `max_norm` given.
    TypeError
        If an argument has the wrong type or dtype.

    Examples
    --------
    >>> import numpy as np
    >>> weight = np.arange(6, dtype=np.float32).reshape(3, 2)
    >>> embedding_bag([0, 2, 1], weight, offsets=[0, 2])
    array([[2., 3.],
           [2., 3.]], dtype=float32)
    >>> embedding_bag([[0, 2], [], [1]], weight, mode="sum")
    array([[4., 6.],
           [0., 0.],
           [2., 3.]], dtype=float32)
    """
    usual = on_invalid == "raise" and not include_last_offset and mode in operations.SUMS
    if usual and padding_idx is None and max_norm is None and out is None:
        found = operations.plain_reduce(weight, input, offsets, per_sample_weights, mode)
        if found is not None:
            return found
    table = as_table(weight, change=max_norm is not None)
    bags = as_bags(
        input,
        offsets,
        len(table),
        table.dtype,
        padding_idx=padding_idx,
        include_last_offset=include_last_offset,
        per_sample_weights=per_sample_weights,
        on_invalid=on_invalid,
    )
    same_place(table, bags.indices)
    if mode not in operations.SUMS:
        _check_extreme(mode, per_sample_weights)
    if max_norm is not None:
        check_offsets(bags, len(table))
        limit_norms(table, bags, max_norm, norm_type)
    filled = None if out is None else target(out, (bags.num_bags, table.shape[1]), table, weight, mode)
    if mode in operations.SUMS:
        result = operations.reduce(table, bags, mode, out=filled)
    else:
        result, _ = operations.extremes(table, bags, operations.EXTREMES[mode], out=filled)
    return give_back(result, weight) if out is None else settle(out, result)


def embedding_bag_backward(
    grad_output: ArrayLike,
    input: Any,
    weight: ArrayLike,
    offsets: ArrayLike | None = None,
    *,
    mode: str = "mean",
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
    per_sample_weights: Any = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
    on_invalid: str = "raise",
    out: NDArray | None = None,
) -> NDArray | tuple[NDArray, NDArray]:
    """Return the gradient of the table that `embedding_bag` looked up.

    Parameters
    ----------
    grad_output : array (num_bags, embedding_dim)
        The gradient of `embedding_bag`'s result.
    input, weight, offsets, mode, per_sample_weights, include_last_offset, padding_idx, on_invalid
        As in `embedding_bag`. The values of the table are used in modes "max" and "min" only, to find the lookups that
        won: those get the gradient, the earliest of equals alone.
    scale_grad_by_freq : bool, default False
        Divide the gradient of each row by the number of its lookups in all bags together.
    sparse : bool, default False
        Return only the rows that were looked up.
    out : array (num_embeddings, embedding_dim), optional
        To fill, if not `sparse`.

    Returns
    -------
    array (num_embeddings, embedding_dim), dtype of the table
        If not `sparse`.
    indices : int32 or int64 (num_rows,), values : array (num_rows, embedding_dim)
        If `sparse`.

    Raises
    ------
    IndexError, TypeError, ValueError
        As `embedding_bag`; and if `grad_output` has another shape.

    Examples
    --------
    >>> import numpy as np
    >>> weight = np.zeros((4, 1), np.float32)
    >>> embedding_bag_backward([[1.0], [4.0]], [[3, 1], [3]], weight)
    array([[0. ],
           [0.5],
           [0. ],
           [4.5]], dtype=float32)
    """
    table = as_table(weight)
    bags = as_bags(
        input,
        offsets,
        len(table),
        table.dtype,
        padding_idx=padding_idx,
        include_last_offset=include_last_offset,
        per_sample_weights=per_sample_weights,
        on_invalid=on_invalid,
    )
    same_place(table, bags.indices)
    rows = as_rows(grad_output, (bags.num_bags, table.shape[1]), table.dtype, "grad_output")
    winners = None
    if mode in operations.SUMS:
        check_offsets(bags, len(table))
        check_lookups(table, bags)
    else:
        _check_extreme(mode, per_sample_weights)
        _, winners = operations.extremes(table, bags, operations.EXTREMES[mode])
    gradient = gradients.gradient_of_bags(
        rows, bags, len(table), mode, scale_grad_by_freq, winners=winners, device=device_of(table)
    )
    return table_gradient(gradient, table, weight, sparse, out)


def per_sample_weights_backward(
    grad_output: ArrayLike,
    input: Any,
    weight: ArrayLike,
    offsets: ArrayLike | None = None,
    *,
    mode: str = "mean",
    per_sample_weights: Any = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
    on_invalid: str = "raise",
) -> NDArray:
    """Return the gradient of the `per_sample_weights` of `embedding_bag`.

    Parameters
    ----------
    grad_output : array (num_bags, embedding_dim)
        The gradient of `embedding_bag`'s result.
    input, weight, offsets, mode, per_sample_weights, include_last_offset, padding_idx, on_invalid
        As in `embedding_bag`; without `per_sample_weights`, the gradient at ones.

    Returns
    -------
    array of the shape of `input`, or (num_lookups,) if that is no array
        float64 for float64 tables, else float32. 0 where a lookup is left out.

    Raises
    ------
    IndexError, TypeError, ValueError
        As `embedding_bag`; and if `grad_output` has another shape.

    Examples
    --------
    >>> import numpy as np
    >>> weight = np.arange(6, dtype=np.float32).reshape(3, 2)
    >>> per_sample_weights_backward([[1.0, 1.0]], [[2, 1]], weight, mode="sum")
    array([9., 5.], dtype=float32)
    """
    choice("mode", mode, tuple(operations.SUMS))
    table = as_table(weight)
    bags = as_bags(
        input,
        offsets,
        len(table),
        table.dtype,
        padding_idx=padding_idx,
        include_last_offset=include_last_offset,
        per_sample_weights=per_sample_weights,
        on_invalid=on_invalid,
    )
    same_place(table, bags.indices)
    rows = as_rows(grad_output, (bags.num_bags, table.shape[1]), table.dtype, "grad_output")
    gradient = gradients.gradient_of_coefficients(rows, table, bags, mode, device=device_of(table))
    shaped = gradient if bags.shape is None else gradient.reshape(*bags.shape)
    return in_kind(shaped, weight)


def _check_extreme(mode: str, per_sample_weights: Any) -> None:
    choice("mode", mode, MODES)
    if per_sample_weights is not None:
        raise ValueError(f"per_sample_weights must be None in mode {mode!r}")
