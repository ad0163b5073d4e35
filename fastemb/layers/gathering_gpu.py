"""The columns of a batch in a GPU's memory as one batch of bags there: see `gathering`."""

from collections.abc import Mapping, Sequence
from functools import partial
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np

from fastemb.engine import gpu_features
from fastemb.engine.arrays import as_indices
from fastemb.engine.device import DeviceArray, on_host, there
from fastemb.engine.foreign import is_foreign, wrap
from fastemb.engine.ragged import Bags
from fastemb.layers.features import column_of, rectangle

if TYPE_CHECKING:
    from fastemb.layers.gathering import Feature, Gatherer

__all__ = ["bags_there", "gather_there"]


def gather_there(
    gatherer: "Gatherer", batch: Mapping[str, Any], per_sample_weights: Any
) -> tuple[Bags, int, list[int]]:
    """Return the bags of all features, those of a feature side by side; how many each has; where its lookups begin.

    Raises
    ------
    KeyError, TypeError, ValueError, IndexError
        Naming the feature; those of an index or offset in a GPU's memory may be put off.
    """
    parts = []
    for feature in gatherer.features:
        column = _column(batch, feature.name)
        weights = None if per_sample_weights is None else _weights(per_sample_weights, feature.name, column)
        parts.append(bags_there(gatherer.bags_of(feature, column, weights)))
    num_bags = gatherer.common_size([part.num_bags for part in parts])
    errors = [partial(_outside, gatherer, *each) for each in zip(gatherer.features, parts, strict=True)]
    firsts, sizes = zip(*((feature.first, feature.num_embeddings) for feature in gatherer.features), strict=True)
    indices, offsets = gpu_features.join_bags(parts, firsts, sizes, errors, wide=gatherer.wide)
    factors = [part.coefficients for part in parts if part.coefficients is not None]
    coefficients: Any = gpu_features.concatenate(factors) if factors else None  # type: ignore[arg-type]
    bounds = list(accumulate((len(part.indices) for part in parts), initial=0))
    return Bags(indices, offsets, coefficients, gatherer.padding_idx), num_bags, bounds  # type: ignore[arg-type]


def bags_there(bags: Bags) -> Bags:
    """Return bags whose arrays are the GPU's."""
    indices, offsets, coefficients = (
        array if array is None else there(array) for array in (bags.indices, bags.offsets, bags.coefficients)
    )
    return Bags(indices, offsets, coefficients, bags.padding_idx, bags.shape)  # type: ignore[arg-type]


def _outside(gatherer: "Gatherer", feature: "Feature", part: Bags, place: int) -> Exception:
    host = Bags(on_host(part.indices), on_host(part.offsets), None, part.padding_idx, part.shape)
    return gatherer.outside(place, host, feature)


def _column(batch: Mapping[str, Any], name: str) -> Any:
    """Return a column as bags are made of it, an array of one index a row as one of rows of one."""
    found: Any = batch.get(name)
    parts: Sequence[Any] = found if type(found) is tuple else (found,)
    if not any(is_foreign(part) for part in parts):
        column = column_of(batch, name)
        block = None if type(column) is tuple else rectangle(column)
        return column if block is None else block
    if type(found) is tuple:
        return tuple(found)
    array: Any = as_indices(found, f"feature {name!r}")
    return array.reshape(len(array), 1) if array.ndim == 1 else array


def _weights(per_sample_weights: Any, name: str, column: Any) -> Any:
    """Return the weights of a column in its form."""
    is_there = isinstance(per_sample_weights, Mapping) and is_foreign(per_sample_weights.get(name))
    weights = wrap(per_sample_weights[name], name) if is_there else column_of(per_sample_weights, name)
    shape: tuple[int, ...] = getattr(column, "shape", ())
    if len(shape) == 2 and np.ndim(weights) == 1 and len(weights) == shape[0] * shape[1]:
        return weights.reshape(*shape) if isinstance(weights, DeviceArray) else np.asarray(weights).reshape(shape)
    return weights
