"""The columns of a batch as one batch of bags of rows, where tables of one width lie one after the other."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastemb.engine import operations
from fastemb.engine.arrays import as_indices
from fastemb.engine.checks import index_error
from fastemb.engine.device import DeviceArray
from fastemb.engine.features import gather, shift
from fastemb.engine.ragged import Bags, as_bags, padding_number, settle_invalid
from fastemb.layers.features import column_of, foreign_column, rectangles
from fastemb.layers.gathering_gpu import gather_there

__all__ = ["NO_ROW", "Feature", "Gathered", "Gatherer"]

NO_ROW = -1


@dataclass(frozen=True, slots=True)
class Feature:
    """A column of the batch, and the part of the arena that it looks up.

    Parameters
    ----------
    name : str
    table : str
        The name of its table.
    first : int
        The first row of its table in the arena.
    num_embeddings : int
        Rows of its table.
    padding_idx : int, optional
        Of its table.
    """

    name: str
    table: str
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
    bounds : sequence of int, optional
        Where the lookups of each feature begin, and those of the last end, if bags are not by sample.
    is_there : bool, default False
        Whether the batch is in a GPU's memory, and what is found stays there.
    """

    bags: Bags
    num_bags: int
    by_sample: bool
    bounds: Sequence[int] = ()
    is_there: bool = False

    def block(self, found: Any, num_features: int) -> Any:
        """Return the rows of all bags as (num_bags, num_features, embedding_dim); there an array for each feature."""
        if self.is_there:
            return [found.rows(self.bags_of(n, num_features)) for n in range(num_features)]
        if self.by_sample:
            return found.reshape(self.num_bags, num_features, found.shape[1])
        return found.reshape(num_features, self.num_bags, found.shape[1]).transpose(1, 0, 2)

    def bags_of(self, n: int, num_features: int) -> slice:
        """Return where the bags of feature number `n` are."""
        return slice(n, None, num_features) if self.by_sample else slice(n * self.num_bags, (n + 1) * self.num_bags)

    def lookups_of(self, features: list[Feature], values: NDArray) -> dict[str, NDArray]:
        """Return values of all lookups by feature, of bags that are not by sample."""
        parts = [slice(*each) for each in pairwise(self.bounds)]
        rows_of = values.rows if isinstance(values, DeviceArray) else values.__getitem__
        return {feature.name: rows_of(part) for feature, part in zip(features, parts, strict=True)}


