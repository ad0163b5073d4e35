"""Tables of one width that lie one after the other, so that one pass over memory looks up, or updates, all of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from fastemb.engine import operations
from fastemb.engine.arrays import accumulator
from fastemb.engine.device import DeviceArray, on_host
from fastemb.engine.features import plain_features
from fastemb.engine.gradients import RowGradient, gradient_of_bags, gradient_of_coefficients
from fastemb.engine.grouping import group
from fastemb.engine.ragged import Bags
from fastemb.engine.validate import integer
from fastemb.layers import initializers
from fastemb.layers.arena_lora import ArenaAdapter, adapt_arena
from fastemb.layers.bag import check_summing, reduced
from fastemb.layers.gathering import Feature, Gathered, Gatherer
from fastemb.layers.gathering_gpu import bags_there
from fastemb.layers.lora import check_adaptable
from fastemb.layers.memory import Memory, allocate, given_table, moved
from fastemb.layers.parameter import Parameter
from fastemb.layers.plan import TablePlan, naming
from fastemb.layers.rows import kept_dtype

__all__ = ["Arena", "ArenaLookup", "rows_of", "slices_of"]

MOST_LOOKUPS = 4  # a bag, with which it pays to read the gradients of bags where they lie


@dataclass(slots=True)
class ArenaLookup:
    """What a collection remembers of a forward, for each arena.

    Parameters
    ----------
    gathered : Gathered
    winners : array or None
        Of modes that compare.
    low : array (bags of all features, lora_rank) or None
        The bags of LoRA's first tables.
    num_moves : int
        Of the arena, when it was looked up.
    """

    gathered: Gathered
    winners: NDArray | None
    low: NDArray | None
    num_moves: int


class Arena(Parameter):
    """Tables of one width, one after the other.

    Parameters
    ----------
    plans : sequence of TablePlan
        The tables, in order, of one kind.
    features : dict of str
        The table of each feature; those of other arenas are left out.
    memory, shown
        As in `Parameter`.
    device : str
    generator : numpy.random.Generator
    """

    def __init__(
        self,
        plans: Sequence[TablePlan],
        features: Mapping[str, str],
        memory: Memory,
        shown: np.dtype,
        device: str,
        generator: np.random.Generator,
    ) -> None:
        first = plans[0]
        is_fixed = first.frozen is True and not memory.array.flags.writeable  # one that is given, so it is alone
        super().__init__(
            memory,
            shown,
            embeddings_regularizer=first.embeddings_regularizer,
            embeddings_constraint=first.embeddings_constraint,
            optimizer=None if is_fixed else first.optimizer,
        )
        self.plans = {plan.name: plan for plan in plans}
        self.mode, self.on_invalid, self.device, self.generator = first.mode, first.on_invalid, device, generator
        self.moves: list[tuple[int, list[tuple[int, int, int]]]] = []  # of rows, which an optimizer's state follows
        self.lora: ArenaAdapter | None = None
        self._table_of = {feature: table for feature, table in features.items() if table in self.plans}
        self._arrange()
        bounded = [plan.name for plan in plans if plan.max_norm is not None]
        if not self.table.flags.writeable:  # it is given, and so alone
            if bounded:
                raise ValueError(f"max_norm changes the table in place, but table {bounded[0]!r} is read-only")
            if self.optimizer is not None and first.lora_rank is None:
                raise ValueError(f"optimizer would change table {first.name!r}, but its W is read-only")
        if first.lora_rank is not None:
            self.enable_lora(first.lora_rank, first.lora_alpha)

    @classmethod
    def of(
        cls, plans: Sequence[TablePlan], features: Mapping[str, str], device: str, generator: np.random.Generator
    ) -> Self:
        """Return an arena of fresh tables, or of one that the user has given."""
        memory, shown = _memory_of(plans, generator)
        for plan in plans:
            plan.W = None  # it is the memory's now; numbers that were copied need not be kept
            if initializers.is_array(plan.embeddings_initializer):
                plan.embeddings_initializer = None
        return cls(plans, features, moved(memory, device), shown, device, generator)

    def _arrange(self) -> None:
        """Find where the tables are, what the features look up and what is frozen."""
        plans = self.plans
        self.tables = slices_of({name: plan.num_embeddings for name, plan in plans.items()})
        self.features = [
            Feature(name, table, self.tables[table].start, plans[table].num_embeddings, plans[table].padding_idx)
            for name, table in self._table_of.items()
        ]
        self._gatherer = Gatherer(self.features, len(self.table), accumulator(self.table.dtype), self.on_invalid)
        self._bounded = [plan for plan in plans.values() if plan.max_norm is not None]
        self.freeze({})

    def freeze(self, frozen: Mapping[str, Any]) -> None:
        """Give no gradient to tables, or to rows of them, by the tables' names; others stay as they are."""
        if self.lora is not None and frozen:
            raise ValueError(f"lora has frozen table {next(iter(frozen))!r}: call merge_lora before")
        for name, rows in frozen.items():
            self.plans[name].freeze(rows)
        each = [plan.frozen for plan in self.plans.values()]
        if self.lora is not None or all(rows is True for rows in each):
            self._frozen = True
        elif all(rows is False for rows in each):
            self._frozen = False
        else:
            mask = np.zeros(len(self.table), bool)
            for name, rows in self.tables.items():
                mask[rows] = self.plans[name].frozen
            self.frozen = mask

    def parameters(self) -> list[Parameter]:
        """Return what is trained: the arena, LoRA's two in its place, or nothing if it is frozen."""
        if self.lora is not None:
            return [self.lora.a, self.lora.b]
        return [] if self._frozen is True else [self]

    def gradients(self) -> dict[str, RowGradient]:
        """Return the gradient of each table, of its own rows, if there is one."""
        total = self.grad
        if total is None:
            return {}
        values = on_host(total.collect())
        parts = {}
        for name, rows in self.tables.items():
            first, stop = np.searchsorted(total.rows, [rows.start, rows.stop])
            parts[name] = RowGradient(total.rows[first:stop] - rows.start, values[first:stop])
        return parts

    @property
    def embedding_dim(self) -> int:
        """Columns of the tables."""
        return self.table.shape[1]

    # A forward and what undoes it.

    def gather(self, batch: Any, per_sample_weights: Any) -> Gathered:
        """Return the bags of all features as one batch of bags."""
        return self._gatherer.gather(batch, per_sample_weights, self.device)

    def look_up(self, gathered: Gathered) -> tuple[NDArray, ArenaLookup]:
        """Return a row for each bag, on the host unless the batch is on a GPU, and what is remembered of it."""
        low = None
        self.prepare(gathered.bags.indices, gathered)
        if self.device == "cuda":  # where all that follows needs them
            gathered = replace(gathered, bags=bags_there(gathered.bags))
        found, winners = reduced(self.table, gathered.bags, self.mode, self.device)
        found = found if gathered.is_there else on_host(found)
        if self.lora is not None:
            low = self.lora.add_to(found, gathered)
        return found, ArenaLookup(gathered, winners, low, len(self.moves))

    def serve(self, batch: Any) -> NDArray | None:
        """Return the bags of all features (num_bags, num_features, embedding_dim), read where they are.

        None where the batch is not a dict of plain arrays, where rows are changed before they are read, or where
        something is wrong: then `gather` and `look_up` do it, or say what is wrong.
        """
        if self.device == "cuda" or self.is_behind or self._bounded or self.lora is not None:
            return None
        return self._gatherer.serve(partial(plain_features, self.table, device=self.device), batch, self.mode)

    def prepare(self, indices: NDArray, gathered: Gathered | None = None) -> None:
        """Do what must be done to rows before they are read: put-off decay, and the bounds of norms."""
        self.catch_up(indices)
        if not self._bounded:
            return
        if gathered is not None and gathered.is_there:
            self._limit_norms_there(gathered)
            return
        # On a GPU each table groups for itself: the rows of all would have to come to the host to be parted.
        is_on_gpu = isinstance(self.table, DeviceArray)
        rows = indices if is_on_gpu else group(indices, len(self.table), device=self.device).rows
        with self._lock:
            for plan in self._bounded:
                assert plan.max_norm is not None
                own, norms = self.tables[plan.name], (plan.max_norm, plan.norm_type)
                if is_on_gpu:
                    operations.limit_norms(rows_of(self.table, own), rows - own.start, *norms, device=self.device)
                else:
                    part = rows[slice(*np.searchsorted(rows, [own.start, own.stop]))]
                    operations.renormalise(self.table, part, *norms, device=self.device)

    def _limit_norms_there(self, gathered: Gathered) -> None:
        """Bound the norms of rows that indices in a GPU's memory look up, feature by feature."""
        parts = gathered.lookups_of(self.features, gathered.bags.indices)
        with self._lock:
            for feature in self.features:
                plan, part = self.plans[feature.table], parts[feature.name]
                if plan.max_norm is not None:
                    operations.limit_norms(self.table, part, plan.max_norm, plan.norm_type, device=self.device)

    def reads_gradients_in_place(self, bags: Bags) -> bool:
        """Return whether the gradients of features need not lie in one array: they are used at once, to be summed."""
        few = len(bags.indices) <= MOST_LOOKUPS * bags.num_bags
        sums = self.mode in operations.SUMS and bags.coefficients is None and self.lora is None
        return few and sums and self.optimizer is not None and self.device == "cpu"

    def undo(
        self, call: ArenaLookup, grad: NDArray, by_freq: bool, places: NDArray | None = None
    ) -> list[tuple[Parameter, RowGradient]]:
        """Return the gradients of what is trained; `places` tell the rows of `grad`, if they do not follow the bags."""
        if self.lora is not None:
            assert call.low is not None
            return self.lora.undo(call.gathered, call.low, grad, by_freq)
        if self._frozen is True:
            return []
        return [(self, self.gradient(call.gathered.bags, grad, by_freq, call.winners, places))]

    def gradient(
        self, bags: Bags, grad: NDArray, by_freq: bool, winners: NDArray | None = None, places: NDArray | None = None
    ) -> RowGradient:
        """Return the gradient of the tables themselves."""
        size, mask = len(self.table), self._frozen_rows
        return gradient_of_bags(grad, bags, size, self.mode, by_freq, mask, winners, places=places, device=self.device)

    def gradient_of_weights(self, call: ArenaLookup, grad: NDArray) -> dict[str, NDArray]:
        """Return the gradient of per_sample_weights by feature, if they were given."""
        bags = call.gathered.bags
        if bags.coefficients is None:
            return {}
        found = gradient_of_coefficients(grad, self.table, bags, self.mode, device=self.device)
        if self.lora is not None:
            found = found + self.lora.gradient_of_weights(call.gathered, grad)
        return call.gathered.lookups_of(self.features, found if call.gathered.is_there else on_host(found))

    # Changes of the whole table.

    def resize(self, name: str, num_embeddings: int) -> None:
        """Give a table another number of rows: see `fastemb.EmbeddingBagCollection.resize`."""
        size, plan, old, before = (
            integer("num_embeddings", num_embeddings, 0),
            self.plans[name],
            self.tables,
            self.table,
        )
        sizes = {table: each.num_embeddings for table, each in self.plans.items()} | {name: size}
        new, kept = slices_of(sizes), min(size, plan.num_embeddings)
        spans = [(old[t].start, new[t].start, kept if t == name else sizes[t]) for t in sizes]

        def fill(table: NDArray) -> None:
            rows = on_host(before)
            for source, target, length in spans:
                table[target : target + length] = rows[source : source + length]
            initializers.fill(table[new[name]], plan.embeddings_initializer, self.generator, first=kept)

        with self._lock:
            plan.resize(size)
            self._memory = self._memory.resized(sum(sizes.values()), fill)
            self.moves.append((len(self.table), spans))
            self._arrange()
            self.zero_grad()
        if self.lora is not None:
            self.lora.a.resize(name, size)

    def to(self, device: str) -> None:
        """Move the tables to the memory of another device."""
        if device == "cuda" and self.lora is not None:
            raise ValueError("lora is not there for device 'cuda': merge it first")
        self.flush()
        memory = moved(self._memory, device)
        with self._lock:
            self.device, self._memory = device, memory
        for parameter in (self, *self.parameters()):
            parameter.zero_grad()

    def check_lora(self, rank: int, lora_alpha: float | None) -> tuple[int, float]:
        """Return LoRA's rank and alpha, if the tables can have it."""
        if self.device == "cuda":
            raise ValueError("lora is not there for device 'cuda'")
        check_summing(self.mode)
        return check_adaptable(self, rank, lora_alpha)

    def enable_lora(self, rank: int, lora_alpha: float | None = None, a: Any = "he_uniform", b: Any = "zeros") -> None:
        """Freeze the tables, and train a product of two small ones for each."""
        self.lora = adapt_arena(self, rank, lora_alpha, a, b)
        self._frozen, self.optimizer = True, None
        self.zero_grad()

    def merge_lora(self) -> None:
        """Add the products to the tables, and train these from then on."""
        if self.lora is None:
            return
        self.lora.merge(self.table)
        self.optimizer, self.lora = self.lora.a.optimizer, None
        self.freeze({})

    def kept_tables(self) -> dict[str, Any]:
        """Return the tables, and LoRA's, by name and what they are; put-off decay is done."""
        self.flush()
        found = {f"{name}.weight": rows_of(self.weight, rows) for name, rows in self.tables.items()}
        return found if self.lora is None else found | self.lora.kept_tables()


