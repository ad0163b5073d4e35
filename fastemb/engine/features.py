"""Passes over many features at once: their bags, the rows of their lookups, their pieces put into one array."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fastemb.engine import _features
from fastemb.engine.arrays import FLOAT32, FLOAT64
from fastemb.engine.backend import indexing_device, kernels
from fastemb.engine.memory import empty, empty_rows
from fastemb.engine.operations import SUMS, stored
from fastemb.engine.parallel import SERIAL_BYTES, run
from fastemb.engine.ragged import Bags, padding_number

__all__ = ["join", "plain_features", "shift"]


def plain_features(
    weight: NDArray,
    batch: dict,
    names: list[str],
    features: NDArray,
    mode: str,
    *,
    dtype: np.dtype | None = None,
    device: str = "cpu",
) -> NDArray | None:
    """Return the bags of many features in one pass, if all columns of a batch are plain arrays and right; else None.

    Parameters
    ----------
    weight : array (num_rows, embedding_dim)
        The features' tables, one after the other.
    batch : dict
        For each name an array of indices, of one dimension or two, or a tuple of indices and offsets.
    names : list of str
    features : int64 (num_features, 6)
        As `kernels.reference.features` has them; the first three columns are not read.
    mode : {"sum", "mean", "sqrtn"}
    dtype : numpy.dtype, optional
        Of the result: the table's, which is the default, or its accumulator dtype.
    device : {"cpu", "reference"}, default "cpu"

    Returns
    -------
    array (num_bags, num_features * embedding_dim), or None

    Examples
    --------
    >>> features = np.array([[0, 0, 0, 0, 2, -2], [0, 0, 0, 2, 1, -2]])
    >>> batch = {"a": np.array([1, 0]), "b": np.array([[0, 0], [0, 0]])}
    >>> plain_features(np.array([[0.0], [1.0], [2.0]]), batch, ["a", "b"], features, "sum")
    array([[1., 4.],
           [0., 4.]])
    """
    found = _features.columns(batch, names, features)
    if found is None:
        return None
    told, like, num_bags, num_lookups, _ = found
    dim = weight.shape[1]
    out = empty_rows(num_bags, len(names) * dim, weight.dtype if dtype is None else dtype)
    arguments = (stored(out), stored(weight), told, like, SUMS[mode])
    cost = num_lookups * dim * weight.itemsize
    return out if run(kernels(device, "features"), "reduce_features", arguments, num_bags, cost) == -1 else None


def shift(bags: Bags, first: int, num_embeddings: int, out: NDArray, device: str = "cpu") -> int:
    """Fill `out` with the rows of bags' lookups in an array of tables, -1 for those that are left out.

    Parameters
    ----------
    bags : Bags
    first, num_embeddings : int
        Where the bags' table begins in the array, and how many rows it has.
    out : int32 or int64 (num_lookups,)

    Returns
    -------
    int
        -1, or the place of the first index that is outside the table.

    Examples
    --------
    >>> out = np.empty(3, np.int32)
    >>> shift(Bags(np.array([2, 0, 1]), np.array([0, 3])), 10, 3, out), out
    (-1, array([12, 10, 11], dtype=int32))
    """
    arguments = (out, bags.indices, first, num_embeddings, padding_number(bags.padding_idx))
    return run(kernels(indexing_device(device), "lookup"), "shift", arguments, len(out), 2 * out.nbytes)


def join(pieces: Sequence[NDArray], by_sample: bool, device: str = "cpu") -> NDArray:
    """Return pieces of the same shape in one array: ``np.stack``, in all threads where that pays.

    Parameters
    ----------
    pieces : sequence of array (num_bags, embedding_dim)
    by_sample : bool
        Whether the rows of a sample lie side by side, or those of a piece.
    device : {"cpu", "reference", "cuda"}, default "cpu"

    Returns
    -------
    array (num_bags, num_pieces, embedding_dim), or (num_pieces, num_bags, embedding_dim)

    Examples
    --------
    >>> join([np.array([[1.0], [2.0]]), np.array([[3.0], [4.0]])], by_sample=True).tolist()
    [[[1.0], [3.0]], [[2.0], [4.0]]]
    """
    first = pieces[0]
    dtypes = {piece.dtype for piece in pieces}
    are_plain = dtypes <= {FLOAT32, FLOAT64} and len(dtypes) == 1
    are_plain = are_plain and all(piece.flags.aligned and piece.strides[1] == first.itemsize for piece in pieces)
    if not are_plain or len(pieces) * first.nbytes < SERIAL_BYTES:
        return np.stack(pieces, axis=1 if by_sample else 0)
    (num_bags, dim), count = first.shape, len(pieces)
    out = empty((num_bags, count, dim) if by_sample else (count, num_bags, dim), first.dtype)
    told = np.array([(piece.__array_interface__["data"][0], piece.strides[0]) for piece in pieces], np.int64)
    arguments = (out if by_sample else out.transpose(1, 0, 2), told)
    run(kernels(indexing_device(device), "features"), "join", arguments, num_bags, 2 * out.nbytes)
    return out
