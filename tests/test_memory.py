"""Memory that is kept for the next array: nothing that is alive is given away, and little is kept."""

import gc
import threading
import tracemalloc

import numpy as np
import pytest

from fastemb.engine import _memory
from fastemb.engine.memory import MOST_KEPT as MOST_ZEROED
from fastemb.engine.memory import SERIAL, clear, empty, zeroed

MOST_KEPT, SLOTS = 128 << 20, 16


@pytest.fixture(autouse=True)
def no_collection():
    """Let no garbage of other tests give its memory back in the midst of one of these."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def place(array):
    return array.__array_interface__["data"][0]


def test_memory_of_an_array_that_is_gone_is_taken_again():
    taken = [empty((1000, 1000), np.float32) for _ in range(SLOTS)]  # all blocks of about this size that were kept
    first = empty((1000, 1000), np.float32)
    where = place(first)
    view = first[5:]
    del first
    assert place(empty((1000, 1000), np.float32)) != where  # the view is alive
    del view
    assert place(empty((999, 1000), np.float32)) == where
    del taken


def test_arrays_that_are_alive_share_nothing():
    random = np.random.default_rng(0)
    alive: list = []
    for n in range(300):
        size = int(random.integers(1, 300_000))
        alive.append((n, empty((size,), np.int32)))
        alive[-1][1][:] = n
        if len(alive) > 20:
            number, array = alive.pop(int(random.integers(len(alive))))
            assert (array == number).all()
            assert place(array) % 64 == 0
    assert all((array == number).all() for number, array in alive)


def test_threads_share_nothing():
    wrong = []

    def work(number):
        for _ in range(200):
            array = empty((50_000,), np.int64)
            array[:] = number
            if (array != number).any():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_little_is_kept():
    arrays = [empty((30 << 20,), np.uint8) for _ in range(8)]
    del arrays
    gc.collect()
    assert 0 < _memory.num_bytes_kept() <= MOST_KEPT
    before = _memory.num_bytes_kept()
    empty((2 * MOST_KEPT,), np.uint8)
    assert _memory.num_bytes_kept() == before


def test_tracemalloc_counts_what_is_taken_again():
    empty((1 << 20,), np.uint8)
    tracemalloc.start()
    try:
        array = empty((1 << 20,), np.uint8)
        assert tracemalloc.get_traced_memory()[0] >= array.nbytes
        del array
        assert tracemalloc.get_traced_memory()[0] < 1 << 19
    finally:
        tracemalloc.stop()


def test_copies():
    given = np.arange(12.0).reshape(3, 4)
    copy = _memory.copied(given)
    np.testing.assert_array_equal(copy, given)
    assert not np.shares_memory(copy, given)
    assert copy.flags.writeable
    with pytest.raises(TypeError, match="array must be contiguous"):
        _memory.copied(given[:, 1:])


def test_shapes():
    assert empty((0, 3), np.float64).shape == (0, 3)
    assert empty((), np.float64).shape == ()
    with pytest.raises(ValueError, match="shape must have at most 4 dimensions"):
        _memory.empty((1,) * 5, np.dtype(np.int8))
    with pytest.raises(MemoryError, match="cannot allocate"):
        _memory.empty((1 << 60,), np.dtype(np.int8))


@pytest.mark.parametrize("size", [0, 7, SERIAL // 8, SERIAL // 8 + 3])
def test_what_is_cleared_is_zeros_in_memory_that_was_used(size):
    used = empty((size,), np.float64)
    used.fill(7)
    del used
    assert not zeroed((size,), np.float64).any()
    array = np.full(size + 2, 7.0)
    clear(array[1:-1])
    assert array[0] == array[-1] == 7 and not array[1:-1].any()


def test_what_is_too_large_to_be_kept_is_zeroed_by_the_system():
    assert zeroed((MOST_ZEROED // 8 + 1,), np.float64)[:: 1 << 16].max() == 0
