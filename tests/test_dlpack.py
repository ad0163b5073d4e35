"""Capsules of DLPack: taken once, given back once, whoever made them, and errors that name the argument."""

import ctypes
import datetime
import gc
import sys
import weakref

import numpy as np
import pytest

from fastemb.engine import _dlpack, dlpack

VERSIONS = {False: None, True: (1, 0)}


class Owner(np.ndarray):
    """An array that a weak reference can follow."""


def owned(values):
    array = np.array(values).view(Owner)
    return array, weakref.ref(array)


def capsule_of(array, versioned=True):
    return dlpack.Given(array).__dlpack__(max_version=VERSIONS[versioned])


class Capsule:
    """Something that hands out one capsule."""

    def __init__(self, capsule, place=(1, 0)):
        self.capsule, self.place = capsule, place

    def __dlpack_device__(self):
        return self.place

    def __dlpack__(self, **options):
        return self.capsule


@pytest.mark.parametrize("versioned", [False, True])
def test_a_capsule_is_taken_once_and_given_back_once(versioned):
    array, follow = owned([1.0, 2.0, 3.0])
    capsule = capsule_of(array, versioned)
    before = sys.getrefcount(array)
    taken = _dlpack.take(capsule)
    assert "used_dltensor" in repr(capsule)
    assert taken.shape == (3,) and taken.strides == (1,) and taken.dtype == (2, 64, 1) and taken.device == (1, 0)
    assert taken.read_only is (False if versioned else None)
    with pytest.raises(TypeError, match="a capsule of a tensor that no one has taken, got <capsule"):
        _dlpack.take(capsule)
    del capsule  # a capsule that was taken frees nothing
    assert sys.getrefcount(array) == before
    del taken
    assert sys.getrefcount(array) == before - 1
    del array
    gc.collect()
    assert follow() is None


@pytest.mark.parametrize("versioned", [False, True])
def test_a_capsule_that_no_one_takes_frees_its_array(versioned):
    array, follow = owned([1, 2])
    capsule = capsule_of(array, versioned)
    del array
    gc.collect()
    assert follow() is not None
    del capsule
    gc.collect()
    assert follow() is None


@pytest.mark.parametrize("wrong", [None, 3, "dltensor", datetime.datetime_CAPI])
def test_what_is_no_capsule_of_a_tensor(wrong):
    with pytest.raises(TypeError, match="a capsule of a tensor"):
        _dlpack.take(wrong)


class Tensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p), ("kind", ctypes.c_int32), ("number", ctypes.c_int32), ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]  # fmt: skip


DELETER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Managed(ctypes.Structure):
    _fields_ = [("tensor", Tensor), ("context", ctypes.c_void_p), ("deleter", DELETER)]


class Versioned(ctypes.Structure):
    _fields_ = [
        ("major", ctypes.c_uint32), ("minor", ctypes.c_uint32), ("context", ctypes.c_void_p), ("deleter", DELETER),
        ("flags", ctypes.c_uint64), ("tensor", Tensor),
    ]  # fmt: skip


def foreign(kind, deleted, deleter=True, **fields):
    """A capsule made by the C interface of Python, of two float32 in rows of 2, 8 bytes behind where data points."""
    kept = (ctypes.c_float * 4)(9, 9, 1, 2), (ctypes.c_int64 * 1)(2)
    tensor = Tensor(ctypes.addressof(kept[0]), 1, 0, 1, 2, 32, 1, kept[1], None, 8)
    free = DELETER(lambda pointer: deleted.append(pointer)) if deleter else DELETER()
    managed = kind(tensor=tensor, deleter=free, **fields)
    name = b"dltensor_versioned" if kind is Versioned else b"dltensor"
    new = ctypes.pythonapi.PyCapsule_New
    new.restype, new.argtypes = ctypes.py_object, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
    return new(ctypes.addressof(managed), name, None), (managed, kept, free, name)


@pytest.mark.parametrize(("kind", "fields"), [(Managed, {}), (Versioned, {"major": 1, "minor": 3, "flags": 1})])
def test_a_deleter_of_another_program_is_called_once(kind, fields):
    deleted = []
    capsule, kept = foreign(kind, deleted, **fields)
    array = dlpack.host_array(Capsule(capsule), "input")
    assert array.tolist() == [1.0, 2.0] and not array.flags.writeable
    part = array[1:]
    del array, capsule
    gc.collect()
    assert deleted == [] and part[0] == 2
    del part
    gc.collect()
    assert deleted == [ctypes.addressof(kept[0])]


