"""A model's file."""

import json
import os
from typing import Any, Self

import numpy as np

from fastemb import formats
from fastemb.engine import validate
from fastemb.trainers.arguments import check_vector_size
from fastemb.trainers.building import VocabularyBuilder
from fastemb.trainers.frozen_phrases import frozen, phrases_of, phrases_tensors
from fastemb.trainers.model_files import reading_model, write_model
from fastemb.trainers.state import State
from fastemb.trainers.text import PathLike
from fastemb.vectors.keyed_vectors import KeyedVectors

__all__ = ["Stored"]

NOT_SAVED = ("callbacks", "device", "trim_rule", "hashfxn", "phrases", "pretrained")


class Stored(VocabularyBuilder):
    """A model that is kept in one safetensors file."""

    _format: str
    _state_type: type[State] = State

    def save(self, path: PathLike) -> None:
        """Write everything, to go on training later, as one safetensors file.

        The file opens as `KeyedVectors` too. Only ``wv.save`` writes other formats.

        Parameters
        ----------
        path : path
            Such as ``model.safetensors``, or gensim's ``word2vec.model``: the content is the same. A suffix that stands
            for a format of vectors is refused.
        """
        name = os.fspath(path)
        meant = formats.SUFFIXES.get(os.path.splitext(name)[1].lower(), "safetensors")
        if meant != "safetensors":
            raise ValueError(
                f"path must not end like a file of vectors alone, got {name!r}; model.wv.save writes these, and "
                "'.safetensors' or '.model' is for the whole model"
            )
        tensors, described = self._trained.to_tensors()
        check_vector_size(self.vector_size, self._trained.vector_size)
        parameters = {name: value for name, value in self.get_params().items() if name not in NOT_SAVED}
        tensors |= phrases_tensors(frozen(self.phrases))
        write_model(path, self._format, tensors, {"parameters": json.dumps(parameters), **described})

    def to_keyed_vectors(self, which: str = "input") -> KeyedVectors:
        """Return a copy of the words and their vectors, as they are now.

        Parameters
        ----------
        which : {"input", "output", "sum"}, default "input"
            Which of a word's two vectors, or their sum. "input" is what `wv` holds, and what word2vec.c and gensim give
            out; the sum can be better, after few epochs most of all.

        Raises
        ------
        ValueError
            If the model was not trained by negative sampling and so has no output vectors.

        Examples
        --------
        >>> from fastemb import Word2Vec
        >>> model = Word2Vec([["a", "b", "c"]] * 100, vector_size=8, min_count=1, sample=0)
        >>> both = model.to_keyed_vectors("sum")
        >>> np.array_equal(both["a"], model.wv["a"] + model.syn1neg[model.wv.get_index("a")])
        True
        """
        state = self._trained
        tables: dict[str, list] = {
            "input": [state.weight_in],
            "output": [state.weight_out],
            "sum": [state.weight_in, state.weight_out],
        }
        chosen = tables[validate.choice("which", which, tables)]
        if any(table is None for table in chosen):
            raise ValueError(f"which={which!r} needs output vectors, which only negative sampling makes (negative > 0)")
        rows = sum(table[:, : state.vector_size] for table in chosen)
        return KeyedVectors(np.array(rows), state.vocabulary)

    @classmethod
    def load(cls, path: PathLike, mmap: Any = None) -> Self:
        """Read what `save` wrote.

        Parameters
        ----------
        path : path
        mmap : optional
            gensim's, without effect: what is to be trained lies in memory. `KeyedVectors.load` maps the file's vectors.

        Raises
        ------
        ValueError
            If the file is not a model that `save` wrote.
        """
        found = formats.detect(path)
        if found != "safetensors":
            raise ValueError(f"{os.fspath(path)}: not a model but vectors ({found}), which KeyedVectors.load reads")
        with reading_model(path, cls._format, f"{cls.__name__} model") as (tensors, metadata):
            model = cls(**json.loads(metadata["parameters"]))
            model.phrases = phrases_of(tensors)
            model._state = cls._state_type.of_tensors(tensors, metadata, model.vector_size)
        return model
