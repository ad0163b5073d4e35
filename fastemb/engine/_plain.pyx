"""Lookups, bags and updates on plain arrays, from call to kernel in about a microsecond.

Anything out of the ordinary (another type, dtype or layout, a bad index) gives None: the usual way then does it, and
says what is wrong.
"""

cimport numpy as cnp
from libc.string cimport memcpy

from fastemb.engine._indices import misplaced, parts_of
from fastemb.engine._memory cimport array_on_line

cnp.import_array()

# Bytes of rows that one thread reads as fast as several, which have to be started: of a table that a cache holds, or not.
cdef Py_ssize_t MOST_CACHED = 256 << 10
cdef Py_ssize_t MOST = 128 << 10
cdef Py_ssize_t CACHE = 16 << 20
cdef Py_ssize_t LARGE = 1 << 16  # bytes of a result that begins on a cache line
NO_PADDING = -2  # of kernels
cdef Py_ssize_t SERIAL_CACHED = 2 << 20  # bytes that one thread reads and writes as fast as several,
cdef Py_ssize_t SERIAL = 256 << 10  # of a table that a cache holds, or not
cdef Py_ssize_t BLOCK_ROWS = 64  # whose gradients are summed at a time,
cdef Py_ssize_t BLOCK_BYTES = 1 << 15  # and what these may take


cdef bint _plain(array, int dimensions):
    """Whether an array is exactly NumPy's own, contiguous, aligned and writable (kernels are compiled for these)."""
    return (
        cnp.PyArray_CheckExact(array)
        and cnp.PyArray_NDIM(array) == dimensions
        and cnp.PyArray_ISCARRAY(array)
    )


cdef bint _indices(array, int dimensions):
    cdef int kind
    if not _plain(array, dimensions):
        return False
    kind = cnp.PyArray_TYPE(array)
    return kind == cnp.NPY_INT64 or kind == cnp.NPY_INT32


cdef bint _table(weight):
    cdef int kind
    if not _plain(weight, 2):
        return False
    kind = cnp.PyArray_TYPE(weight)
    return kind == cnp.NPY_FLOAT32 or kind == cnp.NPY_FLOAT64


cdef bint _apart(first, second):
    """Whether two contiguous arrays share no memory."""
    cdef char* a = cnp.PyArray_BYTES(first)
    cdef char* b = cnp.PyArray_BYTES(second)
    return a + cnp.PyArray_NBYTES(first) <= b or b + cnp.PyArray_NBYTES(second) <= a


cdef object _rows(cnp.npy_intp* shape, int kind, Py_ssize_t itemsize):
    """Return what `memory.empty_rows` returns."""
    cdef cnp.npy_intp size = shape[0] * shape[1] * itemsize
    return cnp.PyArray_EMPTY(2, shape, kind, 0) if size < LARGE else array_on_line(2, shape, kind, size)


cdef object _target(out, weight, cnp.npy_intp num_rows):
    """Return what `num_rows` results are written to: `out` if it is plain and fits, a new array if it is None."""
    cdef cnp.npy_intp shape[2]
    shape[0], shape[1] = num_rows, cnp.PyArray_DIM(weight, 1)
    if out is None:
        return _rows(shape, cnp.PyArray_TYPE(weight), cnp.PyArray_ITEMSIZE(weight))
    fits = (
        _plain(out, 2)
        and cnp.PyArray_TYPE(out) == cnp.PyArray_TYPE(weight)
        and cnp.PyArray_DIM(out, 0) == shape[0]
        and cnp.PyArray_DIM(out, 1) == shape[1]
        and _apart(out, weight)
    )
    return out if fits else None


cdef bint _done(launch, module, name, tuple arguments, weight, Py_ssize_t num_rows, Py_ssize_t size):
    """Run a kernel over ``[0, size)``, in one thread or by `launch`, and return whether all was well.

    What it costs is told by `num_rows` that it reads or writes.
    """
    cdef Py_ssize_t cost = num_rows * cnp.PyArray_DIM(weight, 1) * cnp.PyArray_ITEMSIZE(weight)
    if cost <= (MOST_CACHED if cnp.PyArray_NBYTES(weight) <= CACHE else MOST):
        return getattr(module, name)(*arguments, 0, size) == -1
    return launch(module, name, arguments, size, cost) == -1


