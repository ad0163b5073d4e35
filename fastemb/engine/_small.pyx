"""Small lookups and bags on plain arrays, from call to kernel in about a microsecond.

Anything out of the ordinary (another type, dtype or layout, a bad index) gives None: the usual way then does it, and
says what is wrong.
"""

cimport numpy as cnp
from libc.string cimport memcpy

cnp.import_array()

# Bytes of rows that one thread reads as fast as two, which have to be started: of a table that a cache holds, or not.
cdef Py_ssize_t MOST_CACHED = 384 << 10
cdef Py_ssize_t MOST = 192 << 10
cdef Py_ssize_t CACHE = 16 << 20
NO_PADDING = -2  # of kernels


cdef bint _plain(array, int dimensions):
    """Whether an array is exactly NumPy's own, contiguous, aligned and writable (kernels are compiled for these)."""
    return (
        cnp.PyArray_CheckExact(array)
        and cnp.PyArray_NDIM(array) == dimensions
        and cnp.PyArray_ISCARRAY(array)
    )


cdef bint _index(array):
    cdef int kind = cnp.PyArray_TYPE(array)
    return kind == cnp.NPY_INT64 or kind == cnp.NPY_INT32


cdef bint _small(weight, Py_ssize_t num_lookups):
    """Whether a table is plain, and so few of its rows are read that threads would not pay."""
    cdef int kind
    if not _plain(weight, 2):
        return False
    kind = cnp.PyArray_TYPE(weight)
    if kind != cnp.NPY_FLOAT32 and kind != cnp.NPY_FLOAT64:
        return False
    row = cnp.PyArray_DIM(weight, 1) * cnp.PyArray_ITEMSIZE(weight)
    return num_lookups * row <= (MOST_CACHED if cnp.PyArray_NBYTES(weight) <= CACHE else MOST)


def lookup(kernel, indices, weight):
    """Return the rows of `weight` at `indices` of one dimension, or None."""
    cdef cnp.npy_intp shape[2]
    if not (_plain(indices, 1) and _index(indices) and _small(weight, cnp.PyArray_DIM(indices, 0))):
        return None
    shape[0], shape[1] = cnp.PyArray_DIM(indices, 0), cnp.PyArray_DIM(weight, 1)
    out = cnp.PyArray_EMPTY(2, shape, cnp.PyArray_TYPE(weight), 0)
    return out if kernel(out, weight, indices, NO_PADDING, 0, shape[0]) == -1 else None


def reduce(kernel, indices, weight, offsets, int mode):
    """Return the bags of `indices` that begin at `offsets`, reduced, or None."""
    cdef cnp.npy_intp shape[2]
    cdef cnp.npy_intp num_bags, ends
    if not (_plain(indices, 1) and _index(indices) and _small(weight, cnp.PyArray_DIM(indices, 0))):
        return None
    if not (_plain(offsets, 1) and cnp.PyArray_TYPE(offsets) == cnp.NPY_INT64):
        return None
    num_bags = cnp.PyArray_DIM(offsets, 0)
    if num_bags == 0 or (<cnp.int64_t*> cnp.PyArray_DATA(offsets))[0] != 0:
        return None
    ends = num_bags + 1
    starts = cnp.PyArray_EMPTY(1, &ends, cnp.NPY_INT64, 0)
    memcpy(cnp.PyArray_DATA(starts), cnp.PyArray_DATA(offsets), num_bags * sizeof(cnp.int64_t))
    (<cnp.int64_t*> cnp.PyArray_DATA(starts))[num_bags] = cnp.PyArray_DIM(indices, 0)
    shape[0], shape[1] = num_bags, cnp.PyArray_DIM(weight, 1)
    out = cnp.PyArray_EMPTY(2, shape, cnp.PyArray_TYPE(weight), 0)
    return out if kernel(out, weight, indices, starts, None, NO_PADDING, mode, 0, num_bags) == -1 else None


def reduce_rows(kernel, indices, weight, int mode):
    """Return the rows of `indices` of two dimensions as bags, reduced, or None."""
    cdef cnp.npy_intp shape[2]
    cdef cnp.npy_intp num_bags, length, ends, b
    cdef cnp.int64_t* start
    if not (_plain(indices, 2) and _index(indices) and _small(weight, cnp.PyArray_SIZE(indices))):
        return None
    num_bags, length = cnp.PyArray_DIM(indices, 0), cnp.PyArray_DIM(indices, 1)
    ends = num_bags + 1
    starts = cnp.PyArray_EMPTY(1, &ends, cnp.NPY_INT64, 0)
    start = <cnp.int64_t*> cnp.PyArray_DATA(starts)
    for b in range(ends):
        start[b] = b * length
    shape[0], shape[1] = num_bags, cnp.PyArray_DIM(weight, 1)
    out = cnp.PyArray_EMPTY(2, shape, cnp.PyArray_TYPE(weight), 0)
    flat = cnp.PyArray_Ravel(indices, cnp.NPY_CORDER)
    return out if kernel(out, weight, flat, starts, None, NO_PADDING, mode, 0, num_bags) == -1 else None
