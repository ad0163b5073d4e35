"""Embedding tables on a CPU, fast."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastemb import functional, optim
    from fastemb.corpus.selection import RULE_DEFAULT, RULE_DISCARD, RULE_KEEP
    from fastemb.corpus.sentences import LineSentence, PathLineSentences, Text8Corpus
    from fastemb.engine.device import DeviceArray
    from fastemb.engine.faults import deferred_errors
    from fastemb.engine.parallel import get_num_threads, num_threads, set_num_threads
    from fastemb.layers.bag import EmbeddingBag
    from fastemb.layers.collection import EmbeddingBagCollection
    from fastemb.layers.embedding import Embedding
    from fastemb.trainers.callbacks import CallbackAny2Vec
    from fastemb.trainers.classification.classifier import FastTextClassifier
    from fastemb.trainers.facebook import load_facebook_model, load_facebook_vectors, save_facebook_model
    from fastemb.trainers.fasttext import FastText
    from fastemb.trainers.glove import GloVe
    from fastemb.trainers.phrases import FrozenPhrases, Phraser, Phrases
    from fastemb.trainers.phrasing import ENGLISH_CONNECTOR_WORDS
    from fastemb.trainers.word2vec import Word2Vec
    from fastemb.vectors.fasttext_vectors import FastTextKeyedVectors
    from fastemb.vectors.keyed_vectors import KeyedVectors

__version__ = "0.1.0"

__all__ = [
    "ENGLISH_CONNECTOR_WORDS",
    "RULE_DEFAULT",
    "RULE_DISCARD",
    "RULE_KEEP",
    "CallbackAny2Vec",
    "DeviceArray",
    "Embedding",
    "EmbeddingBag",
    "EmbeddingBagCollection",
    "FastText",
    "FastTextClassifier",
    "FastTextKeyedVectors",
    "FrozenPhrases",
    "GloVe",
    "KeyedVectors",
    "LineSentence",
    "PathLineSentences",
    "Phraser",
    "Phrases",
    "Text8Corpus",
    "Word2Vec",
    "__version__",
    "deferred_errors",
    "functional",
    "get_num_threads",
    "load_facebook_model",
    "load_facebook_vectors",
    "num_threads",
    "optim",
    "save_facebook_model",
    "set_num_threads",
]

# NumPy and Numba take tenths of a second to import, so each name is imported when it is first used.
_HOME = {
    "CallbackAny2Vec": "fastemb.trainers.callbacks",
    "ENGLISH_CONNECTOR_WORDS": "fastemb.trainers.phrasing",
    "Embedding": "fastemb.layers.embedding",
    "EmbeddingBag": "fastemb.layers.bag",
    "EmbeddingBagCollection": "fastemb.layers.collection",
    "FastTextClassifier": "fastemb.trainers.classification.classifier",
    "FastText": "fastemb.trainers.fasttext",
    "FastTextKeyedVectors": "fastemb.vectors.fasttext_vectors",
    "FrozenPhrases": "fastemb.trainers.frozen_phrases",
    "GloVe": "fastemb.trainers.glove",
    "KeyedVectors": "fastemb.vectors.keyed_vectors",
    "LineSentence": "fastemb.corpus.sentences",
    "PathLineSentences": "fastemb.corpus.sentences",
    "Phraser": "fastemb.trainers.phrases",
    "Phrases": "fastemb.trainers.phrases",
    "RULE_DEFAULT": "fastemb.corpus.selection",
    "RULE_DISCARD": "fastemb.corpus.selection",
    "RULE_KEEP": "fastemb.corpus.selection",
    "Text8Corpus": "fastemb.corpus.sentences",
    "Word2Vec": "fastemb.trainers.word2vec",
    "get_num_threads": "fastemb.engine.parallel",
    "load_facebook_model": "fastemb.trainers.facebook",
    "load_facebook_vectors": "fastemb.trainers.facebook",
    "num_threads": "fastemb.engine.parallel",
    "save_facebook_model": "fastemb.trainers.facebook",
    "DeviceArray": "fastemb.engine.device",
    "deferred_errors": "fastemb.engine.faults",
    "set_num_threads": "fastemb.engine.parallel",
}
_PARTS = ("fasttext", "functional", "keras", "optim", "torch")  # `fastemb.torch.Embedding` needs no other import


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