def lookup(launch, module, indices, weight, out):
    """Return the rows of `weight` at `indices` of one dimension, in `out` or a new array; or None."""
    cdef cnp.npy_intp size
    if not (_indices(indices, 1) and _table(weight)):
        return None
    size = cnp.PyArray_DIM(indices, 0)
    target = _target(out, weight, size)
    if target is None:
        return None
    return target if _done(launch, module, "lookup", (target, weight, indices, NO_PADDING), weight, size, size) else None


def reduce(launch, module, indices, weight, offsets, factors, int mode):
    """Return bags of `weight`, reduced, or None.

    `indices` have one dimension, and `offsets` tell where bags begin; or two, and each row is a bag.
    """
    cdef cnp.npy_intp num_lookups, num_bags
    if not (_table(weight) and _indices(indices, 1 if offsets is not None else 2)):
        return None
    num_lookups = cnp.PyArray_SIZE(indices)
    if factors is not None:
        if not (
            _plain(factors, cnp.PyArray_NDIM(indices))
            and cnp.PyArray_TYPE(factors) == cnp.PyArray_TYPE(weight)
            and cnp.PyArray_SAMESHAPE(factors, indices)
        ):
            return None
        factors = cnp.PyArray_Ravel(factors, cnp.NPY_CORDER)
    starts = _starts_of(indices, num_lookups) if offsets is None else _closed(offsets, num_lookups)
    if starts is None:
        return None
    num_bags = cnp.PyArray_DIM(starts, 0) - 1
    target = _target(None, weight, num_bags)
    flat = cnp.PyArray_Ravel(indices, cnp.NPY_CORDER)
    arguments = (target, weight, flat, starts, factors, NO_PADDING, mode)
    # A bag of one row takes twice as long as a row of a long one.
    return target if _done(launch, module, "reduce", arguments, weight, num_lookups + num_bags, num_bags) else None


cdef object _closed(offsets, cnp.int64_t num_lookups):
    """Return plain offsets that begin with 0, and `num_lookups` behind them; or None."""
    cdef cnp.npy_intp num_bags, size
    if not (_plain(offsets, 1) and cnp.PyArray_TYPE(offsets) == cnp.NPY_INT64):
        return None
    num_bags = cnp.PyArray_DIM(offsets, 0)
    if num_bags == 0 or (<cnp.int64_t*> cnp.PyArray_DATA(offsets))[0] != 0:
        return None
    size = num_bags + 1
    starts = cnp.PyArray_EMPTY(1, &size, cnp.NPY_INT64, 0)
    memcpy(cnp.PyArray_DATA(starts), cnp.PyArray_DATA(offsets), num_bags * sizeof(cnp.int64_t))
    (<cnp.int64_t*> cnp.PyArray_DATA(starts))[num_bags] = num_lookups
    return starts


cdef object _starts_of(indices, cnp.int64_t num_lookups):
    """Return where the rows of `indices` begin, and `num_lookups` behind them."""
    cdef cnp.npy_intp size = cnp.PyArray_DIM(indices, 0) + 1
    cdef cnp.npy_intp length = cnp.PyArray_DIM(indices, 1)
    cdef cnp.npy_intp b
    starts = cnp.PyArray_EMPTY(1, &size, cnp.NPY_INT64, 0)
    for b in range(size):
        (<cnp.int64_t*> cnp.PyArray_DATA(starts))[b] = b * length
    return starts


def starts_of(indices, offsets, bint include_last_offset):
    """Return where each bag begins, and the number of lookups behind them, of plain arrays; or None.

    `indices` have one dimension, or two where there are no offsets.
    """
    cdef cnp.npy_intp num_lookups, size
    if not _indices(indices, 2 if offsets is None else 1):
        return None
    num_lookups = cnp.PyArray_SIZE(indices)
    if offsets is None:
        return _starts_of(indices, num_lookups)
    if not include_last_offset:
        return _closed(offsets, num_lookups)
    if not (_plain(offsets, 1) and cnp.PyArray_TYPE(offsets) == cnp.NPY_INT64):
        return None
    size = cnp.PyArray_DIM(offsets, 0)
    ends = <cnp.int64_t*> cnp.PyArray_DATA(offsets)
    return offsets if size > 0 and ends[0] == 0 and ends[size - 1] == num_lookups else None


