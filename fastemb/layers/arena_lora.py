"""Low-rank adaptation of tables that lie one after the other: a lookup of all, and a product for each feature."""

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastemb.engine.gradients import RowGradient, gradient_of_coefficients
from fastemb.layers.bag import reduced
from fastemb.layers.gathering import Gathered
from fastemb.layers.initializers import fill
from fastemb.layers.lora import add_product, small_dtype
from fastemb.layers.memory import allocate
from fastemb.layers.parameter import Parameter
from fastemb.layers.rows import add_rows, read_rows

if TYPE_CHECKING:
    from fastemb.layers.arena import Arena

__all__ = ["ArenaAdapter", "adapt_arena"]


class ArenaAdapter:
    """What LoRA adds to the output of an arena.

    Parameters
    ----------
    a : Arena
        A of each table, of `rank` columns.
    b : Parameter
        B of each table (num_tables * rank, embedding_dim), one after the other.
    scale : float
    """

    def __init__(self, a: "Arena", b: Parameter, scale: float) -> None:
        self.a, self.b, self.scale = a, b, scale

    def _blocks(self) -> dict[str, slice]:
        """Return the rows of B by table."""
        rank = self.a.table.shape[1]
        return {name: slice(n * rank, (n + 1) * rank) for n, name in enumerate(self.a.tables)}

    def _parts(self, gathered: Gathered) -> Iterator[tuple[slice, slice]]:
        """Yield the bags of each feature, and the rows of its table's B."""
        blocks, features = self._blocks(), self.a.features
        for n, feature in enumerate(features):
            yield gathered.bags_of(n, len(features)), blocks[feature.table]

    def add_to(self, found: NDArray, gathered: Gathered) -> NDArray:
        """Add to the rows of all bags; return the bags of A."""
        self.a.prepare(gathered.bags.indices)
        low, _ = reduced(self.a.table, gathered.bags, self.a.mode, self.a.device)
        for bags, block in self._parts(gathered):
            add_rows(found, bags, self.scale * (low[bags] @ self.b.weight[block]))
        return low

    def _grad_of_a(self, gathered: Gathered, grad: NDArray) -> NDArray:
        """Return the gradient of the bags of A."""
        out = np.empty((len(grad), self.a.table.shape[1]), self.b.dtype)
        for bags, block in self._parts(gathered):
            out[bags] = self.scale * (read_rows(grad, bags) @ self.b.weight[block].T)
        return out

    def undo(
        self, gathered: Gathered, low: NDArray, grad: NDArray, by_freq: bool
    ) -> list[tuple[Parameter, RowGradient]]:
        """Return the gradients of A and of B."""
        product = np.zeros_like(self.b.weight)
        used = np.zeros(len(product), bool)
        for bags, block in self._parts(gathered):
            product[block] += self.scale * (low[bags].T @ read_rows(grad, bags))
            used[block] = True
        rows = np.flatnonzero(used)
        of_a = self.a.gradient(gathered.bags, self._grad_of_a(gathered, grad), by_freq)
        return [(self.a, of_a), (self.b, RowGradient(rows, product[rows]))]

    def gradient_of_weights(self, gathered: Gathered, grad: NDArray) -> NDArray:
        """Return the part of the gradient of per_sample_weights that comes by the product."""
        return gradient_of_coefficients(
            self._grad_of_a(gathered, grad), self.a.table, gathered.bags, self.a.mode, device=self.a.device
        )

    def merge(self, table: NDArray) -> None:
        """Add the products to the tables, as kernels take them."""
        for name, block in self._blocks().items():
            rows = self.a.tables[name]
            add_product(table[rows], self.a.weight[rows], self.b.weight[block], self.scale)

    def kept_tables(self) -> dict[str, NDArray]:
        """Return A and B of each table by name."""
        self.a.flush()
        self.b.flush()
        found = {}
        for name, block in self._blocks().items():
            found[f"{name}.lora_embeddings_a"] = self.a.weight[self.a.tables[name]]
            found[f"{name}.lora_embeddings_b"] = self.b.weight[block]
        return found


def adapt_arena(
    arena: "Arena", rank: int, lora_alpha: float | None, a_initializer: Any, b_initializer: Any
) -> ArenaAdapter:
    """Return an adapter for an arena, whose tables are trained as the arena was; see `TableLayer.enable_lora`."""
    rank, alpha = arena.check_lora(rank, lora_alpha)
    dtype = small_dtype(arena.dtype)
    told: dict[str, Any] = {"embeddings_initializer": a_initializer, "dtype": dtype, "optimizer": arena.optimizer}
    told |= {"max_norm": None, "storage": None, "lora_rank": None, "lora_alpha": None, "embedding_dim": rank}
    plans = [
        replace(plan, frozen=plan.frozen if isinstance(plan.frozen, np.ndarray) else False, **told)
        for plan in arena.plans.values()
    ]
    features = {feature.name: feature.table for feature in arena.features}
    a = type(arena).of(plans, features, arena.device, arena.generator)

    def fill_b(table: NDArray) -> None:
        for first in range(0, len(table), rank):
            fill(table[first : first + rank], b_initializer, arena.generator)

    memory = allocate(None, (rank * len(plans), arena.table.shape[1]), dtype, fill_b)
    b = Parameter(memory, dtype, embeddings_regularizer=arena.embeddings_regularizer, optimizer=arena.optimizer)
    return ArenaAdapter(a, b, alpha / rank)
