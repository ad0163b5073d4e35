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

__all__ = ["as_one", "gather", "join", "plain_features", "shift"]

SHORT_ROW = 128  # bytes


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


def gather(
    batch: dict, names: list[str], features: NDArray, wide: bool, device: str = "cpu"
) -> tuple[NDArray, NDArray[np.int64] | None] | None:
    """Return the bags of many features as rows of the array of their tables, if all columns are plain and right.

    Parameters
    ----------
    batch, names, features
        As `plain_features` takes them.
    wide : bool
        Whether rows of the array need more than 32 bits.
    device : {"cpu", "reference", "cuda"}, default "cpu"

    Returns
    -------
    rows : int32 or int64 (num_lookups,)
        In the dtype of the indices, or wider; -1 for those that are left out.
    offsets : int64 (num_features * num_bags + 1,) or None
        Of the bags of all features, those of a feature side by side. None where each bag has one lookup: then those of
        a sample are side by side.

    Examples
    --------
    >>> features = np.array([[0, 0, 0, 0, 2, -2], [0, 0, 0, 2, 1, -2]])
    >>> gather({"a": np.array([1, 0]), "b": np.array([[0, 0], [0, 0]])}, ["a", "b"], features, False)
    (array([1, 0, 2, 2, 2, 2]), array([0, 1, 2, 4, 6]))
    >>> gather({"a": np.array([1, 0]), "b": np.array([0, 0])}, ["a", "b"], features, False)
    (array([1, 2, 0, 2]), None)
    """
    found = _features.columns(batch, names, features)
    if found is None:
        return None
    told, like, num_bags, num_lookups, _ = found
    is_single = num_lookups == num_bags * len(names)
    rows = empty((num_lookups,), np.result_type(like.dtype, np.int64) if wide else like.dtype)
    offsets = np.zeros(1 if is_single else num_bags * len(names) + 1, np.int64)
    places = np.arange(len(names)) if is_single else np.cumsum(told[:, 1]) - told[:, 1]
    arguments = (rows, offsets[1:], told, places, len(names) if is_single else 1, like)
    status = run(kernels(indexing_device(device), "features"), "gather", arguments, num_bags, 2 * rows.nbytes)
    return None if status != -1 else (rows, None if is_single else offsets)


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
    if not _are_large_and_plain(pieces):
        return np.stack(pieces, axis=1 if by_sample else 0)
    (num_bags, dim), count = first.shape, len(pieces)
    out = empty((num_bags, count, dim) if by_sample else (count, num_bags, dim), first.dtype)
    arguments = (out if by_sample else out.transpose(1, 0, 2), _places_of(pieces))
    run(kernels(indexing_device(device), "features"), "join", arguments, num_bags, 2 * out.nbytes)
    return out


def as_one(pieces: Sequence[NDArray], by_sample: bool) -> tuple[NDArray, NDArray[np.int32]] | None:
    """Return what `join` does without a copy: an array in whose rows the pieces lie, and which these are.

    None if that is not possible, or the rows are so short that to copy them takes no longer.

    The array reaches from the first to the last of the pieces in memory, wherever they lie: only those rows of it may
    be read.

    Parameters
    ----------
    pieces : sequence of array (num_bags, embedding_dim)
        Of one dtype.
    by_sample : bool
        As in `join`.

    Returns
    -------
    rows : array (..., embedding_dim)
    places : int32 (num_bags * num_pieces,)
        The row of `rows` for each row that `join` returns.

    Examples
    --------
    >>> pieces = [np.full((1000, 64), 1.0), np.full((1000, 64), 2.0)]
    >>> rows, places = as_one(pieces, by_sample=True)
    >>> rows[places[:3], 0]
    array([1., 2., 1.])
    """
    if not _are_large_and_plain(pieces) or pieces[0][0].nbytes < SHORT_ROW:
        return None
    (num_bags, dim), told = pieces[0].shape, _places_of(pieces)
    begins, strides = told[:, 0] - told[:, 0].min(), told[:, 1]
    unit = int(np.gcd.reduce(np.concatenate([begins, strides])))  # bytes from one row to the next
    last = int((begins + (num_bags - 1) * strides).max()) // max(unit, 1)
    if unit == 0 or strides.min() < 0 or last >= 2**31 - 1:
        return None
    begins, strides = (begins // unit).astype(np.int32), (strides // unit).astype(np.int32)
    places = begins + np.arange(num_bags, dtype=np.int32)[:, None] * strides
    rows = np.asarray(_Span(pieces, int(told[:, 0].min()), (last + 1, dim), unit))
    return rows, (places if by_sample else places.T).reshape(-1)


class _Span:
    """What NumPy makes an array of, which keeps the pieces that lie in it alive."""

    def __init__(self, pieces: Sequence[NDArray], begin: int, shape: tuple[int, int], unit: int) -> None:
        self.pieces = pieces
        self.__array_interface__ = {
            "version": 3,
            "data": (begin, False),
            "typestr": pieces[0].dtype.str,
            "shape": shape,
            "strides": (unit, pieces[0].itemsize),
        }


def _are_large_and_plain(pieces: Sequence[NDArray]) -> bool:
    """Return whether pieces are enough for several threads, and of a form that kernels take."""
    first = pieces[0]
    if len(pieces) * first.nbytes < SERIAL_BYTES or first.dtype not in (FLOAT32, FLOAT64):
        return False
    return all(
        piece.dtype == first.dtype and piece.flags.aligned and piece.strides[1] == first.itemsize for piece in pieces
    )


def _places_of(pieces: Sequence[NDArray]) -> NDArray[np.int64]:
    """Return where each piece begins in memory, and how far its rows are from each other."""
    return np.array([(piece.__array_interface__["data"][0], piece.strides[0]) for piece in pieces], np.int64)