cpdef bint fits(gradient, weight):
    """Whether what is to be summed for a gradient, and its rows, are plain arrays that fit a plain table."""
    cdef cnp.npy_intp num_rows
    if not _table(weight):  # first: to ask for rows that a GPU has found would wait
        return False
    rows, grad_output, sources, starts = gradient.rows, gradient.grad_output, gradient.sources, gradient.starts
    if not (
        _table(grad_output)
        and _indices(rows, 1)
        and _indices(sources, 1)
        and _plain(starts, 1)
        and gradient.values is None
    ):
        return False
    num_rows, coefficients = cnp.PyArray_DIM(rows, 0), gradient.coefficients
    return (
        cnp.PyArray_TYPE(grad_output) == cnp.PyArray_TYPE(weight)
        and cnp.PyArray_DIM(grad_output, 1) == cnp.PyArray_DIM(weight, 1)
        and cnp.PyArray_TYPE(starts) == cnp.NPY_INT64
        and cnp.PyArray_DIM(starts, 0) == num_rows + 1
        and (coefficients is None or (_plain(coefficients, 1) and cnp.PyArray_SAMESHAPE(coefficients, sources)))
        and misplaced(rows, cnp.PyArray_DIM(weight, 0)) == -1
    )


def step(
    launch, module, weight, cnp.ndarray first, cnp.ndarray second, gradient, hyper, rule, Py_ssize_t num_threads
):
    """Apply a rule to the rows of a gradient; return the kernel's status, or None."""
    cdef cnp.npy_intp num_rows, dim
    cdef cnp.npy_intp shape[3]
    cdef Py_ssize_t row_bytes, row_cost, cost, held
    if not fits(gradient, weight):
        return None
    rows, grad_output, sources, starts = gradient.rows, gradient.grad_output, gradient.sources, gradient.starts
    num_rows, dim = cnp.PyArray_DIM(rows, 0), cnp.PyArray_DIM(weight, 1)
    row_bytes = dim * cnp.PyArray_ITEMSIZE(weight)
    # Rows of weights and state, both ways.
    row_cost = 2 * (1 + (cnp.PyArray_DIM(first, 1) == dim) + (cnp.PyArray_DIM(second, 1) == dim))
    cost = (num_rows * row_cost + cnp.PyArray_DIM(sources, 0)) * row_bytes
    held = cnp.PyArray_NBYTES(weight) + cnp.PyArray_NBYTES(first) + cnp.PyArray_NBYTES(second)
    shape[0] = max(1, min(num_threads, num_rows)) if pays(cost, held) else 1
    shape[1], shape[2] = max(1, min(BLOCK_ROWS, BLOCK_BYTES // max(1, row_bytes))), dim
    bounds = parts_of(starts, num_rows, shape[0], row_cost)
    scratch = cnp.PyArray_EMPTY(3, shape, cnp.PyArray_TYPE(weight), 0)
    lookups = grad_output, sources, starts, gradient.coefficients
    arguments = (weight, first, second, rows, *lookups, hyper, rule, bounds, scratch)
    return module.step(*arguments, 0, 1) if shape[0] == 1 else launch(module, "step", arguments, shape[0], cost)


cpdef bint pays(Py_ssize_t cost, Py_ssize_t held):
    """Whether several threads should update rows: `cost` bytes of a table and state of `held` bytes.

    Of a table that caches hold, each core would have to fetch what the other one has changed.

    Examples
    --------
    >>> pays(1 << 20, held=1 << 20), pays(1 << 20, held=1 << 30)
    (False, True)
    """
    return cost >= (SERIAL_CACHED if held <= CACHE else SERIAL)
