"""Indices and offsets as a user gives them made into those that other kernels take; each thread has one."""

import numpy as np
from numba import cuda

from fastemb.kernels.cuda.random import random_u64
from fastemb.kernels.cuda.vector import first_team, num_teams

__all__ = ["CLIP", "HASH", "PAD", "append", "close", "settle"]

CLIP, PAD, HASH = range(3)  # what becomes of an index outside the table


@cuda.jit
def close(out, offsets, num_lookups, start, stop, fault):
    """Write offsets and the end of the last bag, which may be missing; one that cannot be is a fault.

    The first must be 0, the last `num_lookups`, and none below the one before.
    """
    b = start + first_team()
    while b < stop:
        value, before = np.int64(num_lookups), np.int64(0)
        if b < len(offsets):
            value = np.int64(offsets[b])
        if b > 0:
            before = np.int64(offsets[b - 1])
        if value < before or value > num_lookups or (b == 0 and value != 0) or (b == stop - 1 and value != num_lookups):
            cuda.atomic.min(fault, 0, b)
        out[b] = value
        b += num_teams()


@cuda.jit
def settle(out, indices, num_embeddings, padding_idx, policy, start, stop):
    """Write indices, and for one that is outside ``[0, num_embeddings)`` the row that a policy takes instead."""
    i = start + first_team()
    while i < stop:
        row = np.int64(indices[i])
        if row < 0 or row >= num_embeddings:
            if policy == PAD:
                row = np.int64(padding_idx)
            elif policy == CLIP:
                row = np.int64(0) if row < 0 else np.int64(num_embeddings - 1)
            else:
                row = np.int64(random_u64(np.uint64(row), np.uint64(0)) % np.uint64(num_embeddings))
        out[i] = row
        i += num_teams()


@cuda.jit
def append(out, offsets, first, added, start, stop):
    """Write ``out[first + b] = offsets[b] + added`` for b in ``[start, stop)``."""
    b = start + first_team()
    while b < stop:
        out[first + b] = offsets[b] + added
        b += num_teams()
