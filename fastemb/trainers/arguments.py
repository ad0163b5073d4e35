"""Checks of the trainers' arguments."""

import warnings
from typing import Any

from fastemb.corpus.reader import Corpus
from fastemb.engine import validate
from fastemb.engine.backend import require_gpu
from fastemb.engine.parallel import MAX_THREADS
from fastemb.trainers.arithmetic import CBOW_UPDATES, arithmetic

__all__ = ["check_training", "check_vector_size", "warn_of_totals", "warn_without_effect"]

MAX_VECTOR_SIZE = 1 << 16
WITHOUT_EFFECT = {
    "hashfxn": "vectors begin by seed and by the word's place in the vocabulary",
    "null_word": "no sentence is padded",
    "batch_words": "the text is cut into ranges by its length and the number of threads",
    "word_count": "the learning rate falls over the text that is given; start_alpha says where it begins",
    "queue_factor": "there is no queue",
    "report_delay": "callbacks are told a few times a second",
}


def check_training(model: Any) -> None:
    """Check what `Word2Vec` and its kin train by; NumPy's numbers become Python's, which kernels and files ask for."""
    model.vector_size = validate.integer("vector_size", model.vector_size, 1, MAX_VECTOR_SIZE)
    model.alpha = _optional_real("alpha", model.alpha, 0, low_open=True)
    model.window = validate.integer("window", model.window, 1, 100)
    model.min_count = validate.integer("min_count", model.min_count, 0)
    model.sample = validate.real("sample", model.sample, 0)
    model.seed = validate.integer("seed", model.seed, 0, 2**63 - 1)
    if model.workers is not None:
        model.workers = validate.integer("workers", model.workers, 1, MAX_THREADS)
    for name in ("sg", "hs", "cbow_mean"):
        setattr(model, name, int(validate.choice(name, getattr(model, name), (0, 1))))
    model.negative = validate.integer("negative", model.negative, 0, 64)
    if not model.hs and not model.negative:
        raise ValueError(
            "hs or negative must be positive for training, got hs=0 and negative=0, with which there is none"
        )
    model.ns_exponent = _optional_real("ns_exponent", model.ns_exponent, -10, 10)
    model.epochs = validate.integer("epochs", model.epochs, 1)
    model.max_sentence_length = validate.integer("max_sentence_length", model.max_sentence_length, 1, 1_000_000)
    for name in ("shrink_windows", "shared_negatives", "lowercase"):
        setattr(model, name, validate.boolean(name, getattr(model, name)))
    validate.choice("cbow_update", model.cbow_update, (None, *CBOW_UPDATES))
    _check_device(model)
    how = arithmetic(model.compat, cbow_update=model.cbow_update)
    first = how.first_alpha(bool(model.sg), bool(model.cbow_mean)) if model.alpha is None else model.alpha
    model.min_alpha = _optional_real("min_alpha", model.min_alpha, 0, first)


def check_vector_size(vector_size: int, there: int) -> None:
    """Check that a model's argument is still what its vectors, of `there` numbers, were made with.

    Raises
    ------
    ValueError
    """
    if vector_size != there:
        raise ValueError(
            f"vector_size was changed to {vector_size}, and the model's vectors have {there} numbers: "
            "fit makes new ones"
        )


def _check_device(model: Any) -> None:
    """Check that a GPU can be used where one is asked for, and that it can do what is."""
    if validate.choice("device", model.device, ("cpu", "cuda")) == "cpu":
        return
    if model.compat is not None:
        raise ValueError(f"compat must be None with device='cuda', got {model.compat!r}: other programs' arithmetic")
    if not model.shared_negatives:
        raise ValueError("shared_negatives must be True with device='cuda', which trains no single pairs")
    require_gpu()


def _optional_real(name: str, value: Any, *bounds: float | None, low_open: bool = False) -> float | None:
    return None if value is None else validate.real(name, value, *bounds, low_open=low_open)  # type: ignore[arg-type]


def warn_without_effect(**given: Any) -> None:
    """Warn of arguments that gensim has and that do nothing here, where they were given."""
    for name in filter(given.get, given):
        warnings.warn(f"{name} has no effect: {WITHOUT_EFFECT[name]}", UserWarning, stacklevel=3)


def warn_of_totals(corpus: Corpus, total_examples: int | None, total_words: int | None) -> None:
    """Warn where a text is longer or shorter than it was said to be."""
    counted = {"total_examples": corpus.num_sentences_read, "total_words": corpus.num_words}
    for name, given in (("total_examples", total_examples), ("total_words", total_words)):
        if given is not None and given != counted[name]:
            warnings.warn(
                f"{name}={given} is not what was counted, {counted[name]:,}, by which the learning rate falls",
                UserWarning,
                stacklevel=3,
            )
