"""The kernels with arrays made for their results: validated arrays in, results out.

Tables are float64, float32, float16 or uint16 (the bits of bfloat16) with unit inner stride; indices are int32 or
int64 and contiguous; `arrays` and `ragged` make them so of what users pass. Tables in a GPU's memory go to `gpu`, and
so does what is returned.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastemb.engine import _plain, gpu, gpu_grouping
from fastemb.engine.arrays import FLOAT16, accumulator
from fastemb.engine.backend import indexing_device, kernels, require_half
from fastemb.engine.checks import index_error
from fastemb.engine.device import DeviceArray
from fastemb.engine.grouping import group
from fastemb.engine.memory import empty_rows
from fastemb.engine.parallel import run
from fastemb.engine.ragged import Bags, padding_number

__all__ = [
    "EXTREMES",
    "SUMS",
    "dots",
    "extremes",
    "limit_norms",
    "lookup",
    "plain_lookup",
    "plain_reduce",
    "reduce",
    "renormalise",
    "rounded",
    "scales",
    "stored",
]

SUMS = {"sum": 0, "mean": 1, "sqrtn": 2}  # as the kernels call them
EXTREMES = {"max": 1.0, "min": -1.0}
CACHE = 16 << 20  # bytes of a table that the cores' caches hold
MOST_CACHED = 256 << 10  # bytes of its rows that one thread reads as fast as several, as in `_plain`


def lookup(
    weight: NDArray,
    indices: NDArray,
    *,
    padding_idx: int | None = None,
    out: NDArray | None = None,
    shape: tuple[int, ...] | None = None,
    device: str = "cpu",
) -> NDArray:
    """Return ``weight[indices]``, with zeros where an index is `padding_idx`.

    Parameters
    ----------
    weight : array (num_embeddings, embedding_dim)
    indices : int32 or int64 (num_lookups,)
    padding_idx : int, optional
        May lie outside the table: -1 marks "no row".
    out : array (num_lookups, embedding_dim), optional
        To fill; C-contiguous and of the table's dtype.
    shape : tuple of int, optional
        Of the user's indices, for the place of a bad one; default ``indices.shape``.
    device : {"cpu", "reference", "cuda"}, default "cpu"

    Raises
    ------
    IndexError
        If an index is outside the table.

    Examples
    --------
    >>> lookup(np.array([[0.0], [1.0], [2.0]]), np.array([2, 0]))
    array([[2.],
           [0.]])
    """
    if isinstance(weight, DeviceArray):
        return gpu.lookup(weight, indices, padding_idx, out, shape)
    num_embeddings, embedding_dim = weight.shape
    num_lookups = len(indices)
    if out is None:
        out = empty_rows(num_lookups, embedding_dim, weight.dtype)
    arguments = stored(out), stored(weight), indices, padding_number(padding_idx)
    cost = _cost_if_it_pays(num_lookups, weight)
    status = run(kernels(device, "lookup"), "lookup", arguments, num_lookups, cost)
    if status != -1:
        raise index_error(status, Bags(indices, indices, shape=shape or indices.shape), num_embeddings)
    return out


def reduce(weight: NDArray, bags: Bags, mode: str, *, out: NDArray | None = None, device: str = "cpu") -> NDArray:
    """Return the sum, the mean, or the sum over the square root of the number, of the rows of each bag.

    Parameters
    ----------
    weight : array (num_embeddings, embedding_dim)
    bags : Bags
    mode : {"sum", "mean", "sqrtn"}
    out : array (num_bags, embedding_dim), optional
        To fill; C-contiguous and of the table's dtype or its accumulator dtype.
    device : {"cpu", "reference", "cuda"}, default "cpu"

    Raises
    ------
    IndexError
        If an index is outside the table.
    ValueError
        If the offsets fall or exceed the number of lookups.

    Examples
    --------
    >>> bags = Bags(np.array([2, 0, 1]), np.array([0, 2, 3]))
    >>> reduce(np.array([[0.0], [1.0], [2.0]]), bags, "mean")
    array([[1.],
           [1.]])
    """
    if isinstance(weight, DeviceArray):
        return gpu.reduce(weight, bags, SUMS[mode], out)
    size, dim, indices = len(bags.offsets) - 1, weight.shape[1], bags.indices
    if out is None:
        out = empty_rows(size, dim, weight.dtype)
    target, table = (stored(out), stored(weight)) if weight.itemsize == 2 else (out, weight)
    arguments = (target, table, indices, bags.offsets, bags.coefficients, padding_number(bags.padding_idx), SUMS[mode])
    status = run(kernels(device, "bags"), "reduce", arguments, size, _cost_if_it_pays(len(indices), weight))
    if status != -1:
        raise index_error(status, bags, len(weight))
    return out


def extremes(
    weight: NDArray, bags: Bags, sign: float, *, out: NDArray | None = None, device: str = "cpu"
) -> tuple[NDArray, NDArray]:
    """Return the greatest or least values of the rows of each bag, and the lookups that won them.

    Parameters
    ----------
    weight : array (num_embeddings, embedding_dim)
    bags : Bags
        Without coefficients.
    sign : float
        1.0 for the greatest, -1.0 for the least.
    out : array (num_bags, embedding_dim), optional
        To fill; C-contiguous and of the table's dtype.
    device : {"cpu", "reference", "cuda"}, default "cpu"

    Returns
    -------
    out : array (num_bags, embedding_dim)
    winners : int32 (num_bags, embedding_dim)
        Places in ``bags.indices``; -1 in empty bags.

    Raises
    ------
    IndexError, ValueError
        As `reduce`.

    Examples
    --------
    >>> bags = Bags(np.array([2, 0, 1]), np.array([0, 2, 3]))
    >>> extremes(np.array([[0.0], [1.0], [2.0]]), bags, 1.0)
    (array([[2.],
           [1.]]), array([[0],
           [2]], dtype=int32))
    """
    if len(bags.indices) >= 2**31:
        raise ValueError(f"modes max and min take fewer than 2**31 lookups at a time, got {len(bags.indices)}")
    if isinstance(weight, DeviceArray):
        return gpu.extremes(weight, bags, sign, out)
    shape = len(bags.offsets) - 1, weight.shape[1]
    if out is None:
        out = empty_rows(*shape, weight.dtype)
    winners = np.empty(shape, np.int32)
    arguments = (
        stored(out),
        winners,
        stored(weight),
        bags.indices,
        bags.offsets,
        padding_number(bags.padding_idx),
        sign,
    )
    status = run(kernels(device, "bags"), "extremes", arguments, shape[0], _cost(weight, bags))
    if status != -1:
        raise index_error(status, bags, len(weight))
    return out, winners


def dots(weight: NDArray, bags: Bags, grad_output: NDArray, *, device: str = "cpu") -> NDArray:
    """Return the product of each lookup's row with its bag's row of `grad_output`, 0 where it is left out.

    Parameters
    ----------
    weight : array (num_embeddings, embedding_dim)
    bags : Bags
    grad_output : array (num_bags, embedding_dim)
        C-contiguous; of the table's dtype or its accumulator dtype.
    device : {"cpu", "reference", "cuda"}, default "cpu"

    Returns
    -------
    array (num_lookups,), accumulator dtype

    Raises
    ------
    IndexError, ValueError
        As `reduce`.

    Examples
    --------
    >>> bags = Bags(np.array([2, 0, 1]), np.array([0, 2, 3]))
    >>> dots(np.array([[0.0], [1.0], [2.0]]), bags, np.array([[10.0], [20.0]]))
    array([20.,  0., 20.])
    """
    if isinstance(weight, DeviceArray):
        return gpu.dots(weight, bags, grad_output)
    out = np.empty(len(bags.indices), accumulator(weight.dtype))
    arguments = (out, stored(grad_output), stored(weight), bags.indices, bags.offsets, padding_number(bags.padding_idx))
    status = run(kernels(device, "bags"), "dots", arguments, len(bags.offsets) - 1, _cost(weight, bags))
    if status != -1:
        raise index_error(status, bags, len(weight))
    return out


def scales(bags: Bags, mode: str, dtype: np.dtype, *, device: str = "cpu") -> NDArray:
    """Return what the sum of each bag is multiplied by in `mode`.

    Parameters
    ----------
    bags : Bags
        That `reduce` has accepted.
    mode : {"sum", "mean", "sqrtn"}
    dtype : numpy.dtype
        The table's accumulator dtype.
    device : {"cpu", "reference", "cuda"}, default "cpu"

    Returns
    -------
    array (num_bags,)

    Examples
    --------
    >>> scales(Bags(np.array([2, 0, 1]), np.array([0, 2, 3])), "mean", np.dtype(np.float64))
    array([0.5, 1. ])
    """
    size = len(bags.offsets) - 1
    out = np.empty(size, dtype)
    arguments = (out, bags.indices, bags.offsets, bags.coefficients, padding_number(bags.padding_idx), SUMS[mode])
    run(kernels(indexing_device(device), "bags"), "scales", arguments, size, bags.indices.nbytes)
    return out


def renormalise(weight: NDArray, rows: NDArray, max_norm: float, norm_type: float, *, device: str = "cpu") -> None:
    """Scale the rows whose norm is greater than `max_norm` to that norm, in place.

    Parameters
    ----------
    weight : array (num_embeddings, embedding_dim)
    rows : int32 or int64 (num_rows,)
        Distinct and inside the table, as `grouping.group` makes them.
    max_norm, norm_type : float
        See `kernels.reference.renorm`.
    device : {"cpu", "reference", "cuda"}, default "cpu"

    Examples
    --------
    >>> weight = np.array([[3.0, 4.0], [0.3, 0.4]])
    >>> renormalise(weight, np.array([0, 1]), 1.0, 2.0)
    >>> weight.round(6)
    array([[0.6, 0.8],
           [0.3, 0.4]])
    """
    if isinstance(weight, DeviceArray):
        gpu.renormalise(weight, rows, max_norm, norm_type)
        return
    cost = len(rows) * weight.shape[1] * weight.itemsize
    arguments = (stored(weight), rows, float(max_norm), float(norm_type))  # an int is one more kernel to compile
    run(kernels(device, "renorm"), "renormalise", arguments, len(rows), cost)


def limit_norms(weight: NDArray, indices: NDArray, max_norm: float, norm_type: float, *, device: str = "cpu") -> None:
    """Renormalise the rows that are looked up, each once; what is outside the table is left out.

    Examples
    --------
    >>> weight = np.array([[3.0, 4.0], [0.3, 0.4]])
    >>> limit_norms(weight, np.array([0, 7, 0]), 1.0, 2.0)
    >>> weight.round(6)
    array([[0.6, 0.8],
           [0.3, 0.4]])
    """
    if isinstance(weight, DeviceArray):
        groups = gpu_grouping.group(indices, len(weight))
        gpu.renormalise(weight, groups.rows, max_norm, norm_type, groups.count)
    else:
        renormalise(weight, group(indices, len(weight), device=device).rows, max_norm, norm_type, device=device)


def stored(array: NDArray) -> NDArray:
    """Return float16 as its bits, int16, as kernels take them: Numba has no float16 on a CPU. Others as they are.

    Examples
    --------
    >>> stored(np.ones(1, np.float16))
    array([15360], dtype=int16)
    """
    if array.itemsize != 2 or array.dtype != FLOAT16:
        return array
    require_half()
    return array.view(np.int16)


def plain_lookup(weight: Any, indices: Any, out: Any = None) -> NDArray | None:
    """Return what `lookup` returns, in less time, if all arrays are plain; else None.

    Parameters
    ----------
    weight : array (num_embeddings, embedding_dim)
    indices : array
        Of any shape.
    out : array (*indices.shape, embedding_dim), optional

    Examples
    --------
    >>> plain_lookup(np.array([[0.0], [1.0], [2.0]]), np.array([[2, 0]]))
    array([[[2.],
            [0.]]])
    >>> plain_lookup(np.array([[0.0], [1.0], [2.0]]), np.array([3]))
    """
    module = kernels("cpu", "lookup")
    if type(indices) is not np.ndarray or not module.lookup.overloads:  # what compiles is announced elsewhere
        return None
    if indices.ndim == 1:
        return _plain.lookup(run, module, indices, weight, out)
    if out is not None:
        return None
    found = _plain.lookup(run, module, indices.reshape(-1), weight, None)
    return None if found is None else found.reshape(*indices.shape, weight.shape[1])


def plain_reduce(weight: Any, indices: Any, offsets: Any, coefficients: Any, mode: str) -> NDArray | None:
    """Return what `reduce` returns, in less time, if all arrays are plain; else None.

    Parameters
    ----------
    weight : array (num_embeddings, embedding_dim)
    indices, offsets
        As `functional.embedding_bag` takes them.
    coefficients : array of the shape of `indices`, optional
    mode : {"sum", "mean", "sqrtn"}

    Examples
    --------
    >>> plain_reduce(np.array([[0.0], [1.0], [2.0]]), np.array([2, 0, 1]), np.array([0, 2]), None, "mean")
    array([[1.],
           [1.]])
    """
    module = kernels("cpu", "bags")
    if not module.reduce.overloads:
        return None
    return _plain.reduce(run, module, indices, weight, offsets, coefficients, SUMS[mode])


def _cost_if_it_pays(num_lookups: int, weight: NDArray) -> int:
    """Return about how many bytes are read; 0 where one thread reads them as fast as several."""
    cost = num_lookups * weight.shape[1] * weight.itemsize
    return 0 if cost <= MOST_CACHED and weight.nbytes <= CACHE else cost


def _cost(weight: NDArray, bags: Bags) -> int:
    """Return about how many bytes are read."""
    return bags.indices.size * weight.shape[1] * weight.itemsize


def rounded(values: NDArray, dtype: np.dtype) -> NDArray:
    """Return values of an accumulator dtype in a table's dtype, rounded to nearest; themselves if they are of it.

    Examples
    --------
    >>> hex(rounded(np.float32([1.0]), np.dtype(np.uint16))[0])
    '0x3f80'
    """
    return values if values.dtype == dtype else kernels("reference", "lookup").narrow(values, dtype)
