"""A layer that trains low-rank tables in the place of its own, where it is asked to."""

from typing import Any, Self

from fastemb.layers.lora import Adapter, adapt
from fastemb.layers.parameter import Parameter
from fastemb.layers.tape import Remembering

__all__ = ["Adaptable"]


class Adaptable(Remembering, Parameter):
    """A table that remembers forwards and may have LoRA.

    Attributes
    ----------
    lora : Adapter or None
        LoRA's two tables, where it is enabled.
    """

    lora: Adapter | None = None
    device: str
    _frozen: Any

    def enable_lora(
        self,
        rank: int,
        lora_alpha: float | None = None,
        a_initializer: Any = "he_uniform",
        b_initializer: Any = "zeros",
    ) -> None:
        """Freeze the table, and train a product of two small ones that is added to it, as Keras does.

        A row is then ``weight[i] + (lora_alpha / rank) * (A[i] @ B)``, with A (num_embeddings, rank) and B
        (rank, embedding_dim). See Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models". They are
        float32 (float64 with a float64 table), and what `parameters` returns. The regularizer is theirs from then on.

        Parameters
        ----------
        rank : int
            At least 1.
        lora_alpha : float, optional
            Default `rank`.
        a_initializer, b_initializer : str, callable or array
            As `embeddings_initializer`; the padding row of A starts as zeros.

        Raises
        ------
        ValueError
            If the layer has a constraint or has LoRA already.

        Examples
        --------
        >>> from fastemb import Embedding
        >>> layer = Embedding(10, 4)
        >>> layer.enable_lora(2)
        >>> [parameter.weight.shape for parameter in layer.parameters()]
        [(10, 2), (2, 4)]
        """
        if self.device == "cuda":
            raise ValueError("lora is not there for device 'cuda'")
        self.lora = adapt(self, rank, lora_alpha, a_initializer, b_initializer)
        self._frozen, self.optimizer = True, None
        self.forget()
        self.zero_grad()

    def merge_lora(self) -> None:
        """Add the product of LoRA's tables to the table, and train that from then on.

        Raises
        ------
        ValueError
            If LoRA is not enabled.
        """
        if self.lora is None:
            raise ValueError("lora is not enabled, so there is nothing to merge")
        self.lora.merge(self.table)
        self._frozen, self.optimizer = self.lora.frozen, self.lora.a.optimizer
        self.lora = None
        self.forget()

    def parameters(self) -> list[Parameter]:
        """Return what an optimizer should update: the layer itself, LoRA's two tables, or nothing if it is frozen."""
        if self.lora is not None:
            return [self.lora.a, self.lora.b]
        return [] if self._frozen is True else [self]

    def regularization(self) -> float:
        """Return the regularizer's penalty of all that is trained: with LoRA of its two tables, as in Keras."""
        if self.lora is None:
            return super().regularization()
        return self.lora.a.regularization() + self.lora.b.regularization()

    def train(self, mode: bool = True) -> Self:
        """Remember forwards from now on; with ``mode=False`` as `eval`."""
        if self.lora is not None:
            self.lora.a.train(mode)
        return super().train(mode)

    def forget(self) -> None:
        """Forget the forwards of this thread that `backward` has not undone."""
        super().forget()
        if self.lora is not None:
            self.lora.forget()
