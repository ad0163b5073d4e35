"""Where tables lie, copies of layers, threads and processes."""

import copy
import gc
import multiprocessing
import operator
import os
import pickle
import threading
from multiprocessing.shared_memory import SharedMemory

import numpy as np
import pytest

from fastemb import Embedding, EmbeddingBag, optim
from fastemb.bench.layers.memory import _growth
from fastemb.engine import row_gradient
from fastemb.engine.locks import ForkedLock
from fastemb.optim import states

V, D = 30, 4


def stepped(layer, rows=(1, 2)):
    layer(list(rows))
    layer.backward(np.ones((len(rows), D)))
    return layer


def test_a_file_is_made_and_found_again(tmp_path):
    path = tmp_path / "table.npy"
    layer = stepped(Embedding(V, D, padding_idx=0, storage=path, seed=0, optimizer=optim.SGD(lr=1.0)))
    expected = Embedding(V, D, padding_idx=0, seed=0).weight
    expected[1:3] -= 1
    np.testing.assert_array_equal(layer.weight, expected)
    assert isinstance(layer.weight, np.memmap)
    again = Embedding(V, D, storage=str(path), seed=1)
    np.testing.assert_array_equal(again.weight, expected)
    np.testing.assert_array_equal(np.load(path), expected)
    assert [file.name for file in tmp_path.iterdir()] == ["table.npy"]


def test_a_file_is_mapped_for_reading_where_it_is_frozen(tmp_path):
    path = tmp_path / "table.npy"
    np.save(path, np.arange(8.0).reshape(4, 2))
    layer = EmbeddingBag.from_pretrained(path, mode="sum")
    assert layer([[1, 3]]).tolist() == [[8.0, 10.0]]
    assert not layer.weight.flags.writeable
    with pytest.raises(ValueError, match="max_norm changes the table in place, but the table is read-only"):
        EmbeddingBag.from_pretrained(path, max_norm=1.0)
    with pytest.raises(ValueError, match="mapped for reading and cannot be resized"):
        layer.resize(9)
    trained = EmbeddingBag.from_pretrained(path, freeze=False, mode="sum", optimizer=optim.SGD(lr=1.0))
    trained([[1]])
    trained.backward(np.ones((1, 2)))
    assert layer([[1]]).tolist() == [[1.0, 2.0]]


def test_files_that_do_not_fit(tmp_path):
    path = tmp_path / "table.npy"
    np.save(path, np.zeros((4, 2)))
    with pytest.raises(ValueError, match=r"must hold a table of shape \(30, 4\) and dtype float32, got \(4, 2\)"):
        Embedding(V, D, storage=path)
    for name in ("x.txt", "Shared"):
        with pytest.raises(ValueError, match=f"storage must be 'shared' or the path of an .npy file, got '.*{name}'"):
            Embedding(V, D, storage=str(tmp_path / name))
    assert [each.name for each in tmp_path.iterdir()] == ["table.npy"]
    np.save(path, np.zeros(4))
    with pytest.raises(ValueError, match=r"an array of two axes in C order, got shape \(4,\)"):
        Embedding.from_pretrained(path)
    np.save(path, np.zeros((4, 2), int))
    with pytest.raises(TypeError, match="dtype must be one of"):
        Embedding.from_pretrained(path)
    np.save(path, np.zeros((4, 2), np.float32))
    with pytest.raises(TypeError, match="a table that is mapped keeps its dtype, float32, got dtype='float16'"):
        Embedding.from_pretrained(path, dtype="float16")
    with pytest.raises(FileNotFoundError):
        Embedding.from_pretrained(tmp_path / "none.npy")
    for content in (b"", b"junk", path.read_bytes()[:-1]):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"table\.npy must be an \.npy file of numbers that is whole"):
            Embedding.from_pretrained(path)


def test_a_file_that_is_not_whole_is_not_there(tmp_path):
    def fails(shape):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Embedding(V, D, storage=tmp_path / "table.npy", embeddings_initializer=fails)
    assert list(tmp_path.iterdir()) == []


def test_a_file_grows(tmp_path):
    path = tmp_path / "table.npy"
    layer = Embedding(V, D, storage=path, seed=0, embeddings_initializer="ones", optimizer=optim.Adagrad(lr=0.1))
    stepped(layer)
    before = layer.weight.copy()
    layer.resize(V + 2)
    assert np.load(path).shape == (V + 2, D)
    np.testing.assert_array_equal(layer.weight, np.concatenate([before, np.ones((2, D), np.float32)]))
    stepped(layer, [V + 1])
    assert np.load(path)[V + 1, 0] < 1


