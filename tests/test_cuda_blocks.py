"""Memory of a GPU that is used again, by the stream that had it and by no other."""

import gc

import numpy as np
import pytest

from fastemb import EmbeddingBag, functional, optim
from fastemb.engine import blocks, device, launch, streams
from fastemb.engine.foreign import wrap

pytest.importorskip("numba.cuda", reason="Numba has no CUDA target and no simulator")
pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def nothing_kept():
    """Forget what is kept; and let no garbage of other tests give its memory back in the midst of one of these."""
    gc.collect()
    gc.disable()
    blocks.forget()
    yield
    blocks.forget()
    gc.enable()


def test_memory_is_used_again_once_no_array_has_it():
    array = device.upload(np.arange(100.0))
    address, rows = array.pointer, array.rows(slice(2, 4))
    del array
    assert device.empty((100,), np.float64).pointer != address  # the rows have it
    assert rows.to_host().tolist() == [2, 3]
    del rows
    again = device.empty((50, 4), np.float32)  # of about the size
    assert again.pointer == address
    other = device.empty((1000,), np.float64)
    assert other.pointer != address and other.size == 1000


def test_another_stream_does_not_get_it(monkeypatch):
    array = device.empty((10,), np.float32)
    address = array.pointer
    del array
    monkeypatch.setattr(blocks, "number_of", lambda stream: 7)
    assert device.empty((10,), np.float32).pointer != address
    monkeypatch.setattr(blocks, "number_of", streams.number_of)
    assert device.empty((10,), np.float32).pointer == address


def test_what_a_kernel_of_another_stream_reads_is_not_used_again(monkeypatch):
    table, other = device.upload(np.eye(3)), device.upload(np.eye(3))
    functional.embedding(np.array([1]), other)
    assert not other.block.is_lent
    monkeypatch.setattr(launch, "number_of", lambda stream: 7)
    functional.embedding(np.array([1]), table)
    assert table.block.is_lent


@pytest.mark.parametrize("how", ["interface", "capsule"])
def test_what_other_packages_have_had_is_not_used_again(how):
    array = device.empty((10,), np.float32)
    if how == "interface":
        wrap(type("Foreign", (), {"__cuda_array_interface__": array.__cuda_array_interface__})())
    else:
        array.view(np.int32).__dlpack__(stream=99 if not streams.is_simulated() else -1)
    block = array.block
    assert block.is_lent
    del array, block
    assert not blocks._kept


def test_a_taker_in_the_same_stream_leaves_it_for_use():
    array = device.empty((10,), np.float32)
    capsule = array.__dlpack__(stream=streams.number_of(streams.current_stream()))
    assert not array.block.is_lent
    del array
    assert not blocks._kept  # the capsule has it
    del capsule
    assert sum(map(len, blocks._kept.values())) == 1


def test_so_much_is_kept_and_no_more(monkeypatch):
    monkeypatch.setattr(blocks, "MOST_KEPT", 3 * blocks.SMALL)
    arrays = [device.empty((blocks.SMALL,), np.uint8) for _ in range(5)]
    del arrays
    assert sum(map(len, blocks._kept.values())) == 3
    assert device.empty((0, 3), np.float32).block is None


def test_what_is_kept_makes_room_when_memory_runs_out(monkeypatch):
    kept = device.empty((10,), np.float32)
    del kept
    made, calls = streams.cuda().device_array, []

    class Driver:
        def device_array(self, shape, *arguments, **options):
            calls.append(shape)
            if len(calls) == 1:
                raise MemoryError("CUDA_ERROR_OUT_OF_MEMORY")
            return made(shape, *arguments, **options)

    monkeypatch.setattr(blocks, "cuda", Driver)
    assert blocks._bytes > 0
    array = device.zeros((5000,), np.float32)
    assert array.size == 5000
    assert len(calls) == 2 and blocks._bytes == 0


@pytest.mark.parametrize("mode", ["mean", "max"])
def test_nothing_is_read_before_it_is_written(mode, monkeypatch):
    def full_of_nan(size):
        block = blocks.block_of(size)
        block.made.copy_to_device(np.full(block.made.shape, 255, np.uint8))
        return block

    results = []
    for where in ("cpu", "cuda"):
        layer = EmbeddingBag(5, 4, mode=mode, padding_idx=0, optimizer=optim.Adam(lr=0.1), seed=1, device=where)
        for ids in ([[1, 2, 2], [0, 0, 0]], [[4, 4, 1], [2, 0, 3]]):
            results.append(layer(ids))
            layer.backward(np.linspace(-1, 1, 8).reshape(2, 4))
        results.append(np.asarray(layer.weight))
        monkeypatch.setattr(device, "block_of", full_of_nan)
    for expected, found in zip(results[:3], results[3:], strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
