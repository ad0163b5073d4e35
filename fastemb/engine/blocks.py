"""Memory of a GPU that is used again: to have it from the driver takes long, and to give it back waits for all work.

A block goes back to the stream in which it was made when no array has it any more, and is used again for work in that
stream, which comes after what still reads it. One that another stream may read, or has read, is given back to the
driver instead.
"""

from collections import deque
from typing import Any

import numpy as np

from fastemb.engine.streams import cuda, current_stream, device_number, number_of

__all__ = ["Block", "block_of", "forget"]

SMALL, LARGE = 512, 2 << 20  # what sizes are rounded up to: those below `LARGE`, and the others
MOST_KEPT = 1 << 30  # bytes that are kept for use

_kept: dict[tuple[int, int, int], deque[Any]] = {}  # by GPU, stream and size
_bytes = 0


class Block:
    """Memory that is kept for use when it goes.

    Attributes
    ----------
    made : numba.cuda array, uint8
    is_lent : bool
        Whether another stream may read it.
    """

    __slots__ = ("_key", "is_lent", "made")

    def __init__(self, made: Any, key: tuple[int, int, int]) -> None:
        self.made, self._key, self.is_lent = made, key, False

    @property
    def stream(self) -> int:
        """The number of the stream in which it was made."""
        return self._key[1]

    def __del__(self) -> None:
        global _bytes
        size = self._key[2]
        if not self.is_lent and _bytes + size <= MOST_KEPT:
            _bytes += size
            _kept.setdefault(self._key, deque()).append(self.made)


def block_of(size: int) -> Block:
    """Return at least `size` bytes for work in the current stream, at least one, not set."""
    global _bytes
    unit = SMALL if size < LARGE else LARGE
    size = max(1, -(-size // unit)) * unit
    key = device_number(), number_of(current_stream()), size
    try:
        made = _kept[key].pop()
    except (IndexError, KeyError):
        return Block(_allocate(size), key)
    _bytes -= size
    return Block(made, key)


def _allocate(size: int) -> Any:
    try:
        return cuda().device_array((size,), np.uint8, stream=current_stream())
    except Exception:  # out of memory, of the driver's own kind; anything else is raised again
        if not _bytes:
            raise
        forget()
        return cuda().device_array((size,), np.uint8, stream=current_stream())


def forget() -> None:
    """Give what is kept back to the driver."""
    global _bytes
    _kept.clear()
    _bytes = 0
