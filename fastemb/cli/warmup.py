"""`fastemb warmup`: compile ahead, so that no later start has to wait."""

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fastemb.cli.console import Console
from fastemb.cli.options import JsonOption, QuietOption
from fastemb.cli.progress import compiling
from fastemb.engine.validate import choice

if TYPE_CHECKING:
    from fastemb.trainers.schedule import Progress

EXAMPLE = "fastemb warmup"

LAYERS = {  # modules of kernels
    "cpu": ("lookup", "bags", "features", "grouping", "updates"),
    "cuda": ("lookup", "bags", "grouping", "groups", "sorting", "updates"),
}
OPTIMIZERS = ("SGD", "Adagrad", "RowwiseAdagrad", "Adam")
TABLE = (4096, 64)


def warmup(
    device: Annotated[
        str, typer.Option(metavar="cpu|cuda", help="Which kernels to compile: cuda's are an NVIDIA GPU's.")
    ] = "cpu",
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Compile what training and layers of float32 need, once a machine; later starts take it from the cache."""
    choice("device", device, ("cpu", "cuda"))
    console = Console(quiet=quiet, json=json)
    watch = _Watch(console)
    start = time.perf_counter()
    before = _num_compiled(device)
    _train_vectors(device, watch)
    _train_layers(device)
    watch.compiled |= _num_compiled(device) > before
    seconds = time.perf_counter() - start
    console.say(f"Ready, after {seconds:.1f} s" if watch.compiled else "Ready: everything was compiled before")
    console.result({"compiled": watch.compiled, "seconds": seconds})


def _train_vectors(device: str, watch: "_Watch") -> None:
    from fastemb.trainers.glove import GloVe
    from fastemb.trainers.word2vec import Word2Vec

    text = [["to", "be", "or", "not", "to", "be"], ["that", "is", "the", "question"]]
    ways: list[dict[str, Any]] = [{"sg": 1}, {"sg": 0}]
    if device == "cpu":
        ways.append({"sg": 1, "shared_negatives": False})
        GloVe(text, vector_size=16, min_count=1, epochs=1, callbacks=[watch])
    for how in ways:
        Word2Vec(text, vector_size=16, min_count=1, sample=0, epochs=1, callbacks=[watch], device=device, **how)


def _train_layers(device: str) -> None:
    """Look up and update rows in one thread, and then so many that all threads do."""
    import numpy as np

    from fastemb import Embedding, EmbeddingBag, EmbeddingBagCollection, optim

    for size in (4, 4096) if device == "cpu" else (4,):
        bags = np.arange(2 * size).reshape(size, 2) % TABLE[0]
        for name in OPTIMIZERS:
            for kind in (Embedding, EmbeddingBag):
                optimizer = getattr(optim, name)()
                layer = kind(*TABLE, embeddings_initializer="zeros", optimizer=optimizer, device=device)
                layer.backward(layer(bags))
        EmbeddingBagCollection({"": TABLE}, embeddings_initializer="zeros", device=device).eval()({"": bags})


def _num_compiled(device: str) -> int:
    """Return how many kernels of layers this process has compiled, rather than found in the cache."""
    from fastemb.engine.backend import kernels

    modules = [kernels(device, name) for name in LAYERS[device]]
    found = [kernel for module in modules for kernel in vars(module).values() if hasattr(kernel, "stats")]
    return sum(sum(kernel.stats.cache_misses.values()) for kernel in found)


class _Watch:
    """A callback that says when something is compiled."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.compiled = False

    def on_progress(self, model: object, progress: "Progress") -> None:
        if progress.stage == "compiling" and not self.compiled:
            self.compiled = True
            self.console.say(compiling())