class Gatherer:
    """What finds the lookups of all features that go to one array of tables.

    Parameters
    ----------
    features : sequence of Feature
    num_embeddings : int
        Rows of the array.
    dtype : numpy.dtype
        Of its accumulators.
    on_invalid : {"raise", "clip", "pad", "hash"}
    """

    def __init__(self, features: Sequence[Feature], num_embeddings: int, dtype: np.dtype, on_invalid: str) -> None:
        self.features, self.dtype, self.on_invalid = list(features), dtype, on_invalid
        self.wide = num_embeddings > np.iinfo(np.int32).max  # whether rows need more than 32 bits
        self._firsts = np.array([feature.first for feature in self.features], np.int64)
        self._sizes = np.array([feature.num_embeddings for feature in self.features], np.int64)
        none = NO_ROW if on_invalid == "pad" else np.iinfo(np.int64).min
        found = [none if feature.padding_idx is None else feature.padding_idx for feature in self.features]
        some = on_invalid == "pad" or any(padding != none for padding in found)
        self._paddings = np.array(found, np.int64) if some else None

        self._names = [feature.name for feature in self.features]
        self._told = np.zeros((len(self.features), 6), np.int64)  # as kernels take them
        self._told[:, 3:] = [
            (feature.first, feature.num_embeddings, padding_number(feature.padding_idx)) for feature in self.features
        ] or np.zeros((0, 3))

    def serve(self, read: Callable[..., NDArray | None], batch: Any, mode: str) -> NDArray | None:
        """Return the bags of all features, (num_bags, num_features, embedding_dim), if they are plain arrays.

        What reads the tables, `read`, takes the arguments of `features.plain_features` behind the table.
        """
        if type(batch) is not dict or self.on_invalid != "raise" or mode not in operations.SUMS:
            return None
        found = read(batch, self._names, self._told, mode)
        if found is None:
            return None
        return found.reshape(len(found), len(self.features), found.shape[1] // len(self.features))

    @property
    def padding_idx(self) -> int | None:
        """What stands for a lookup of no row."""
        return None if self._paddings is None else NO_ROW

    def gather(self, batch: Any, per_sample_weights: Any, device: str) -> Gathered:
        """Return the bags of all features as one batch of bags.

        Raises
        ------
        KeyError, TypeError, ValueError, IndexError
            Naming the feature.
        """
        if device == "cuda" and foreign_column(batch, self._names) is not None:
            bags, num_bags, bounds = gather_there(self, batch, per_sample_weights)
            return Gathered(bags, num_bags, False, bounds, True)
        if type(batch) is dict and per_sample_weights is None and self.on_invalid == "raise":
            found = gather(batch, self._names, self._told, self.wide, device)
            if found is not None:
                return self._gathered(*found)
        columns = [column_of(batch, feature.name) for feature in self.features]
        blocks = rectangles(columns)
        if per_sample_weights is None and all(block is not None and block.shape[1] == 1 for block in blocks):
            return self._gather_single(blocks)
        given = [column if block is None else block for column, block in zip(columns, blocks, strict=True)]
        if per_sample_weights is None:
            return self._gather_bags(given, [None] * len(given), device)
        weights = [column_of(per_sample_weights, feature.name, "per_sample_weights") for feature in self.features]
        weights = [_like(w, block) for w, block in zip(weights, blocks, strict=True)]
        return self._gather_bags(given, weights, device)

    def _gathered(self, rows: NDArray, offsets: NDArray | None) -> Gathered:
        """Return rows with the offsets of the bags of all features; without, those of a sample are side by side."""
        if offsets is None:
            bags = Bags(rows, np.arange(len(rows) + 1), None, self.padding_idx, (len(rows), 1))
            return Gathered(bags, len(rows) // len(self.features), True)
        num_bags = (len(offsets) - 1) // len(self.features)
        bounds = offsets[::num_bags].tolist() if num_bags else [0] * (len(self.features) + 1)
        return Gathered(Bags(rows, offsets, None, self.padding_idx), num_bags, False, bounds)

    def _gather_single(self, blocks: list[Any]) -> Gathered:
        """Put the bags of a sample, of one index each, side by side: then its rows lie side by side, too."""
        self.common_size([len(block) for block in blocks])
        if self.on_invalid != "raise":
            blocks = [self._settled(block, feature) for block, feature in zip(blocks, self.features, strict=True)]
        indices = as_indices(np.concatenate(blocks, axis=1))
        left_out = None if self._paddings is None else indices == self._paddings
        unsigned = np.dtype(f"u{indices.itemsize}")
        outside = indices.view(unsigned) >= self._sizes.astype(unsigned)
        if left_out is not None:
            outside &= ~left_out
        if outside.any():
            sample, n = map(int, np.argwhere(outside)[0])
            raise self.outside(sample, Bags(indices[:, n], self._sizes, shape=blocks[n].shape), self.features[n])
        if self.wide and indices.dtype == np.int32:
            indices = indices.astype(np.int64)
        indices += self._firsts.astype(indices.dtype)
        if left_out is not None:
            indices[left_out] = NO_ROW
        return self._gathered(indices.reshape(-1), None)

    def _settled(self, block: NDArray, feature: Feature) -> NDArray:
        return settle_invalid(block, feature.num_embeddings, feature.padding_idx, self.on_invalid)[0]

    def _gather_bags(self, columns: list[Any], weights: list[Any], device: str) -> Gathered:
        """Put the bags of a feature side by side: the lookups of one table follow each other."""
        parts = [self.bags_of(*each) for each in zip(self.features, columns, weights, strict=True)]
        num_bags = self.common_size([part.num_bags for part in parts])
        total = sum(len(part.indices) for part in parts)
        narrowest = np.int64 if self.wide else np.int32
        indices = np.empty(total, np.result_type(narrowest, *(part.indices for part in parts)))
        offsets = np.zeros(num_bags * len(parts) + 1, np.int64)
        done = 0
        for n, (feature, part) in enumerate(zip(self.features, parts, strict=True)):
            stop = done + len(part.indices)
            status = shift(part, feature.first, feature.num_embeddings, indices[done:stop], device)
            if status != -1:
                raise self.outside(status, part, feature)
            np.add(part.offsets[1:], done, out=offsets[n * num_bags + 1 : (n + 1) * num_bags + 1])
            done = stop
        factors = [part.coefficients for part in parts if part.coefficients is not None]
        gathered = self._gathered(indices, offsets)
        gathered.bags.coefficients = np.concatenate(factors) if factors else None
        return gathered

    def bags_of(self, feature: Feature, column: Any, weights: Any) -> Bags:
        """Return the bags of one feature, its indices and offsets checked."""
        options: Any = {"padding_idx": feature.padding_idx, "on_invalid": self.on_invalid}
        try:
            bags = as_bags(column, None, feature.num_embeddings, self.dtype, per_sample_weights=weights, **options)
        except (TypeError, ValueError) as error:
            raise type(error)(f"feature {feature.name!r}: {error}") from None
        if isinstance(bags.offsets, np.ndarray) and (bags.shape is None or len(bags.shape) == 1):
            falls = bags.offsets[1:] < bags.offsets[:-1]
            if falls.any():
                raise self.outside(-2 - int(np.argmax(falls)), bags, feature)
        return bags

    def outside(self, status: int, bags: Bags, feature: Feature) -> Exception:
        """Return the exception for a status, as kernels return it, of one feature's bags."""
        error = index_error(status, bags, feature.num_embeddings)
        return type(error)(f"feature {feature.name!r}: {error}")

    def common_size(self, sizes: list[int]) -> int:
        """Return how many rows all features have."""
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
