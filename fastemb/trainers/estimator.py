"""What scikit-learn asks of every estimator: parameters that can be read and changed."""

import inspect
from typing import Any, Self

from fastemb.engine import validate
from fastemb.trainers.keywords import NamedArguments

__all__ = ["Estimator"]

TEXT = ("sentences", "corpus_file")  # what an estimator is fitted to, and not a parameter of it


class Estimator(NamedArguments):
    """Base of the trainers: the arguments of ``__init__``, less the text, are attributes of the same name."""

    def _check(self) -> None:
        """Raise TypeError or ValueError if a parameter is out of bounds."""

    @classmethod
    def _parameter_names(cls) -> list[str]:
        return [name for name in inspect.signature(cls).parameters if name not in TEXT]

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the arguments that the model was made with, as scikit-learn's estimators do.

        Examples
        --------
        >>> from fastemb import Word2Vec
        >>> Word2Vec(window=3).get_params()["window"]
        3
        """
        return {name: getattr(self, name) for name in self._parameter_names()}

    def set_params(self, **params: Any) -> Self:
        """Change arguments before the next `fit` or `train`.

        Raises
        ------
        ValueError
            If there is no such argument, or its value is out of bounds.

        Examples
        --------
        >>> from fastemb import Word2Vec
        >>> Word2Vec().set_params(window=3).window
        3
        """
        before = self.get_params()
        for name, value in params.items():
            setattr(self, validate.choice("parameter", name, before), value)
        try:
            self._check()
        except (TypeError, ValueError):
            self.__dict__.update(before)
            raise
        return self
