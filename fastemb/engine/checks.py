"""What is wrong with bags, where it is, and the errors that say so."""

import numpy as np
from numpy.typing import NDArray

from fastemb.engine import _indices
from fastemb.engine.device import DeviceArray
from fastemb.engine.ragged import Bags, padding_number

__all__ = ["check", "check_indices", "check_offsets", "first_fault", "index_error"]


def check(bags: Bags, num_embeddings: int) -> None:
    """Raise what a kernel that reads the bags would: for work that is done before a kernel reads them, or without one.

    Raises
    ------
    IndexError
        If an index is outside the table.
    ValueError
        If the offsets fall or exceed the number of lookups.

    Examples
    --------
    >>> check(Bags(np.array([1, 2, 3]), np.array([0, 2, 1, 3])), 10)
    Traceback (most recent call last):
        ...
    ValueError: offsets must not fall, got 1 after 2 at position 2
    """
    check_indices(bags.indices, num_embeddings, bags.padding_idx, bags.shape, bags.offsets)
    check_offsets(bags, num_embeddings)


def check_offsets(bags: Bags, num_embeddings: int) -> None:
    """Raise a ValueError if the offsets fall or exceed the number of lookups; those on a GPU are known not to."""
    if isinstance(bags.offsets, DeviceArray):
        return
    bad = _indices.bad_bag(bags.offsets, len(bags.indices))
    if bad != -1:
        raise index_error(-2 - bad, bags, num_embeddings)


def check_indices(
    indices: NDArray,
    num_embeddings: int,
    padding_idx: int | None = None,
    shape: tuple[int, ...] | None = None,
    offsets: NDArray | None = None,
) -> None:
    """Raise an IndexError if one of the indices, (num_lookups,), is neither in the table nor `padding_idx`."""
    status = _indices.outside(indices, num_embeddings, padding_number(padding_idx))
    if status != -1:
        bags = Bags(indices, indices if offsets is None else offsets, shape=shape)
        raise index_error(status, bags, num_embeddings)


def index_error(status: int, bags: Bags, num_embeddings: int) -> Exception:
    """Return the exception that a kernel's status stands for.

    Parameters
    ----------
    status : int
        At least 0: the place of a bad index; at most -2: ``-2 - status`` is a bag with bad offsets.
    bags : Bags
    num_embeddings : int

    Examples
    --------
    >>> index_error(3, Bags(np.array([1, 2, 3, 10]), np.array([0, 2, 4]), shape=(2, 2)), 10)
    IndexError('indices must be in [0, 10), got 10 at position (1, 1)')
    """
    if status >= 0:
        position = place(status, bags.shape, bags.offsets)
        return IndexError(
            f"indices must be in [0, {num_embeddings}), got {bags.indices[status]} at position {position}"
        )
    b, num_lookups = -2 - status, len(bags.indices)
    first, last = bags.offsets[b], bags.offsets[b + 1]
    for position, offset in ((b, first), (b + 1, last)):
        if not 0 <= offset <= num_lookups:
            return ValueError(f"offsets must be in [0, {num_lookups}], got {offset} at position {position}")
    return ValueError(f"offsets must not fall, got {last} after {first} at position {b + 1}")


def first_fault(bags: Bags, bag: int, num_embeddings: int) -> int:
    """Return the status that a kernel tells of a bag in which something is wrong.

    Examples
    --------
    >>> first_fault(Bags(np.array([1, 2, 3, 10]), np.array([0, 2, 4])), 1, 10)
    3
    """
    first, last = int(bags.offsets[bag]), int(bags.offsets[bag + 1])
    if not 0 <= first <= last <= len(bags.indices):
        return -2 - bag
    found = bags.indices[first:last]
    outside = (found < 0) | (found >= num_embeddings)
    if bags.padding_idx is not None:
        outside &= found != bags.padding_idx
    return first + int(np.argmax(outside))


def place(flat: int, shape: tuple[int, ...] | None, offsets: NDArray | None = None) -> int | tuple[int, ...]:
    """Return where the lookup number `flat` is in what the user passed."""
    if shape is None and offsets is not None:
        b = int(np.searchsorted(offsets, flat, side="right")) - 1
        return b, flat - int(offsets[b])
    position = tuple(map(int, np.unravel_index(flat, shape or (1,))))
    return position[0] if len(position) == 1 else position
