"""A classifier's files: its own, and fastText's."""

import json
import os
import warnings
from typing import Self

from fastemb.engine import validate
from fastemb.formats.files import PathLike
from fastemb.formats.registry import detect
from fastemb.trainers.classification.fasttext_files import read_fasttext, write_fasttext
from fastemb.trainers.classification.predictor import Predictor
from fastemb.trainers.classification.saving import model_of, tensors_of
from fastemb.trainers.classification.targets import KINDS
from fastemb.trainers.estimator import Estimator
from fastemb.trainers.frozen_phrases import frozen, phrases_of, phrases_tensors
from fastemb.trainers.model_files import reading_model, write_model
from fastemb.vectors.keyed_vectors import KeyedVectors

__all__ = ["Stored"]

MODEL_FORMAT = "fastemb.FastTextClassifier/1"


class Stored(Predictor, Estimator):
    """A classifier that is kept in a file."""

    pretrained_vectors: KeyedVectors | PathLike | None

    def save(self, path: PathLike) -> None:
        """Write the classifier to a file.

        Parameters
        ----------
        path : path
            ``.safetensors`` keeps everything. ``.bin``, and ``.ftz`` of a quantized classifier, are fastText's own
            files, which its program and its Python package load.
        """
        name = os.fspath(path)
        if name.endswith((".bin", ".ftz")):
            if self.phrases is not None:
                warnings.warn(
                    f"{name!r} cannot hold the phrases: what loads it must join them itself", UserWarning, stacklevel=2
                )
            if name.endswith(".ftz") != self._trained.is_quantized:
                is_so = "is" if self._trained.is_quantized else "is not"
                raise ValueError(f"a .ftz is a quantized classifier, a .bin is not, got {name!r}; this one {is_so}")
            write_fasttext(path, self._trained, self.get_params())
            return
        if not name.endswith(".safetensors"):
            raise ValueError(f"path must end in '.safetensors', '.bin' or '.ftz', got {name!r}")
        tensors, described = tensors_of(self._trained)
        parameters = {
            name: value for name, value in self.get_params().items() if name not in ("callbacks", "phrases")
        }  # fmt: skip
        if isinstance(self.pretrained_vectors, KeyedVectors | os.PathLike):
            parameters["pretrained_vectors"] = None
        told = {"parameters": json.dumps(parameters), "model": json.dumps(described), "label_kind": self._kind}
        write_model(path, MODEL_FORMAT, tensors | phrases_tensors(frozen(self.phrases)), told)

    @classmethod
    def load(cls, path: PathLike, label_prefix: str = "__label__") -> Self:
        """Read what `save` wrote, or fastText's ``.bin`` or ``.ftz``.

        Parameters
        ----------
        path : path
        label_prefix : str, default "__label__"
            What the labels in fastText's file begin with, which the file does not tell.

        Raises
        ------
        ValueError
            If the file is no classifier.
        """
        if detect(path) == "fasttext":
            model, parameters = read_fasttext(path, label_prefix)
            classifier = cls(**parameters)
            classifier._model, classifier._kind = model, "str"
            return classifier
        with reading_model(path, MODEL_FORMAT, "classifier") as (tensors, told):
            classifier = cls(**json.loads(told["parameters"]), phrases=phrases_of(tensors))
            classifier._model = model_of(tensors, json.loads(told["model"]))
            classifier._kind = validate.choice("label_kind", told["label_kind"], KINDS)
        return classifier
