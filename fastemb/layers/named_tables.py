"""Tables by name, those of one kind in one memory: their numbers, gradients, and what is changed of whole tables."""

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fastemb.engine.backend import checked_device
from fastemb.engine.device import on_host
from fastemb.engine.gradients import RowGradient
from fastemb.engine.validate import choice
from fastemb.layers.arena import Arena, rows_of
from fastemb.layers.parameter import Parameter
from fastemb.layers.plan import frozen_by_name
from fastemb.layers.saving import load_tables
from fastemb.layers.tape import Remembering

__all__ = ["NamedTables"]


class NamedTables(Remembering):
    """What an `EmbeddingBagCollection` does with its tables besides looking them up.

    Parameters
    ----------
    arenas : list of Arena
        Of the tables of each kind.

    Examples
    --------
    >>> from fastemb import EmbeddingBagCollection
    >>> layer = EmbeddingBagCollection({"user": (5, 2), "item": (3, 4)})
    >>> isinstance(layer, NamedTables), len(layer.arenas), layer.weights["item"].shape
    (True, 2, (3, 4))
    """

    device: str

    def __init__(self, arenas: list[Arena]) -> None:
        super().__init__()
        self.arenas = arenas

    @property
    def weights(self) -> dict[str, NDArray]:
        """The tables themselves, by name."""
        return {name: rows_of(arena.weight, rows) for arena in self.arenas for name, rows in arena.tables.items()}

    @property
    def grad(self) -> dict[str, RowGradient]:
        """What `backward` has collected since `zero_grad`, by table, of those that have a gradient."""
        return {name: part for arena in self.arenas for name, part in arena.gradients().items()}

    def zero_grad(self) -> None:
        """Forget the gradients that were collected."""
        for arena in self.arenas:
            for parameter in (arena, *arena.parameters()):
                parameter.zero_grad()

    def parameters(self) -> list[Parameter]:
        """Return what an optimizer should update: an array for each kind of tables, but those that are frozen.

        With LoRA its two small ones in the place of each.
        """
        return [parameter for arena in self.arenas for parameter in arena.parameters()]

    def regularization(self) -> float:
        """Return the regularizer's penalty of all that is trained, 0 without one."""
        return sum(parameter.regularization() for parameter in self.parameters())

    @property
    def frozen(self) -> dict[str, bool | NDArray[np.bool_]]:
        """Whether a table gets no gradient, or which of its rows get none, by name.

        Setting it takes what `freeze` takes; a dict changes the tables that it names.

        Examples
        --------
        >>> from fastemb import EmbeddingBagCollection
        >>> layer = EmbeddingBagCollection({"user": (2, 4), "item": (9, 4)})
        >>> layer.frozen = {"user": [True, False]}
        >>> layer.frozen
        {'user': array([ True, False]), 'item': False}
        """
        return {name: plan.frozen for arena in self.arenas for name, plan in arena.plans.items()}

    @frozen.setter
    def frozen(self, freeze: Any) -> None:
        changes = frozen_by_name(freeze, self._home)
        for arena in self.arenas:
            arena.flush()
            arena.freeze({name: rows for name, rows in changes.items() if name in arena.plans})

    @property
    def _home(self) -> dict[str, Arena]:
        return {name: arena for arena in self.arenas for name in arena.plans}

    def resize(self, name: str, num_embeddings: int) -> None:
        """Give a table another number of rows, as `fastemb.Embedding.resize` does.

        Rows that stay keep their numbers and what an optimizer knows of them; new ones are drawn as a fresh table's,
        and are not frozen. Gradients and forwards of before are forgotten. The tables of its kind are copied along, so
        arrays that were taken from `weights` show what was.

        Parameters
        ----------
        name : str
        num_embeddings : int

        Raises
        ------
        ValueError
            If there is no such table, or its padding row would go.

        Examples
        --------
        >>> from fastemb import EmbeddingBagCollection
        >>> layer = EmbeddingBagCollection({"user": (2, 4), "item": (9, 4)})
        >>> layer.resize("user", 5)
        >>> layer.weights["user"].shape
        (5, 4)
        """
        self._home[choice("name", name, self._home)].resize(name, num_embeddings)
        self.forget()

    def to(self, device: str) -> Self:
        """Move the tables to the memory of another device, as `fastemb.Embedding.to` does; return the collection.

        Parameters
        ----------
        device : {"cpu", "reference", "cuda"}
        """
        checked_device(device)
        for arena in self.arenas:
            arena.to(device)
        self.device = device
        self.forget()
        return self

    def enable_lora(
        self,
        rank: int,
        lora_alpha: float | None = None,
        a_initializer: Any = "he_uniform",
        b_initializer: Any = "zeros",
    ) -> None:
        """Freeze the tables, and train a product of two small ones that is added to each, as Keras does.

        Parameters
        ----------
        rank, lora_alpha, a_initializer, b_initializer
            See `fastemb.layers.table.TableLayer.enable_lora`. To adapt some of the tables only, name them in the
            constructor's `lora_rank`.

        Raises
        ------
        ValueError
            If there is a constraint, a mode that compares, or LoRA already; nothing is changed then.

        Examples
        --------
        >>> from fastemb import EmbeddingBagCollection
        >>> layer = EmbeddingBagCollection({"user": (2, 4), "item": (9, 4)}, seed=0)
        >>> before = layer({"user": [1], "item": [3]})["item"]
        >>> layer.enable_lora(2)
        >>> np.array_equal(layer({"user": [1], "item": [3]})["item"], before)
        True
        """
        for arena in self.arenas:
            arena.check_lora(rank, lora_alpha)
        for arena in self.arenas:
            arena.enable_lora(rank, lora_alpha, a_initializer, b_initializer)
        self.forget()

    def merge_lora(self) -> None:
        """Add LoRA's products to the tables that have them, and train these from then on.

        Raises
        ------
        ValueError
            If LoRA is not enabled.
        """
        adapted = [arena for arena in self.arenas if arena.lora is not None]
        if not adapted:
            raise ValueError("lora is not enabled, so there is nothing to merge")
        for arena in adapted:
            arena.merge_lora()
        self.forget()

    def state_dict(self) -> dict[str, NDArray]:
        """Return the tables as ``{"name.weight": table}``, and LoRA's: not copied, but those in a GPU's memory."""
        return {name: on_host(table) for name, table in self._tables().items()}

    def _tables(self) -> dict[str, Any]:
        return {name: table for arena in self.arenas for name, table in arena.kept_tables().items()}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> None:
        """Copy numbers into the tables; see `fastemb.Embedding.load_state_dict`."""
        load_tables(self._tables(), state_dict, strict)
