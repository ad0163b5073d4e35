"""Embedding tables on a CPU, fast."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastemb import functional, optim
    from fastemb.engine.parallel import get_num_threads, num_threads, set_num_threads
    from fastemb.layers.bag import EmbeddingBag
    from fastemb.layers.collection import EmbeddingBagCollection
    from fastemb.layers.embedding import Embedding
    from fastemb.trainers.word2vec import Word2Vec
    from fastemb.vectors.fasttext_vectors import FastTextKeyedVectors
    from fastemb.vectors.keyed_vectors import KeyedVectors

__version__ = "0.1.0"

__all__ = [
    "Embedding",
    "EmbeddingBag",
    "EmbeddingBagCollection",
    "FastTextKeyedVectors",
    "KeyedVectors",
    "Word2Vec",
    "__version__",
    "functional",
    "get_num_threads",
    "num_threads",
    "optim",
    "set_num_threads",
]

# NumPy and Numba take tenths of a second to import, so each name is imported when it is first used.
_HOME = {
    "Embedding": "fastemb.layers.embedding",
    "EmbeddingBag": "fastemb.layers.bag",
    "EmbeddingBagCollection": "fastemb.layers.collection",
    "FastTextKeyedVectors": "fastemb.vectors.fasttext_vectors",
    "KeyedVectors": "fastemb.vectors.keyed_vectors",
    "Word2Vec": "fastemb.trainers.word2vec",
    "get_num_threads": "fastemb.engine.parallel",
    "num_threads": "fastemb.engine.parallel",
    "set_num_threads": "fastemb.engine.parallel",
}
_PARTS = ("functional", "keras", "optim", "torch")  # `fastemb.torch.Embedding` needs no other import


def __getattr__(name: str) -> Any:
    if name in _PARTS:
        return import_module(f"fastemb.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'fastemb' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
