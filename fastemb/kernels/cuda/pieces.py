"""Pieces of the lookups that are grouped by row, so that a frequent row is not the work of one team.

Places are cut at each multiple of `PIECE`. A piece that lies in one row's lookups is summed by a team of its own,
whatever else the row has; who owns the row then adds up these sums, and the lookups before the first and after the last
of them. So no lookup is summed twice, memory is a row for each `PIECE` lookups, and nothing depends on scheduling.
"""

from numba import cuda

from fastemb.kernels.cuda.vector import SIMULATED

__all__ = ["PIECE", "whole_pieces"]

PIECE = 4 if SIMULATED else 256


@cuda.jit(device=True)
def whole_pieces(first, last, num_pieces):
    """Return the range of the pieces that lie in the places ``[first, last)``; an empty one if they are not summed."""
    begin, end = (first + PIECE - 1) // PIECE, last // PIECE
    if begin >= end or end > num_pieces:
        return 0, 0
    return begin, end
