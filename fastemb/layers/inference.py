"""What is for inference only: the part of a layer's interface that trains, refused."""

from typing import Any, NoReturn, Self

from fastemb.engine.validate import boolean

__all__ = ["ForInference"]


class ForInference:
    """A layer's methods where nothing is trained, so that a layer can be swapped for it."""

    def parameters(self) -> list:
        """Return nothing: there is nothing to train."""
        return []

    def eval(self) -> Self:
        """Return the layer, which is for inference only."""
        return self

    def train(self, mode: bool = True) -> Self:
        """Return the layer if `mode` is False.

        Raises
        ------
        RuntimeError
            If `mode` is True: quantized tables are not trained.
        TypeError
            If it is neither.
        """
        return _refuse() if boolean("mode", mode) else self

    def backward(self, grad_output: Any) -> NoReturn:
        """Raise RuntimeError: quantized tables are not trained."""
        _refuse()


def _refuse() -> NoReturn:
    raise RuntimeError("a quantized table is for inference: train the layer that it was made of, and quantize again")
