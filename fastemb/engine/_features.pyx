"""Columns of a batch as the numbers that kernels take features by, in a tenth of a microsecond each.

Anything out of the ordinary (another type, dtype or layout) gives None: the usual way then does it, and says what is
wrong.
"""

cimport numpy as cnp

cnp.import_array()


cdef bint _plain(array, int dimensions):
    """Whether an array is exactly NumPy's own, contiguous and aligned."""
    return (
        cnp.PyArray_CheckExact(array)
        and cnp.PyArray_NDIM(array) == dimensions
        and cnp.PyArray_ISCARRAY_RO(array)
        and cnp.PyArray_ISNOTSWAPPED(array)
    )


def columns(dict batch, list names, features):
    """Return the features with the addresses of a batch's columns; or None.

    Parameters
    ----------
    batch : dict
        Columns are plain arrays of int32 or of int64, of one or two dimensions, or tuples of an array and its offsets.
    names : list of str
    features : int64 (num_features, 6)
        As `kernels.reference.features` has them; the first three columns are filled in a copy.

    Returns
    -------
    features : int64 (num_features, 6)
    first : array
        The indices of the first feature.
    num_bags : int
    num_lookups : int
        Of all features.
    kept : list
        The arrays, which must outlive the use of `features`.
    """
    cdef cnp.int64_t[:, ::1] told
    cdef Py_ssize_t n, size, bags, num_bags = -1, num_lookups = 0
    cdef int kind = -1
    cdef cnp.int64_t* bounds
    cdef list kept = []
    cdef dict known = {}
    filled = features.copy()
    told = filled
    for n in range(len(names)):
        column = batch.get(names[n])
        if type(column) is tuple:
            if len(<tuple> column) != 2:
                return None
            values, offsets = <tuple> column
            if not (_plain(values, 1) and _plain(offsets, 1) and cnp.PyArray_TYPE(offsets) == cnp.NPY_INT64):
                return None
            bags = cnp.PyArray_DIM(offsets, 0) - 1
            bounds = <cnp.int64_t*> cnp.PyArray_DATA(offsets)
            if bags < 0 or bounds[0] != 0 or bounds[bags] != cnp.PyArray_DIM(values, 0):
                return None
        elif _plain(column, 1) or _plain(column, 2):
            values, bags = column, cnp.PyArray_DIM(column, 0)
            size = 1 if cnp.PyArray_NDIM(column) == 1 else cnp.PyArray_DIM(column, 1)
            if size == 0 or (num_bags >= 0 and bags != num_bags):
                return None
            offsets = known.get(size)
            if offsets is None:
                offsets = cnp.PyArray_Arange(0, bags * size + 1, size, cnp.NPY_INT64)
                known[size] = offsets
        else:
            return None
        if kind == -1:
            kind, num_bags = cnp.PyArray_TYPE(values), bags
        if cnp.PyArray_TYPE(values) != kind or bags != num_bags or kind not in (cnp.NPY_INT64, cnp.NPY_INT32):
            return None
        size = cnp.PyArray_SIZE(values)
        told[n, 0], told[n, 1] = <cnp.int64_t> cnp.PyArray_DATA(values), size
        told[n, 2] = <cnp.int64_t> cnp.PyArray_DATA(offsets)
        num_lookups += size
        kept += (values, offsets)
    return filled, kept[0], num_bags, num_lookups, kept
