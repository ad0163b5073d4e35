"""Rows of a table changed in place."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastemb.engine import gradients, operations, updates
from fastemb.engine.arrays import accumulator, as_rows, as_table, give_back
from fastemb.engine.ragged import Bags
from fastemb.engine.validate import real
from fastemb.functional.arguments import check_lookups, device_of, limit_norms, same_place, table_indices

__all__ = ["embedding_renorm_", "scatter_add", "scatter_add_backward"]


def embedding_renorm_(
    weight: NDArray, input: ArrayLike, max_norm: float, norm_type: float = 2.0, *, on_invalid: str = "raise"
) -> NDArray:
    """Scale the rows that are looked up to a norm of at most `max_norm`, in place: ``torch.embedding_renorm_``.

    A row whose p-norm n is greater is multiplied by ``max_norm / (n + 1e-7)``, once however often it is looked up.

    Parameters
    ----------
    weight : array (num_embeddings, embedding_dim)
        Changed in place.
    input : integer array
        Of any shape.
    max_norm : float
        At least 0.
    norm_type : float, default 2
        p; infinity is the largest magnitude.
    on_invalid : {"raise", "clip", "pad", "hash"}, default "raise"
        What becomes of an index outside the table; "pad" ignores it.

    Returns
    -------
    array
        `weight`.

    Raises
    ------
    IndexError, TypeError, ValueError
        As `embedding`.

    Examples
    --------
    >>> import numpy as np
    >>> embedding_renorm_(np.array([[3.0, 4.0], [6.0, 8.0]]), [0, 0], max_norm=1.0).round(6)
    array([[0.6, 0.8],
           [6. , 8. ]])
    """
    table = as_table(weight, change=True)
    indices, _, no_row = table_indices(input, len(table), None, on_invalid)
    flat = indices.reshape(-1)
    limit_norms(table, Bags(flat, flat, None, no_row, indices.shape), max_norm, norm_type)
    return weight


def scatter_add(
    weight: NDArray, indices: ArrayLike, source: ArrayLike, *, alpha: float = 1.0, on_invalid: str = "raise"
) -> NDArray:
    """Add rows to rows of a table, in place: ``weight[indices[i]] += alpha * source[i]``, duplicates and all.

    It is ``torch.Tensor.index_add_`` along the first axis. Rows are added in order, so that the result depends neither
    on chance nor on the number of threads; those that go to one row of a table of short floats are summed first, in
    float32, and so are those of a table on a GPU, 256 at a time.

    Parameters
    ----------
    weight : array (num_embeddings, embedding_dim)
        Changed in place.
    indices : integer array
        Of any shape.
    source : array ``(*indices.shape, embedding_dim)``
    alpha : float, default 1
    on_invalid : {"raise", "clip", "pad", "hash"}, default "raise"
        What becomes of an index outside the table; "pad" ignores it.

    Returns
    -------
    array
        `weight`.

    Raises
    ------
    IndexError, TypeError, ValueError
        As `embedding`; and if `source` has another shape.

    Examples
    --------
    >>> import numpy as np
    >>> scatter_add(np.zeros((3, 1)), [2, 0, 2], [[1.0], [2.0], [4.0]])
    array([[2.],
           [0.],
           [5.]])
    """
    factor = real("alpha", alpha, -math.inf)
    table = as_table(weight, change=True)
    settled, _, no_row = table_indices(indices, len(table), None, on_invalid, "indices")
    same_place(table, settled, "indices")
    rows = as_rows(source, (*settled.shape, table.shape[1]), table.dtype, "source")
    flat, device = settled.reshape(-1), device_of(table)
    check_lookups(table, Bags(flat, flat, None, no_row, settled.shape))
    if device == "cpu" and accumulator(table.dtype) == table.dtype == rows.dtype:
        updates.add_rows(table, flat, rows, factor)
    else:
        gradients.gradient_of_lookup(rows, flat, len(table), device=device).add_to(table, factor)
    return weight


def scatter_add_backward(
    grad_output: ArrayLike, indices: ArrayLike, *, alpha: float = 1.0, on_invalid: str = "raise"
) -> NDArray:
    """Return the gradient of the `source` of `scatter_add`: ``alpha * grad_output[indices]``.

    The gradient of its `weight` is `grad_output` itself.

    Parameters
    ----------
    grad_output : array (num_embeddings, embedding_dim)
        The gradient of the table that `scatter_add` returned.
    indices, alpha, on_invalid
        As in `scatter_add`.

    Returns
    -------
    array ``(*indices.shape, embedding_dim)``, dtype of `grad_output`

    Raises
    ------
    IndexError, TypeError, ValueError
        As `embedding`.

    Examples
    --------
    >>> import numpy as np
    >>> scatter_add_backward(np.array([[1.0], [2.0], [4.0]]), [2, 0, 2], alpha=0.5)
    array([[2. ],
           [0.5],
           [2. ]])
    """
    factor = real("alpha", alpha, -math.inf)
    table = as_table(grad_output, "grad_output")
    settled, _, no_row = table_indices(indices, len(table), None, on_invalid, "indices")
    same_place(table, settled, "indices")
    size = settled.size
    coefficients = np.full(size, factor, accumulator(table.dtype))
    bags = Bags(settled.reshape(-1), np.arange(size + 1), coefficients, no_row, settled.shape)
    return give_back(operations.reduce(table, bags, "sum").reshape(*settled.shape, table.shape[1]), grad_output)
