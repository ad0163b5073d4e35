"""A GloVe model's vectors, and its file."""

import json
import os
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fastemb.trainers.arguments import check_vector_size
from fastemb.trainers.estimator import Estimator
from fastemb.trainers.frozen_phrases import phrases_of, phrases_tensors
from fastemb.trainers.glove_state import GloVeState
from fastemb.trainers.model_files import reading_model, write_model
from fastemb.trainers.text import PathLike
from fastemb.vectors.glove_vectors import GloVeVectors

__all__ = ["GloVeModel", "check_suffix"]

MODEL_FORMAT = "fastemb.GloVe/1"
NOT_PARAMETERS = ("callbacks", "phrases")


class GloVeModel(Estimator):
    """What training has made of a `GloVe`, which has the arguments and learns."""

    vector_size: int
    vectors: str
    phrases: Any

    def __init__(self) -> None:
        self._state: GloVeState | None = None
        self._wv: GloVeVectors | None = None

    @property
    def wv(self) -> GloVeVectors:
        """The words and their vectors, of the kind `vectors`, as they are now."""
        if self._wv is None:
            state = self._trained
            self._wv = GloVeVectors(state.vectors(self.vectors), state.vocabulary)
        return self._wv

    @property
    def word_vectors(self) -> NDArray[np.float32]:
        """The words' own vectors, float32 (num_words, vector_size)."""
        return self._trained.vectors_of("word")

    @property
    def context_vectors(self) -> NDArray[np.float32]:
        """The words' vectors as context words, float32 (num_words, vector_size)."""
        return self._trained.vectors_of("context")

    @property
    def word_biases(self) -> NDArray[np.float32]:
        """The words' biases, float32 (num_words,)."""
        return self._trained.biases_of("word")

    @property
    def context_biases(self) -> NDArray[np.float32]:
        """The words' biases as context words, float32 (num_words,)."""
        return self._trained.biases_of("context")

    @property
    def losses(self) -> list[float]:
        """Mean loss of a pair of words in each epoch trained."""
        return self._trained.losses

    @property
    def epochs_trained(self) -> int:
        """Epochs that the model has been trained for."""
        return self._trained.epochs_trained

    @property
    def corpus_count(self) -> int:
        """Sentences read when the vocabulary was built."""
        return self._trained.num_sentences

    @property
    def corpus_total_words(self) -> int:
        """Words read when the vocabulary was built, those left out included."""
        return self._trained.num_words

    def save(self, path: PathLike) -> None:
        """Write everything, to go on training later, as one safetensors file.

        The file opens as `KeyedVectors` too. Only ``wv.save`` writes other formats.

        Parameters
        ----------
        path : path
            Must end in ``.safetensors``.
        """
        check_suffix("path", path, "; model.wv.save writes other formats")
        tensors, described = self._trained.to_tensors(self.vectors)
        check_vector_size(self.vector_size, self._trained.vector_size)
        parameters = {name: value for name, value in self.get_params().items() if name not in NOT_PARAMETERS}
        described = {"parameters": json.dumps(parameters, default=os.fspath), **described}
        write_model(path, MODEL_FORMAT, tensors | phrases_tensors(self.phrases), described)

    @classmethod
    def load(cls, path: PathLike) -> Self:
        """Read what `save` wrote.

        Raises
        ------
        ValueError
            If the file is not a model that `save` wrote.
        """
        with reading_model(path, MODEL_FORMAT, "GloVe model") as (tensors, metadata):
            model = cls(**json.loads(metadata["parameters"]))
            model.phrases = phrases_of(tensors)
            model._state = GloVeState.of_tensors(tensors, metadata, model.vector_size)
        return model

    def set_params(self, **params: Any) -> Self:
        """Change arguments before the next `fit` or `train`; see `Estimator.set_params`."""
        super().set_params(**params)
        self._wv = None  # of another kind, maybe
        return self

    @property
    def _trained(self) -> GloVeState:
        if self._state is None:
            raise RuntimeError("the model has no vocabulary yet: call fit or fit_cooccurrence first")
        return self._state


def check_suffix(name: str, path: PathLike, advice: str = "") -> None:
    """Raise ValueError if a path is not that of a model's file."""
    if not os.fspath(path).endswith(".safetensors"):
        raise ValueError(f"{name} must end in '.safetensors', got {os.fspath(path)!r}{advice}")
