"""Rows by their numbers, the gradient of that, and the same as rows of zeros with a one."""

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from fastemb.engine import gradients, operations
from fastemb.engine.arrays import as_integers, as_output, as_rows, as_table, give_back
from fastemb.engine.checks import check_indices
from fastemb.engine.foreign import in_kind
from fastemb.engine.ragged import Bags
from fastemb.engine.validate import integer
from fastemb.functional.arguments import (
    check_lookups,
    device_of,
    limit_norms,
    same_place,
    settle,
    table_gradient,
    table_indices,
    target,
)

__all__ = ["embedding", "embedding_backward", "one_hot"]


def embedding(
    input: ArrayLike,
    weight: ArrayLike,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
    *,
    on_invalid: str = "raise",
    out: NDArray | None = None,
) -> NDArray:
    """Return the rows of a table, one for each index: ``torch.nn.functional.embedding``.

    Parameters
    ----------
    input : integer array
        Of any shape.
    weight : array (num_embeddings, embedding_dim)
        The table.
    padding_idx : int, optional
        A row that gets no gradient; from ``-num_embeddings`` to ``num_embeddings - 1``. Its lookup returns it.
    max_norm : float, optional
        First scale, in place, each row that is looked up and whose norm is greater: see `embedding_renorm_`.
    norm_type : float, default 2
        p of that norm.
    scale_grad_by_freq, sparse : bool, default False
        For the gradient: see `embedding_backward`.
    on_invalid : {"raise", "clip", "pad", "hash"}, default "raise"
        What becomes of an index outside the table: see `fastemb.functional`.
    out : array, optional
        To fill, of the result's shape and dtype.

    Returns
    -------
    array ``(*input.shape, embedding_dim)``, dtype of the table

    Raises
    ------
    IndexError
        If an index is outside ``[0, num_embeddings)``.
    TypeError, ValueError
        If an argument has the wrong type, dtype or shape, or `weight` is read-only and `max_norm` given.

    Examples
    --------
    >>> import numpy as np
    >>> weight = np.arange(6, dtype=np.float32).reshape(3, 2)
    >>> embedding([[2, 0]], weight)
    array([[[4., 5.],
            [0., 1.]]], dtype=float32)
    >>> embedding([7, -1], weight, on_invalid="clip")
    array([[4., 5.],
           [0., 1.]], dtype=float32)
    >>> embedding([[2, 3]], weight)
    Traceback (most recent call last):
        ...
    IndexError: indices must be in [0, 3), got 3 at position (0, 1)
    """
    if padding_idx is None and max_norm is None and on_invalid == "raise":
        found = operations.plain_lookup(weight, input, out)
        if found is not None:
            return found
    table = as_table(weight, change=max_norm is not None)
    indices, _, no_row = table_indices(input, len(table), padding_idx, on_invalid)
    same_place(table, indices)
    shape = indices.shape
    flat = indices if len(shape) == 1 else indices.reshape(-1)
    if max_norm is not None:
        limit_norms(table, Bags(flat, flat, None, no_row, shape), max_norm, norm_type)
    if out is None:
        rows = operations.lookup(table, flat, padding_idx=no_row, shape=shape)
        return give_back(rows if len(shape) == 1 else rows.reshape(*shape, table.shape[1]), weight)
    filled = target(out, (*shape, table.shape[1]), table, weight)
    rows = filled.reshape(flat.size, table.shape[1])
    operations.lookup(table, flat, padding_idx=no_row, out=rows, shape=shape)
    return settle(out, filled)


def embedding_backward(
    grad_output: ArrayLike,
    input: ArrayLike,
    weight: ArrayLike,
    *,
    padding_idx: int | None = None,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
    on_invalid: str = "raise",
    out: NDArray | None = None,
) -> NDArray | tuple[NDArray, NDArray]:
    """Return the gradient of the table that `embedding` looked up.

    Parameters
    ----------
    grad_output : array ``(*input.shape, embedding_dim)``
        The gradient of `embedding`'s result.
    input, weight, padding_idx, on_invalid
        As in `embedding`. Of the table, only the shape and the dtype are used.
    scale_grad_by_freq : bool, default False
        Divide the gradient of each row by the number of its lookups.
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
        As `embedding`; and if `grad_output` has another shape.

    Examples
    --------
    >>> import numpy as np
    >>> weight = np.zeros((4, 1), np.float32)
    >>> embedding_backward([[1.0], [2.0], [4.0]], [3, 1, 3], weight, sparse=True)
    (array([1, 3]), array([[2.],
           [5.]], dtype=float32))
    """
    table = as_table(weight)
    indices, padding, no_row = table_indices(input, len(table), padding_idx, on_invalid)
    same_place(table, indices)
    rows = as_rows(grad_output, (*indices.shape, table.shape[1]), table.dtype, "grad_output")
    flat = indices.reshape(-1)
    check_lookups(table, Bags(flat, flat, None, no_row, indices.shape))
    gradient = gradients.gradient_of_lookup(
        rows, flat, len(table), padding, scale_grad_by_freq, device=device_of(table)
    )
    return table_gradient(gradient, table, weight, sparse, out)


def one_hot(
    input: ArrayLike,
    num_classes: int = -1,
    *,
    dtype: DTypeLike = np.int64,
    on_invalid: str = "raise",
    out: NDArray | None = None,
) -> NDArray:
    """Return a row of zeros with a one at each index: ``torch.nn.functional.one_hot``. It has no gradient.

    Parameters
    ----------
    input : integer array
        Of any shape.
    num_classes : int, default -1
        The length of the rows; -1 for one more than the greatest index.
    dtype : dtype, default int64
        Of the result: a float type for ``one_hot(input, num_embeddings) @ weight``.
    on_invalid : {"raise", "clip", "pad", "hash"}, default "raise"
        What becomes of an index outside ``[0, num_classes)``; "pad" gives a row of zeros.
    out : array, optional
        To fill, of the result's shape and dtype.

    Returns
    -------
    array ``(*input.shape, num_classes)``

    Raises
    ------
    IndexError
        If an index is outside ``[0, num_classes)``.
    TypeError, ValueError
        If an argument has the wrong type or dtype, or `num_classes` is to be found in an empty input.

    Examples
    --------
    >>> one_hot([2, 0])
    array([[0, 0, 1],
           [1, 0, 0]])
    """
    values = as_integers(input)
    size = integer("num_classes", num_classes, -1)
    if size == -1:
        if values.size == 0:
            raise ValueError("num_classes must be given for an empty input, got -1")
        size = max(int(values.max()) + 1, 0)
    indices, _, no_row = table_indices(values, size, None, on_invalid)
    flat = indices.reshape(-1)
    check_indices(flat, size, no_row, indices.shape)
    shape = (*indices.shape, size)
    if out is None:
        filled = result = np.zeros(shape, dtype)
    else:
        result = as_output(out, shape, np.dtype(dtype), flat)
        filled = result if result.flags.c_contiguous else np.empty(shape, dtype)
        filled[...] = 0
    present = np.flatnonzero(flat >= 0)
    filled.reshape(flat.size * size)[present * size + flat[present]] = 1
    if filled is not result:
        result[...] = filled
    return in_kind(result, input) if out is None else out