def _memory_of(plans: Sequence[TablePlan], generator: np.random.Generator) -> tuple[Memory, np.dtype]:
    """Return the memory of fresh tables, or of one that the user has given, and the dtype that it is shown in."""
    first, dtype = plans[0], plans[0].dtype
    if first.W is not None:
        with naming(first.name):
            return given_table(first.W, (first.num_embeddings, first.embedding_dim), dtype, first.frozen is True)
    kept, shown = kept_dtype(np.float32 if dtype is None else dtype)
    slices = slices_of({plan.name: plan.num_embeddings for plan in plans})

    def fill(table: NDArray) -> None:
        for plan in plans:
            with naming(plan.name):
                rows = table[slices[plan.name]]
                initializers.start_table(rows, plan.embeddings_initializer, generator, plan.padding_idx)

    shape = sum(plan.num_embeddings for plan in plans), first.embedding_dim
    return allocate(first.storage, shape, kept, fill), shown


def slices_of(sizes: Mapping[str, int]) -> dict[str, slice]:
    """Return the rows of each table where they lie one after the other.

    Examples
    --------
    >>> slices_of({"a": 2, "b": 3})
    {'a': slice(0, 2, None), 'b': slice(2, 5, None)}
    """
    ends = np.cumsum(list(sizes.values()), dtype=np.int64).tolist()
    return {name: slice(end - size, end) for (name, size), end in zip(sizes.items(), ends, strict=True)}


def rows_of(table: Any, rows: slice) -> Any:
    """Return neighbouring rows in the same memory."""
    return table.rows(rows) if isinstance(table, DeviceArray) else table[rows]
