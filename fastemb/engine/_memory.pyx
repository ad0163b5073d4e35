"""Memory for arrays that begin on a cache line, kept for the next one when an array is gone.

The system gives fresh memory page by page, and clears each page: for a result of some megabytes that takes as long as to
compute it. A training loop makes the same few arrays over and over, so a few blocks are kept.
"""

cimport numpy as cnp
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from cpython.ref cimport Py_INCREF
from libc.stdint cimport uintptr_t
from libc.string cimport memcpy, memmove

cnp.import_array()

cdef extern from *:
    """
    #if defined(__linux__)
    #include <sys/mman.h>
    #define PAGE ((uintptr_t) 4096)
    static void ask_for_large_pages(char *start, Py_ssize_t size)
    {
        uintptr_t first = ((uintptr_t) start + PAGE - 1) & ~(PAGE - 1), end = ((uintptr_t) start + size) & ~(PAGE - 1);
        if (end > first) madvise((void *) first, end - first, MADV_HUGEPAGE);
    }
    #else
    static void ask_for_large_pages(char *start, Py_ssize_t size) { (void) start; (void) size; }
    #endif
    """
    void ask_for_large_pages(char* start, Py_ssize_t size) noexcept

cdef extern from "Python.h":
    int PyTraceMalloc_Track(unsigned int domain, uintptr_t place, size_t size) noexcept
    int PyTraceMalloc_Untrack(unsigned int domain, uintptr_t place) noexcept

cdef enum:
    SLOTS = 16
cdef Py_ssize_t LINE = 64
cdef Py_ssize_t MOST_KEPT = 128 << 20  # bytes that are kept
cdef Py_ssize_t SMALL = 1 << 16  # bytes of a block that the C library makes in no time
cdef Py_ssize_t MOST = 1 << 62
cdef Py_ssize_t LARGE_PAGES = 4 << 20  # bytes from which large pages pay, as NumPy has it
cdef unsigned int DOMAIN = 389047  # NumPy's, under which tracemalloc counts arrays

cdef struct Kept:
    void* memory
    Py_ssize_t size

cdef Kept kept[SLOTS]  # the oldest first
cdef int num_kept = 0
cdef Py_ssize_t bytes_kept = 0


cdef class Block:
    """Memory that an array lies in: what it is given to when the last array that shows it is gone."""

    cdef void* memory
    cdef Py_ssize_t size

    def __dealloc__(self):
        if self.memory != NULL:
            PyTraceMalloc_Untrack(DOMAIN, <uintptr_t> self.memory)
            _keep(self.memory, self.size)


cdef Kept _drop(int place) noexcept:
    """Take a block from those that are kept."""
    global num_kept, bytes_kept
    cdef Kept found = kept[place]
    num_kept -= 1
    bytes_kept -= found.size
    memmove(&kept[place], &kept[place + 1], (num_kept - place) * sizeof(Kept))
    return found


cdef void _keep(void* memory, Py_ssize_t size) noexcept:
    global num_kept, bytes_kept
    if size < SMALL or size > MOST_KEPT:
        PyMem_RawFree(memory)
        return
    while num_kept == SLOTS or bytes_kept + size > MOST_KEPT:
        PyMem_RawFree(_drop(0).memory)
    kept[num_kept].memory, kept[num_kept].size = memory, size
    num_kept += 1
    bytes_kept += size


cdef Py_ssize_t _rounded(Py_ssize_t size) noexcept:
    """Return a little more, so that arrays of about one size fit into each other's memory."""
    cdef Py_ssize_t step = LINE
    while step * 16 < size:
        step *= 2
    return (size + step - 1) // step * step


cdef Block _block(Py_ssize_t size):
    cdef Block block = Block.__new__(Block)
    cdef Kept found
    cdef int n, best = -1
    size = _rounded(size)
    for n in range(num_kept - 1 if size >= SMALL else -1, -1, -1):  # the newest are most likely in a cache
        if size <= kept[n].size <= size + size // 2 and (best == -1 or kept[n].size < kept[best].size):
            best = n
    if best != -1:
        found = _drop(best)
        block.memory, block.size = found.memory, found.size
    else:
        block.memory, block.size = PyMem_RawMalloc(size), size
        if block.memory == NULL:
            raise MemoryError(f"cannot allocate {size} bytes")
        if size >= LARGE_PAGES:
            ask_for_large_pages(<char*> block.memory, size)
    PyTraceMalloc_Track(DOMAIN, <uintptr_t> block.memory, size)
    return block


cdef object array_on_line(int dimensions, cnp.npy_intp* shape, int kind, cnp.npy_intp size):
    """Return an array of `size` bytes that begins on a cache line, its numbers not set."""
    cdef Block block = _block(size + LINE)
    cdef char* start = <char*> block.memory
    start += (LINE - <uintptr_t> start % LINE) % LINE
    array = cnp.PyArray_SimpleNewFromData(dimensions, shape, kind, start)
    Py_INCREF(block)
    cnp.PyArray_SetBaseObject(array, block)
    return array


def empty(tuple shape, cnp.dtype dtype not None):
    """Return an array of a native dtype that begins on a cache line, its numbers not set.

    Examples
    --------
    >>> import numpy as np
    >>> empty((3, 5), np.dtype(np.float32)).ctypes.data % 64
    0
    """
    cdef cnp.npy_intp sizes[4]
    cdef cnp.npy_intp size = dtype.itemsize
    cdef int n
    if len(shape) > 4:
        raise ValueError(f"shape must have at most 4 dimensions, got {shape}")
    for n in range(len(shape)):
        sizes[n] = shape[n]
        if sizes[n] < 0 or (sizes[n] > 0 and size > MOST // sizes[n]):
            raise MemoryError(f"cannot allocate an array of shape {shape}")
        size *= sizes[n]
    return array_on_line(len(shape), sizes, dtype.num, size)


def num_bytes_kept():
    """Return how many bytes are kept for arrays to come, at most 128 MiB."""
    return bytes_kept


def copied(cnp.ndarray array not None):
    """Return a copy of a contiguous array of a native dtype.

    Examples
    --------
    >>> import numpy as np
    >>> copied(np.arange(3))
    array([0, 1, 2])
    """
    if not cnp.PyArray_ISCARRAY_RO(array):
        raise TypeError("array must be contiguous")
    copy = array_on_line(
        cnp.PyArray_NDIM(array), cnp.PyArray_DIMS(array), cnp.PyArray_TYPE(array), cnp.PyArray_NBYTES(array)
    )
    memcpy(cnp.PyArray_DATA(copy), cnp.PyArray_DATA(array), cnp.PyArray_NBYTES(array))
    return copy