def test_a_deleter_may_be_missing():
    capsule, _ = foreign(Managed, [], deleter=False)
    assert dlpack.host_array(Capsule(capsule), "input").tolist() == [1.0, 2.0]


def test_another_version_is_refused_and_given_back():
    deleted = []
    capsule, _kept = foreign(Versioned, deleted, major=2)
    with pytest.raises(TypeError, match=r"^weight, of Capsule, cannot be shared: DLPack must be of version 1, got 2$"):
        dlpack.borrow(Capsule(capsule), "weight")
    gc.collect()
    assert len(deleted) == 1


DTYPES = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float16", "float32", "float64",
          "bool", "complex64"]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
def test_arrays_go_to_numpy_and_come_back(dtype):
    values = np.arange(12).reshape(3, 4).astype(dtype)
    for array in (values, values.T, values[::2, 1:], values[:, ::-1], values[:0], values[1, 1:2].reshape(())):
        there = np.from_dlpack(dlpack.Given(array))
        assert there.dtype == array.dtype and there.flags.writeable and np.array_equal(there, array)
        back = dlpack.host_array(dlpack.Given(array), "input")
        assert back.dtype == array.dtype and back.flags.writeable and np.array_equal(back, array)
        if array.size:
            assert np.shares_memory(back, array) and back.strides == array.strides


def test_what_is_read_only_stays_so():
    values = np.arange(3.0)
    values.flags.writeable = False
    assert not dlpack.host_array(dlpack.Given(values), "weight").flags.writeable
    assert not np.from_dlpack(dlpack.Given(values)).flags.writeable
    with pytest.raises(BufferError, match=r"a read-only array needs DLPack 1 or later: ask with max_version=\(1, 0\)"):
        dlpack.Given(values).__dlpack__()
    values.flags.writeable = True
    old = capsule_of(values, versioned=False)  # cannot tell whether it may be written to
    assert not dlpack.host_array(Capsule(old), "weight").flags.writeable


def test_no_copy_is_given_and_no_other_device():
    given = dlpack.Given(np.zeros(2))
    for options in ({"copy": True}, {"dl_device": (2, 0)}):
        with pytest.raises(BufferError, match="not as a copy, and on no other device"):
            given.__dlpack__(**options)
    assert given.__dlpack_device__() == (1, 0) and given.__dlpack__(copy=False, dl_device=(1, 0))


@pytest.mark.parametrize("dtype", [(5, 64, 2), (2, 8, 1), (7, 8, 1), (2, 128, 4)])
def test_dtypes_that_numpy_lacks(dtype):
    class Taken:
        pass

    Taken.dtype = dtype
    with pytest.raises(TypeError, match=rf"weight must be of a dtype that NumPy has, got DLPack's code {dtype[0]} of"):
        dlpack.typed(Taken, "weight")


def test_a_package_from_before_dlpack_1():
    class Old:
        def __dlpack_device__(self):
            return 1, 0

        def __dlpack__(self, stream=None):
            return capsule_of(np.arange(3), versioned=False)

    assert dlpack.host_array(Old(), "input").tolist() == [0, 1, 2]


def test_bfloat16_without_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)

    class Taken:
        dtype = 4, 16, 1

    with pytest.raises(TypeError, match="weight is bfloat16, which needs the package ml_dtypes"):
        dlpack.typed(Taken, "weight")


def test_tensors_of_torch():
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    tensor = torch.arange(12.0).reshape(3, 4)
    array = dlpack.host_array(tensor.T, "weight")
    assert array.shape == (4, 3) and array.flags.writeable
    array[1, 2] = 100
    assert tensor[2, 1] == 100
    del tensor
    gc.collect()
    assert array[1].tolist() == [1, 5, 100]
    short = torch.arange(3).to(torch.bfloat16)
    held = dlpack.host_array(short, "weight")
    assert held.dtype.name == "bfloat16" and held.astype(float).tolist() == [0, 1, 2]
    assert torch.equal(torch.from_dlpack(dlpack.Given(held)), short)
    assert torch.from_dlpack(dlpack.Given(np.zeros((2, 3), np.float32))).shape == (2, 3)
    with pytest.raises(TypeError, match=r"^weight, of Tensor, cannot be shared: .*grad"):
        dlpack.host_array(torch.zeros(2, requires_grad=True), "weight")
    assert dlpack.has_dlpack(short) and not dlpack.has_dlpack(np.zeros(2)) and not dlpack.has_dlpack("text")
