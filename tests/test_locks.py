"""A lock that a forked child finds open, also when several of its threads come to it first."""

import threading
import time

import pytest

from fastemb.engine import locks
from fastemb.engine.locks import ForkedLock


def test_threads_of_a_child_take_one_lock(monkeypatch):
    lock = ForkedLock()
    lock.__enter__()  # by a thread of the parent, which never gives it back here
    make, inside, most = threading.RLock, [0], [0]

    def make_slowly():
        time.sleep(0.05)
        return make()

    monkeypatch.setattr(threading, "RLock", make_slowly)
    locks._in_child()

    def work():
        with lock:
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            time.sleep(0.1)
            inside[0] -= 1

    threads = [threading.Thread(target=work, daemon=True) for _ in range(4)]
    for thread in threads:
        thread.start()
        time.sleep(0.01)
    for thread in threads:
        thread.join(100)
    assert not any(thread.is_alive() for thread in threads)
    assert most == [1]


def test_a_lock_that_was_held_at_the_fork_is_let_go_in_the_child():
    lock = ForkedLock()
    with pytest.raises(KeyError), lock:
        locks._in_child()
        raise KeyError
    with lock, lock:
        pass
