"""Passes over indices and offsets that every step makes: little work, for which NumPy takes several calls."""

cimport numpy as cnp

from fastemb.engine._memory cimport array_on_line

cnp.import_array()

cdef cnp.int64_t NO_ROW = -1

ctypedef fused integer:
    cnp.int64_t
    cnp.int32_t


cdef bint _index(array):
    cdef int kind = cnp.PyArray_TYPE(array)
    return kind == cnp.NPY_INT64 or kind == cnp.NPY_INT32


cdef Py_ssize_t _fall(const integer* rows, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t i, j, last
    cdef int falls
    for i in range(1, size, 256):  # so many at once, without a branch
        last = min(i + 256, size)
        falls = 0
        for j in range(i, last):
            falls |= rows[j] <= rows[j - 1]
        if falls:
            for j in range(i, last):
                if rows[j] <= rows[j - 1]:
                    return j
    return -1


cdef Py_ssize_t _misplaced(const integer* rows, Py_ssize_t size, Py_ssize_t num_rows) noexcept nogil:
    if size > 0 and rows[0] < 0:
        return 0
    if size > 0 and rows[size - 1] >= num_rows:
        return size - 1
    return _fall(rows, size)


def misplaced(cnp.ndarray rows not None, Py_ssize_t num_rows):
    """Return a place of contiguous `rows`, int32 or int64, that are not ascending inside a table, or -1 if they are.

    It is where the first or the last one is outside, or else the first one that is not above the one before.

    Examples
    --------
    >>> import numpy as np
    >>> misplaced(np.array([1, 3, 3]), 4), misplaced(np.array([1, 3]), 4), misplaced(np.array([1, 3]), 3)
    (2, -1, 1)
    """
    if not (cnp.PyArray_NDIM(rows) == 1 and cnp.PyArray_ISCARRAY_RO(rows) and _index(rows)):
        raise TypeError("rows must be contiguous int32 or int64 of one dimension")
    if cnp.PyArray_TYPE(rows) == cnp.NPY_INT64:
        return _misplaced(<const cnp.int64_t*> cnp.PyArray_DATA(rows), cnp.PyArray_DIM(rows, 0), num_rows)
    return _misplaced(<const cnp.int32_t*> cnp.PyArray_DATA(rows), cnp.PyArray_DIM(rows, 0), num_rows)


cdef Py_ssize_t _outside(
    const integer* indices, Py_ssize_t size, cnp.uint64_t num_rows, cnp.int64_t left_out
) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(size):
        if <cnp.uint64_t> <cnp.int64_t> indices[i] >= num_rows and (indices[i] != left_out or left_out < NO_ROW):
            return i
    return -1


def outside(cnp.ndarray indices not None, Py_ssize_t num_rows, cnp.int64_t left_out):
    """Return the first place of contiguous `indices`, int32 or int64, with a number neither in the table nor left out.

    `left_out` is at least -1, or -2 for none.

    Examples
    --------
    >>> import numpy as np
    >>> outside(np.array([0, -1, 3]), 3, -1), outside(np.array([0, 2]), 3, -2)
    (2, -1)
    """
    if not (cnp.PyArray_NDIM(indices) == 1 and cnp.PyArray_ISCARRAY_RO(indices) and _index(indices)):
        raise TypeError("indices must be contiguous int32 or int64 of one dimension")
    cdef Py_ssize_t size = cnp.PyArray_DIM(indices, 0)
    if cnp.PyArray_TYPE(indices) == cnp.NPY_INT64:
        return _outside(<const cnp.int64_t*> cnp.PyArray_DATA(indices), size, num_rows, left_out)
    return _outside(<const cnp.int32_t*> cnp.PyArray_DATA(indices), size, num_rows, left_out)


def bad_bag(cnp.ndarray offsets not None, Py_ssize_t num_lookups):
    """Return the first bag that ends before it begins or behind the lookups, or -1; `offsets` are contiguous int64.

    Examples
    --------
    >>> import numpy as np
    >>> bad_bag(np.array([0, 2, 1, 3]), 3), bad_bag(np.array([0, 2, 2, 3]), 3)
    (1, -1)
    """
    cdef const cnp.int64_t* starts = _offsets(offsets)
    cdef Py_ssize_t b
    for b in range(cnp.PyArray_DIM(offsets, 0) - 1):
        if starts[b + 1] < starts[b] or starts[b + 1] > num_lookups:
            return b
    return -1


cdef const cnp.int64_t* _offsets(cnp.ndarray offsets) except NULL:
    if not (cnp.PyArray_NDIM(offsets) == 1 and cnp.PyArray_ISCARRAY_RO(offsets)
            and cnp.PyArray_TYPE(offsets) == cnp.NPY_INT64 and cnp.PyArray_DIM(offsets, 0) > 0):
        raise TypeError("offsets must be contiguous int64 of one dimension, at least one")
    return <const cnp.int64_t*> cnp.PyArray_DATA(offsets)


def bags_of_lookups(cnp.ndarray offsets not None):
    """Return the bag of each lookup, int32, of contiguous int64 `offsets`, which do not fall.

    Examples
    --------
    >>> import numpy as np
    >>> bags_of_lookups(np.array([0, 2, 2, 3]))
    array([0, 0, 2], dtype=int32)
    """
    cdef const cnp.int64_t* ends = _offsets(offsets) + 1
    cdef cnp.npy_intp num_bags = cnp.PyArray_DIM(offsets, 0) - 1
    cdef cnp.npy_intp size = ends[num_bags - 1]
    cdef Py_ssize_t b, end, i = 0
    found = array_on_line(1, &size, cnp.NPY_INT32, max(size, 0) * sizeof(cnp.int32_t))
    cdef cnp.int32_t* bag = <cnp.int32_t*> cnp.PyArray_DATA(found)
    for b in range(num_bags):
        end = min(ends[b], size)  # whatever the offsets, nothing is written beside the array
        while i < end:
            bag[i] = <cnp.int32_t> b
            i += 1
    return found


def parts_of(cnp.ndarray starts not None, Py_ssize_t num_rows, Py_ssize_t num_parts, Py_ssize_t row_cost):
    """Return the bounds of parts of the rows that are about as much work each: lookups to sum, and rows to update.

    Parameters
    ----------
    starts : int64 (num_rows + 1,)
        Where the lookups of each row begin.
    num_rows, num_parts : int
    row_cost : int
        What an update of a row costs, in lookups.

    Examples
    --------
    >>> import numpy as np
    >>> parts_of(np.array([0, 90, 91, 92, 93]), 4, num_parts=2, row_cost=2)
    array([0, 1, 4])
    """
    cdef const cnp.int64_t* begin = _offsets(starts)
    cdef cnp.npy_intp size = num_parts + 1
    cdef Py_ssize_t part, low, high, middle
    cdef cnp.int64_t share
    if cnp.PyArray_DIM(starts, 0) != num_rows + 1:
        raise ValueError(f"starts must have one entry more than rows, {num_rows + 1}, got {len(starts)}")
    found = cnp.PyArray_EMPTY(1, &size, cnp.NPY_INT64, 0)
    cdef cnp.int64_t* bounds = <cnp.int64_t*> cnp.PyArray_DATA(found)
    bounds[0], bounds[num_parts] = 0, num_rows
    for part in range(1, num_parts):
        share = (begin[num_rows] + row_cost * num_rows) * part // num_parts
        low, high = 0, num_rows
        while low < high:  # the first row before which there is as much work
            middle = (low + high) // 2
            if begin[middle] + row_cost * middle < share:
                low = middle + 1
            else:
                high = middle
        bounds[part] = low
    return found
