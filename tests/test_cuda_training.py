"""Word2Vec and FastText with device="cuda", on a GPU or in Numba's simulator."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from fastemb import FastText, KeyedVectors, Word2Vec
from fastemb.bench.gpu_training import compare
from fastemb.cli import main
from fastemb.engine import staging
from fastemb.trainers import device_loop, loop
from fastemb.trainers.device_loop import Text, row_uses, sentences_in_flight

pytest.importorskip("numba.cuda", reason="Numba has no CUDA target and no simulator")
# In the simulator kernels are Python, where NumPy warns of what wraps around.
pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")]

# Nine words: one sentence in flight, so that a GPU does what one thread does.
TEXT = [sentence.split() for sentence in ["the cat sat on the mat", "a dog", "the dog sat on the log", "a cat"]]
SMALL = {"vector_size": 8, "window": 2, "min_count": 1, "epochs": 2, "workers": 1, "sample": 0.1, "negative": 3}


@pytest.mark.parametrize(
    ("model", "options"),
    [
        (Word2Vec, {"sg": 1}),
        (Word2Vec, {"sg": 0, "hs": 1, "negative": 0, "cbow_update": "corrected"}),
        (FastText, {"sg": 1, "bucket": 20, "min_n": 2, "max_n": 3}),
    ],
)
def test_one_sentence_in_flight_trains_as_one_thread_does(model, options, monkeypatch):
    monkeypatch.setattr(loop, "BLOCK_IDS", 7)  # several blocks take the two slots in turn
    monkeypatch.setattr(device_loop, "LEAST_IDS", 7)
    wanted = model(TEXT, **SMALL | options)
    got = model(TEXT, **SMALL | options, device="cuda")
    np.testing.assert_allclose(got.wv.vectors, wanted.wv.vectors, atol=1e-6)
    np.testing.assert_allclose(got.losses, wanted.losses, rtol=1e-6)
    for name in ("syn1neg", "syn1"):
        if hasattr(wanted, name):
            np.testing.assert_allclose(getattr(got, name), getattr(wanted, name), atol=1e-6)
            assert getattr(got, name).any()


class Watcher:
    """Keeps what callbacks are told; may interrupt the training."""

    def __init__(self, stop_after=None):
        self.stages, self.vectors, self.stop_after = [], [], stop_after

    def on_progress(self, model, progress):
        self.stages.append(progress.stage)

    def on_epoch_end(self, model):
        self.vectors.append(model.wv.vectors.copy())
        if len(self.vectors) == self.stop_after:
            raise KeyboardInterrupt


def test_callbacks_see_the_vectors_of_each_epoch_and_may_end_the_training():
    watcher, model = Watcher(stop_after=2), Word2Vec(**SMALL | {"epochs": 3}, device="cuda")
    model.build_vocab(TEXT)
    start = model.wv.vectors.copy()
    with pytest.raises(KeyboardInterrupt):
        model.train(TEXT, callbacks=[watcher])
    assert {"compiling", "training"} <= set(watcher.stages)
    first, second = watcher.vectors
    assert (first != start).any() and (second != first).any()
    np.testing.assert_array_equal(model.wv.vectors, second)
    assert len(model.losses) == 2


@pytest.mark.parametrize(
    ("model", "options", "room", "near"),
    [
        (Word2Vec, {"sg": 1}, 11, (5, 5, 1)),  # rows of input vectors, output vectors and a tree's nodes on the GPU
        (Word2Vec, {"sg": 0, "hs": 1, "negative": 0}, 7, (1, 1, 7)),
        (FastText, {"sg": 1, "bucket": 20, "min_n": 2, "max_n": 3}, 23, (17, 4, 1)),
    ],
)
def test_rows_without_room_on_the_gpu_lie_in_the_hosts_memory(model, options, room, near, monkeypatch):
    found = []

    class Recorded(staging.Placed):
        def __init__(self, table, num_near):
            found.append(num_near)
            super().__init__(table, num_near)

    arguments = SMALL | {"epochs": 1} | options
    wanted = model(TEXT, **arguments)
    monkeypatch.setattr(device_loop, "Placed", Recorded)
    row_bytes = 4 * 16
    monkeypatch.setattr(device_loop, "free_bytes", lambda: (room * row_bytes + 1) / (1 - device_loop.RESERVED))
    got = model(TEXT, **arguments, device="cuda")
    assert (*found[1:], found[0]) == near
    np.testing.assert_allclose(got.wv.vectors, wanted.wv.vectors, atol=1e-6)
    np.testing.assert_allclose(got.losses, wanted.losses, rtol=1e-6)


def test_rows_beyond_shared_memory_lie_in_global_memory():
    near, floats = device_loop._own_memory(row_length=128, window=5, sentences=3)
    assert near == () and 4 * floats <= staging.MOST_SHARED
    near, floats = device_loop._own_memory(row_length=512, window=20, sentences=3)
    assert floats == 0 and near[0].shape[0] == 3 and 4 * near[0].shape[1] > staging.MOST_SHARED
    assert near[0].shape[1] % 4 == 0


def test_what_a_gpu_does_not_train_is_refused():
    with pytest.raises(ValueError, match="compat must be None with device='cuda', got 'gensim'"):
        Word2Vec(device="cuda", compat="gensim")
    with pytest.raises(ValueError, match="shared_negatives must be True with device='cuda'"):
        FastText(device="cuda", shared_negatives=False)
    with pytest.raises(ValueError, match="device must be"):
        Word2Vec(device="tpu")


def test_the_device_is_not_saved(tmp_path):
    model = Word2Vec(device="cuda", **SMALL)
    model.build_vocab(TEXT)
    model.save(tmp_path / "model.safetensors")
    assert model.get_params()["device"] == "cuda"
    assert Word2Vec.load(tmp_path / "model.safetensors").device == "cpu"
    assert b"cuda" not in (tmp_path / "model.safetensors").read_bytes()


def test_the_command_line(tmp_path):
    text, output = tmp_path / "text.txt", tmp_path / "out.safetensors"
    text.write_text("\n".join(map(" ".join, TEXT)))
    options = ["--vector-size", "8", "--epochs", "1", "--min-count", "1", "--window", "1", "--sample", "0"]
    assert main(["train", str(text), "-o", str(output), "--quiet", "--device", "cuda", *options]) == 0
    wanted = Word2Vec(TEXT, sg=1, vector_size=8, epochs=1, min_count=1, window=1, sample=0, device="cuda")
    np.testing.assert_allclose(KeyedVectors.load(output).vectors, wanted.wv.vectors, atol=1e-6)


def test_without_a_gpu_the_error_is_the_backends(tmp_path):
    """In a process of its own, which has no simulator; a machine with a GPU has none to show."""
    code = """