def test_bfloat16_in_a_file(tmp_path):
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="it makes bfloat16 of NumPy's")
    layer = Embedding(V, D, storage=tmp_path / "table.npy", dtype="bfloat16", seed=0)
    assert layer.weight.dtype == ml_dtypes.bfloat16
    again = Embedding.from_pretrained(tmp_path / "table.npy", dtype="bfloat16")
    np.testing.assert_array_equal(again([1, 2]), layer([1, 2]))


def test_copies_of_a_mapped_table(tmp_path):
    layer = Embedding(V, D, storage=tmp_path / "table.npy", seed=0)
    twin = pickle.loads(pickle.dumps(layer))
    layer.weight[3] = 9
    assert (twin([3]) == 9).all()


@pytest.mark.parametrize("storage", ["shared", "table.npy", None])
def test_deep_copies_have_a_table_of_their_own(storage, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    layer = Embedding(V, D, storage=storage, embeddings_initializer="ones")
    twin = copy.deepcopy(layer)
    layer.weight[3] = 9
    assert (twin.weight == 1).all()


def name_of(layer):
    return layer._memory.name


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_shared_memory_is_one_for_a_family(method):
    layer = Embedding(V, D, storage="shared", embeddings_initializer="ones", optimizer=optim.SGD(lr=0.5))
    stepped(layer)
    load = operator.methodcaller("load_state_dict", {"weight": np.full((V, D), 7.0)})
    child = multiprocessing.get_context(method).Process(target=load, args=(layer,))
    child.start()
    child.join(600)
    assert child.exitcode == 0
    assert (layer.weight == 7).all()
    assert SharedMemory(name_of(layer), create=False).size >= layer.weight.nbytes


def test_shared_memory_ends_with_the_layer():
    layer = Embedding(V, D, storage="shared", seed=0)
    name, view = name_of(layer), layer.weight[1:3]
    kept = view.copy()
    twin = pickle.loads(pickle.dumps(layer))
    del layer
    gc.collect()
    with pytest.raises(FileNotFoundError):
        SharedMemory(name)
    np.testing.assert_array_equal(view, kept)
    np.testing.assert_array_equal(twin([1, 2]), kept)


def test_shared_memory_grows():
    layer = stepped(Embedding(V, D, storage="shared", seed=0, optimizer=optim.SGD(lr=1.0)))
    before, name = layer.weight.copy(), name_of(layer)
    layer.resize(V + 1)
    assert name_of(layer) != name
    np.testing.assert_array_equal(layer.weight[:V], before)


def test_pickled_layers_train_on():
    layer = stepped(Embedding(V, D, lora_rank=2, seed=0, optimizer=optim.Adam(lr=0.1), padding_idx=1))
    twin = pickle.loads(pickle.dumps(layer))
    for one in (layer, twin):
        stepped(one)
    np.testing.assert_array_equal(twin([1, 2]), layer([1, 2]))
    assert twin.weight.ctypes.data % 64 == 0


def test_state_dict():
    layer, other = Embedding(V, D, lora_rank=2, seed=0), Embedding(V, D, lora_rank=2, seed=1)
    assert list(layer.state_dict()) == ["weight", "lora_embeddings_a", "lora_embeddings_b"]
    assert np.shares_memory(layer.state_dict()["weight"], layer.weight)
    other.load_state_dict(layer.state_dict())
    np.testing.assert_array_equal(other([1, 2]), layer([1, 2]))
    with pytest.raises(TypeError, match="state_dict must be a dict from names to arrays, got NoneType"):
        layer.load_state_dict(None)
    with pytest.raises(KeyError, match=r"must have the names \['lora_embeddings_a', .*, got \['weight'\]"):
        other.load_state_dict({"weight": layer.weight})
    other.load_state_dict({"weight": np.zeros((V, D)), "other": 1}, strict=False)
    assert not other.weight.any()
    with pytest.raises(ValueError, match=r"weight must be of shape \(30, 4\), got \(3, 4\)"):
        other.load_state_dict({"weight": np.zeros((3, D))}, strict=False)


def test_state_of_torch():
    torch = pytest.importorskip("torch", reason="the state is its")
    theirs = torch.nn.EmbeddingBag(V, D)
    ours = EmbeddingBag(V, D)
    ours.load_state_dict(theirs.state_dict())
    np.testing.assert_array_equal(ours.weight, theirs.weight.detach().numpy())
    theirs.load_state_dict({name: torch.tensor(table) for name, table in EmbeddingBag(V, D).state_dict().items()})


def test_threads_undo_their_own_forwards():
    """Each thread's gradient is that of its own indices, whatever the others do at the same time."""
    layer = EmbeddingBag(V, D, mode="sum", seed=0, dtype="float64")
    barrier, failures = threading.Barrier(4), []

    def work(thread):
        try:
            for _ in range(50):
                barrier.wait()
                layer(np.full((2 + thread, 3), thread))
                barrier.wait()
                layer.backward(np.ones((2 + thread, D)))
        except BaseException as error:
            failures.append(error)
            barrier.abort()

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert layer.grad.rows.tolist() == [0, 1, 2, 3]
    assert layer.grad.collect()[:, 0].tolist() == [50 * 3 * (2 + thread) for thread in range(4)]
    with pytest.raises(RuntimeError, match="in the same thread"):
        layer.backward(np.ones((2, D)))


def test_threads_step_one_after_the_other():
    layer = EmbeddingBag(V, D, mode="sum", embeddings_initializer="zeros", optimizer=optim.SGD(lr=1.0))

    def work():
        for _ in range(100):
            layer(np.zeros((50, 2), int))
            layer.backward(np.ones((50, D)))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert layer.weight[0].tolist() == [-4 * 100 * 100.0] * D


def test_a_gradient_that_another_thread_forgets_while_it_is_asked_for(monkeypatch):
    layer = EmbeddingBag(V, D, mode="sum")
    layer(np.zeros((5, 2), int))
    layer.backward(np.ones((5, D)))

    class Late(ForkedLock):
        def __enter__(self):
            layer._gradients = []  # by the thread that had the lock
            return super().__enter__()

    monkeypatch.setattr(layer, "_lock", Late())
    assert layer.grad is None


def test_a_gradient_that_two_threads_sum_at_once(monkeypatch):
    layer = EmbeddingBag(V, D, mode="sum")
    layer(np.zeros((5, 2), int))
    layer.backward(np.ones((5, D)))
    gradient, empty_rows = layer.grad, row_gradient.empty_rows

    def after_the_other(*arguments):
        monkeypatch.undo()
        gradient.collect()
        return empty_rows(*arguments)

    monkeypatch.setattr(row_gradient, "empty_rows", after_the_other)
    assert gradient.collect()[:, 0].tolist() == [10]


def test_a_layer_that_another_thread_makes_while_an_optimizer_is_saved(monkeypatch):
    optimizer, named = optim.SGD(), states.named
    layers = [EmbeddingBag(V, D, optimizer=optimizer) for _ in range(2)]

    def make_another(*arguments):
        layers.append(EmbeddingBag(V, D, optimizer=optimizer))
        return named(*arguments)

    monkeypatch.setattr(states, "named", make_another)
    assert len(optimizer.state_dict()["state"]) == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:This process")
def test_a_fork_after_use():
    layer = EmbeddingBag(5000, 64, mode="sum", seed=0, optimizer=optim.Adagrad(lr=0.1))
    indices = np.random.default_rng(0).integers(0, 5000, (2000, 20))
    layer.backward(layer(indices))
    with layer._lock:  # held by a thread that the child does not have
        pid = os.fork()
        if pid == 0:
            try:
                layer.backward(layer(indices))
                os._exit(0)
            finally:
                os._exit(1)
    _, status = os.waitpid(pid, 0)
    assert status == 0


def test_a_large_table_takes_no_memory_before_it_is_used():
    def step(layer):
        layer.optimizer = optim.Adam(lr=0.1)
        layer(np.arange(100))
        layer.backward(np.ones((100, 64)))

    zeros = {"embeddings_initializer": lambda shape: np.broadcast_to(np.float32(0), shape)}
    step(Embedding(100, 64, **zeros))  # compiles
    layer = Embedding(2_000_000, 64, **zeros)
    assert _growth(lambda: step(layer)) < layer.weight.nbytes / 4
