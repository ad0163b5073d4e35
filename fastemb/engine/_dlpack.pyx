"""DLPack's capsules, taken and given: a pointer, a shape and an owner that travel between packages without a copy.

The structs are those of DLPack 1, with and without a version: https://dmlc.github.io/dlpack/latest/c_api.html
"""

from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from cpython.pycapsule cimport PyCapsule_GetName, PyCapsule_GetPointer, PyCapsule_IsValid, PyCapsule_New, PyCapsule_SetName
from cpython.ref cimport Py_DECREF, Py_INCREF, PyObject
from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t, uintptr_t
from libc.string cimport strcmp

cdef extern from "Python.h":
    bint Py_IsInitialized() nogil


cdef struct Device:
    int32_t kind
    int32_t number


cdef struct DataType:
    uint8_t code
    uint8_t bits
    uint16_t lanes


cdef struct Tensor:
    void* data
    Device device
    int32_t ndim
    DataType dtype
    int64_t* shape
    int64_t* strides
    uint64_t byte_offset


cdef struct Managed:
    Tensor tensor
    void* context
    void (*deleter)(Managed*) noexcept


cdef struct Version:
    uint32_t major
    uint32_t minor


cdef struct Versioned:
    Version version
    void* context
    void (*deleter)(Versioned*) noexcept
    uint64_t flags
    Tensor tensor


cdef const char* NAME = "dltensor"
cdef const char* USED = "used_dltensor"
cdef const char* VERSIONED_NAME = "dltensor_versioned"
cdef const char* VERSIONED_USED = "used_dltensor_versioned"
cdef uint64_t READ_ONLY = 1
VERSION = (1, 0)


cdef class Taken:
    """The tensor of a capsule, which is given back to its owner when this object goes.

    Attributes
    ----------
    device : (int, int)
        Kind and number.
    dtype : (int, int, int)
        Code, bits and lanes.
    shape : tuple of int
    strides : tuple of int, or None
        In elements; None stands for C order.
    address : int
        Of the first element.
    read_only : bool or None
        None where the capsule has no version, and so cannot tell.
    """

    cdef Managed* _managed
    cdef Versioned* _versioned
    cdef readonly object device, dtype, shape, strides, address, read_only

    def __dealloc__(self):
        if self._managed != NULL and self._managed.deleter != NULL:
            self._managed.deleter(self._managed)
        if self._versioned != NULL and self._versioned.deleter != NULL:
            self._versioned.deleter(self._versioned)


def take(capsule):
    """Take over the tensor of a capsule, which no one else can take then.

    Raises
    ------
    TypeError
        If it is no capsule of a tensor, or one that has been taken.
    BufferError
        If it is of another version of DLPack.
    """
    cdef Taken taken = Taken()
    cdef Tensor* tensor
    if PyCapsule_IsValid(capsule, VERSIONED_NAME):
        taken._versioned = <Versioned*>PyCapsule_GetPointer(capsule, VERSIONED_NAME)
        PyCapsule_SetName(capsule, VERSIONED_USED)
        if taken._versioned.version.major != 1:  # what follows it may lie elsewhere
            raise BufferError(f"DLPack must be of version 1, got {taken._versioned.version.major}")
        taken.read_only = bool(taken._versioned.flags & READ_ONLY)
        tensor = &taken._versioned.tensor
    elif PyCapsule_IsValid(capsule, NAME):
        taken._managed = <Managed*>PyCapsule_GetPointer(capsule, NAME)
        PyCapsule_SetName(capsule, USED)
        tensor = &taken._managed.tensor
    else:
        raise TypeError(f"__dlpack__ must give a capsule of a tensor that no one has taken, got {capsule!r}")
    taken.device = tensor.device.kind, tensor.device.number
    taken.dtype = tensor.dtype.code, tensor.dtype.bits, tensor.dtype.lanes
    taken.shape = tuple([tensor.shape[n] for n in range(tensor.ndim)])
    if tensor.strides != NULL:
        taken.strides = tuple([tensor.strides[n] for n in range(tensor.ndim)])
    taken.address = <uintptr_t>tensor.data + tensor.byte_offset
    return taken


def give(owner, uintptr_t address, shape, strides, dtype, device, bint read_only, bint versioned):
    """Return a capsule of a tensor that keeps its owner alive.

    Parameters
    ----------
    owner : object
    address : int
        Of the first element.
    shape, strides : tuple of int
        Strides in elements.
    dtype : (int, int)
        Code and bits.
    device : (int, int)
        Kind and number.
    read_only, versioned : bool

    Raises
    ------
    BufferError
        If it is read-only, which a capsule without a version cannot tell.
    """
    cdef Versioned* made
    cdef Managed* old
    if versioned:
        made = <Versioned*>_memory(sizeof(Versioned), len(shape))
        made.version.major, made.version.minor = VERSION
        made.flags = READ_ONLY if read_only else 0
        made.deleter = &_delete_versioned
        made.context = <void*>owner
        _fill(&made.tensor, <int64_t*>(made + 1), address, shape, strides, dtype, device)
        Py_INCREF(owner)
        return PyCapsule_New(made, VERSIONED_NAME, &_end)
    if read_only:
        raise BufferError("a read-only array needs DLPack 1 or later: ask with max_version=(1, 0)")
    old = <Managed*>_memory(sizeof(Managed), len(shape))
    old.deleter = &_delete
    old.context = <void*>owner
    _fill(&old.tensor, <int64_t*>(old + 1), address, shape, strides, dtype, device)
    Py_INCREF(owner)
    return PyCapsule_New(old, NAME, &_end)


cdef void* _memory(size_t size, size_t ndim) except NULL:
    """Memory for a struct with the shape and the strides behind it."""
    cdef void* memory = PyMem_RawMalloc(size + 2 * ndim * sizeof(int64_t))
    if memory == NULL:
        raise MemoryError
    return memory


cdef void _fill(Tensor* tensor, int64_t* behind, uintptr_t address, tuple shape, tuple strides, tuple dtype, tuple device):
    cdef int32_t n, ndim = <int32_t>len(shape)
    tensor.data, tensor.byte_offset = <void*>address, 0
    tensor.device.kind, tensor.device.number = device
    tensor.dtype.code, tensor.dtype.bits = dtype
    tensor.dtype.lanes = 1
    tensor.ndim, tensor.shape, tensor.strides = ndim, behind, behind + ndim
    for n in range(ndim):
        tensor.shape[n] = shape[n]
        tensor.strides[n] = strides[n]


cdef void _release(void* owner) noexcept nogil:
    # A package may keep tensors beyond the interpreter, or let them go in a thread without its lock.
    if Py_IsInitialized():
        with gil:
            Py_DECREF(<object>owner)


cdef void _delete(Managed* managed) noexcept nogil:
    _release(managed.context)
    PyMem_RawFree(managed)


cdef void _delete_versioned(Versioned* managed) noexcept nogil:
    _release(managed.context)
    PyMem_RawFree(managed)


cdef void _end(object capsule) noexcept:
    """Free the tensor of a capsule that no one has taken."""
    cdef const char* name = PyCapsule_GetName(capsule)
    cdef Managed* old
    cdef Versioned* made
    if strcmp(name, NAME) == 0:
        old = <Managed*>PyCapsule_GetPointer(capsule, name)
        old.deleter(old)
    elif strcmp(name, VERSIONED_NAME) == 0:
        made = <Versioned*>PyCapsule_GetPointer(capsule, name)
        made.deleter(made)