from fastemb import Word2Vec
from fastemb.engine.backend import gpu_problem
problem = gpu_problem()
try:
    Word2Vec(device="cuda")
    assert problem is None
except (ImportError, RuntimeError) as error:
    assert str(error) == f"device='cuda' cannot be used: {problem}", error
"""
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_ENABLE_CUDASIM"}
    ran = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def test_training_on_a_cpu_imports_nothing_of_a_gpu():
    code = "import sys, fastemb\nfastemb.Word2Vec([['a', 'b']] * 9, vector_size=4, min_count=1)\n"
    environment = {name: value for name, value in os.environ.items() if name != "NUMBA_ENABLE_CUDASIM"}
    check = "print([name for name in sys.modules if name.startswith(('numba.cuda', 'numba_cuda', 'cuda'))])"
    ran = subprocess.run([sys.executable, "-c", code + check], env=environment, capture_output=True, text=True)
    assert ran.stdout.strip().replace("'_numba_cuda_redirector'", "") == "[]", ran.stderr


def zipf_uses(num_words, window=5, subwords=None, has_tree=False):
    counts = (1e7 / np.arange(1, num_words + 1)).astype(np.int64) + 1
    text = Text(np.ones(num_words, np.float32), np.zeros((num_words, 2), np.uint32), window, True, negative=5)
    return row_uses(counts, text, 0.75, subwords, has_tree)


def test_the_number_of_sentences_in_flight_is_bounded_by_the_vocabulary():
    sizes = [2, 10, 100, 1000, 10_000, 1_000_000]
    numbers = [sentences_in_flight(zipf_uses(size), size, 5)[0] for size in sizes]
    assert numbers == sorted(numbers) and numbers[0] == 1 and numbers[1] == 1 and numbers[-1] < 2048
    for size, number in zip(sizes, numbers, strict=True):
        assert number <= max(1, size / device_loop.WORDS_PER_SENTENCE)
        assert number * zipf_uses(size).max() <= device_loop.CHANGES or number == 1


def test_rows_that_many_words_share_bound_the_sentences_in_flight():
    size = 100_000
    alone = sentences_in_flight(zipf_uses(size), size, 5)[0]
    shared = np.stack([np.arange(size), np.full(size, size)], 1).ravel().astype(np.int32)  # one n-gram in all words
    uses = zipf_uses(size, subwords=(shared, 2 * np.arange(size + 1)))
    assert uses.max() == pytest.approx(6)  # a window's six context words, on average
    assert sentences_in_flight(uses, size, 5)[0] in (3, 4) and alone > 40
    assert sentences_in_flight(zipf_uses(size, window=50), size, 50)[0] < alone
    assert sentences_in_flight(zipf_uses(size, has_tree=True), size, 5)[0] <= device_loop.CHANGES  # all meet the root


@pytest.mark.parametrize(("sentences", "window", "staleness"), [(1, 5, 11), (64, 5, 4), (512, 5, 1), (100, 1, 2)])
def test_staleness_falls_as_sentences_in_flight_grow(sentences, window, staleness):
    uses = np.array([device_loop.CHANGES / (sentences + 0.5)])
    assert sentences_in_flight(uses, 10**6, window) == (sentences, staleness)


def test_the_benchmark_trains_on_both_devices(tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("\n".join(map(" ".join, TEXT)))
    options = {"vector_size": 4, "rounds": 1, "pairs": [], "min_count": 1, "window": 1, "sample": 0, "workers": 1}
    rows = compare(text, models=["CBOW"], log=lambda line: None, **options)
    assert [(row["model"], row["device"]) for row in rows] == [("CBOW", "cpu"), ("CBOW", "cuda")]
    assert rows[0]["loss"] == pytest.approx(rows[1]["loss"]) and all(row["words_per_second"] > 0 for row in rows)


def test_warmup_for_a_gpu(capsys):
    assert main(["warmup", "--device", "cuda", "--json", "-q"]) == 0
    assert json.loads(capsys.readouterr().out)["seconds"] > 0
    assert main(["warmup", "--device", "reference"]) == 1
    assert "device must be one of 'cpu', 'cuda', got 'reference'" in capsys.readouterr().err
