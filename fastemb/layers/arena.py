"""Tables of one width that lie one after the other, so that one pass over memory looks up, or updates, all of them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastemb.engine.arrays import accumulator, as_indices
from fastemb.engine.gradients import RowGradient
from fastemb.engine.ragged import Bags, as_bags, index_error, settle_invalid
from fastemb.layers.features import column_of, rectangle
from fastemb.layers.initializers import start_table
from fastemb.layers.memory import Memory, allocate
from fastemb.layers.parameter import Parameter
from fastemb.layers.rows import kept_dtype

__all__ = ["Arena", "Feature", "Gathered", "make_memory"]

NO_ROW = -1


@dataclass(frozen=True, slots=True)
class Feature:
    """A column of the batch, and the part of the arena that it looks up.

    Parameters
    ----------
    name : str
    first : int
        The first row of its table in the arena.
    num_embeddings : int
        Rows of its table.
    padding_idx : int, optional
        Of its table.
    """

    name: str
    first: int
    num_embeddings: int
    padding_idx: int | None


@dataclass(slots=True)
class Gathered:
    """The bags of all features of an arena, as one batch of bags.

    Parameters
    ----------
    bags : Bags
        Of rows of the arena.
    num_bags : int
        Of one feature.
    by_sample : bool
        Whether the bags of a sample lie side by side, or those of a feature.
    """

    bags: Bags
    num_bags: int
    by_sample: bool

    def block(self, found: NDArray) -> NDArray:
        """Return the rows of all bags as an array (num_bags, num_features, embedding_dim)."""
        if self.by_sample:
            return found.reshape(self.num_bags, -1, found.shape[1])
        return found.reshape(-1, self.num_bags, found.shape[1]).transpose(1, 0, 2)

    def lookups_of(self, features: list[Feature], values: NDArray) -> dict[str, NDArray]:
        """Return values of all lookups by feature, of bags that are not by sample."""
        bounds = self.bags.offsets[:: self.num_bags] if self.num_bags else np.zeros(len(features) + 1, np.int64)
        return {feature.name: values[bounds[n] : bounds[n + 1]] for n, feature in enumerate(features)}


class Arena(Parameter):
    """Tables of one width, one after the other.

    Parameters
    ----------
    memory, shown, **options
        As in `Parameter`.
    sizes : dict of int
        The rows of each table, in order.
    features : dict of str
        The table of each feature; those of other arenas are left out.
    paddings : dict of int or None
        The padding row of each table.
    on_invalid : {"raise", "clip", "pad", "hash"}
    """

    def __init__(
        self,
        memory: Memory,
        shown: np.dtype,
        sizes: Mapping[str, int],
        features: Mapping[str, str],
        paddings: Mapping[str, int | None],
        on_invalid: str,
        **options: Any,
    ) -> None:
        super().__init__(memory, shown, **options)
        self.tables = slices_of(sizes)
        self.features = [
            Feature(name, self.tables[table].start, sizes[table], paddings[table])
            for name, table in features.items()
            if table in sizes
        ]
        self.on_invalid = on_invalid
        self._firsts = np.array([feature.first for feature in self.features], np.int64)
        self._sizes = np.array([feature.num_embeddings for feature in self.features], np.int64)
        none = NO_ROW if on_invalid == "pad" else np.iinfo(np.int64).min
        found = [none if feature.padding_idx is None else feature.padding_idx for feature in self.features]
        some = on_invalid == "pad" or any(padding != none for padding in found)
        self._paddings = np.array(found, np.int64) if some else None

    def freeze(self, names: Collection[str]) -> None:
        """Give no gradient to the tables that are named."""
        if self.tables.keys() <= set(names):
            self.frozen = True
        elif not self.tables.keys().isdisjoint(names):
            mask = np.zeros(len(self.table), bool)
            for name in self.tables.keys() & set(names):
                mask[self.tables[name]] = True
            self.frozen = mask

    def gradients(self) -> dict[str, RowGradient]:
        """Return the gradient of each table, of its own rows, if there is one."""
        total = self.grad
        if total is None:
            return {}
        values = total.collect()
        parts = {}
        for name, rows in self.tables.items():
            first, stop = np.searchsorted(total.rows, [rows.start, rows.stop])
            parts[name] = RowGradient(total.rows[first:stop] - rows.start, values[first:stop])
        return parts

    @property
    def padding_idx(self) -> int | None:
        """What stands for a lookup of no row."""
        return None if self._paddings is None else NO_ROW

    def gather(self, batch: Any, per_sample_weights: Any) -> Gathered:
        """Return the bags of all features as one batch of bags.

        Raises
        ------
        KeyError, TypeError, ValueError, IndexError
            Naming the feature.
        """
        columns = [column_of(batch, feature.name) for feature in self.features]
        blocks = [rectangle(column) for column in columns]
        if per_sample_weights is not None:
            weights = [column_of(per_sample_weights, feature.name) for feature in self.features]
            return self._gather_ragged(columns, blocks, [_like(w, b) for w, b in zip(weights, blocks, strict=True)])
        if all(block is not None for block in blocks):
            return self._gather_rectangles(blocks)
        return self._gather_ragged(columns, blocks, None)

    def _gather_rectangles(self, blocks: list[Any]) -> Gathered:
        """Put the bags of a sample side by side."""
        num_bags = self._common_size([len(block) for block in blocks])
        if self.on_invalid != "raise":
            blocks = [self._settled(block, n) for n, block in enumerate(blocks)]
        lengths = [block.shape[1] for block in blocks]
        indices = as_indices(np.concatenate(blocks, axis=1))
        same = len(set(lengths)) == 1
        self._shift(indices.reshape(num_bags, len(blocks), -1) if same else indices, None if same else lengths)
        ends = np.cumsum(lengths)
        offsets = np.zeros(num_bags * len(lengths) + 1, np.int64)
        np.add.outer(np.arange(num_bags) * ends[-1], ends, out=offsets[1:].reshape(num_bags, len(lengths)))
        shape = (len(offsets) - 1, lengths[0]) if same else None
        return Gathered(Bags(indices.reshape(-1), offsets, None, self.padding_idx, shape), num_bags, True)

    def _shift(self, indices: NDArray, lengths: list[int] | None) -> None:
        """Turn indices of tables into rows of the arena, in place.

        Parameters
        ----------
        indices : array (num_bags, num_features, length), or (num_bags, sum of lengths)
        lengths : list of int, optional
            For the second form.
        """
        unsigned = np.dtype(f"u{indices.itemsize}")
        spread = (lambda v: v[:, None]) if lengths is None else (lambda v: np.repeat(v, lengths))
        outside = indices.view(unsigned) >= spread(self._sizes).astype(unsigned)
        left_out = None if self._paddings is None else indices == spread(self._paddings)
        if left_out is not None:
            outside &= ~left_out
        if outside.any():
            flat = outside.reshape(len(indices), -1)
            widths = lengths or [indices.shape[2]] * indices.shape[1]
            starts = np.cumsum([0, *widths])
            for n, feature in enumerate(self.features):
                part = slice(starts[n], starts[n + 1])
                _raise_first(feature, indices.reshape(flat.shape)[:, part], flat[:, part])
        indices += spread(self._firsts).astype(indices.dtype)
        if left_out is not None:
            indices[left_out] = NO_ROW

    def _settled(self, block: NDArray, n: int) -> NDArray:
        feature = self.features[n]
        return settle_invalid(block, feature.num_embeddings, feature.padding_idx, self.on_invalid)[0]

    def _gather_ragged(self, columns: list[Any], blocks: list[Any], weights: list[Any] | None) -> Gathered:
        """Put the bags of a feature side by side, as they come."""
        parts = []
        for n, feature in enumerate(self.features):
            given = columns[n] if blocks[n] is None else blocks[n]
            parts.append(self._bags_of(feature, given, None if weights is None else weights[n]))
        num_bags = self._common_size([part.num_bags for part in parts])
        total = sum(len(part.indices) for part in parts)
        indices = np.empty(total, np.result_type(np.int32, *(part.indices for part in parts)))
        offsets = np.zeros(num_bags * len(parts) + 1, np.int64)
        done = 0
        for n, (feature, part) in enumerate(zip(self.features, parts, strict=True)):
            stop = done + len(part.indices)
            np.add(part.indices, feature.first, out=indices[done:stop], casting="same_kind")
            if part.padding_idx is not None:
                indices[done:stop][part.indices == part.padding_idx] = NO_ROW
            np.add(part.offsets[1:], done, out=offsets[n * num_bags + 1 : (n + 1) * num_bags + 1])
            done = stop
        factors = None if weights is None else np.concatenate([part.coefficients for part in parts])
        return Gathered(Bags(indices, offsets, factors, self.padding_idx), num_bags, False)

    def _bags_of(self, feature: Feature, column: Any, weights: Any) -> Bags:
        """Return the bags of one feature, their indices checked against its own table."""
        dtype = accumulator(self.table.dtype)
        options: Any = {"padding_idx": feature.padding_idx, "on_invalid": self.on_invalid}
        try:
            bags = as_bags(column, None, feature.num_embeddings, dtype, per_sample_weights=weights, **options)
        except (TypeError, ValueError) as error:
            raise type(error)(f"feature {feature.name!r}: {error}") from None
        falls = np.diff(bags.offsets) < 0
        if falls.any():
            fault = index_error(-2 - int(np.argmax(falls)), bags, feature.num_embeddings)
            raise ValueError(f"feature {feature.name!r}: {fault}")
        outside = (bags.indices < 0) | (bags.indices >= feature.num_embeddings)
        if bags.padding_idx is not None:
            outside &= bags.indices != bags.padding_idx
        if outside.any():
            fault = index_error(int(np.argmax(outside)), bags, feature.num_embeddings)
            raise IndexError(f"feature {feature.name!r}: {fault}")
        return bags

    def _common_size(self, sizes: list[int]) -> int:
        for feature, size in zip(self.features, sizes, strict=True):
            if size != sizes[0]:
                first = self.features[0].name
                raise ValueError(f"feature {feature.name!r} must have {sizes[0]} rows as {first!r} has, got {size}")
        return sizes[0]


def _like(weights: Any, block: NDArray | None) -> Any:
    """Return the weights of a column in its form: one of a single index a sample has become rows of one."""
    if block is None or np.ndim(weights) != 1 or len(weights) != block.size:
        return weights
    return np.asarray(weights).reshape(block.shape)


def slices_of(sizes: Mapping[str, int]) -> dict[str, slice]:
    """Return the rows of each table where they lie one after the other.

    Examples
    --------
    >>> slices_of({"a": 2, "b": 3})
    {'a': slice(0, 2, None), 'b': slice(2, 5, None)}
    """
    ends = np.cumsum(list(sizes.values()), dtype=np.int64).tolist()
    return {name: slice(end - size, end) for (name, size), end in zip(sizes.items(), ends, strict=True)}


def make_memory(
    sizes: Mapping[str, int],
    width: int,
    starts: Mapping[str, Any],
    paddings: Mapping[str, int | None],
    dtype: Any,
    storage: str | None,
    generator: np.random.Generator,
) -> tuple[Memory, np.dtype]:
    """Return memory for tables of one width with their starting numbers, and the dtype that it is shown in."""
    kept, shown = kept_dtype(dtype)

    def fill(arena: NDArray) -> None:
        for name, rows in slices_of(sizes).items():
            start_table(arena[rows], starts[name], generator, paddings[name])

    return allocate(storage, (sum(sizes.values()), width), kept, fill), shown


def _raise_first(feature: Feature, block: NDArray, outside: NDArray) -> None:
    """Raise for the first index of a block that is outside, if one is."""
    if outside.any():
        bags = Bags(block.reshape(-1), np.zeros(1, np.int64), shape=block.shape)
        error = index_error(int(np.argmax(outside)), bags, feature.num_embeddings)
        raise IndexError(f"feature {feature.name!r}: {error}")
