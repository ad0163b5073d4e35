"""What a trained and a quantized collection share: a batch in, by feature, and the form of what is returned."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fastemb.engine import operations
from fastemb.engine.validate import choice
from fastemb.layers.features import has_column
from fastemb.layers.gathering import Feature, Gathered

__all__ = ["FeatureTables", "checked_features"]

OUTPUTS = ("dict", "concatenate")


class Tables(Protocol):
    """Tables of one width that are looked up in one pass."""

    mode: str
    features: list[Feature]

    @property
    def embedding_dim(self) -> int:
        """Columns of the tables."""

    def gather(self, batch: Any, per_sample_weights: Any) -> Gathered:
        """Return the bags of all features as one batch of bags."""

    def look_up(self, gathered: Gathered) -> tuple[NDArray, Any]:
        """Return a row for each bag, and what is to be remembered."""


class FeatureTables:
    """Features and the tables that they look up.

    Parameters
    ----------
    features : dict of str
        The table of each feature.
    output : {"dict", "concatenate"}
    """

    def __init__(self, features: dict[str, str], output: str) -> None:
        self.features, self.output = features, choice("output", output, OUTPUTS)

    def _use(self, arenas: Iterable[Tables]) -> None:
        """Take the tables, and find where each feature's columns are side by side."""
        self._used: Sequence[Any] = [arena for arena in arenas if arena.features]
        widths = {feature.name: arena.embedding_dim for arena in self._used for feature in arena.features}
        ends = np.cumsum([widths[name] for name in self.features]).tolist()
        self._columns = {name: slice(end - widths[name], end) for name, end in zip(self.features, ends, strict=True)}
        self._total = ends[-1]

    def _look_up(self, batch: Any, per_sample_weights: Any) -> tuple[Any, list[Any]]:
        """Return the rows of a batch as the user wants them, and what each arena remembers of it."""
        if per_sample_weights is not None and all(arena.mode in operations.EXTREMES for arena in self._used):
            raise ValueError(f"per_sample_weights do not go with mode={self._used[0].mode!r}")
        calls: list[Any] = []
        blocks: list[NDArray] = []
        wanted = -1
        for arena in self._used:
            gathered = arena.gather(batch, _weights_of(arena, per_sample_weights))
            if calls and gathered.num_bags != wanted:
                name = arena.features[0].name
                raise ValueError(f"feature {name!r} must have {wanted} rows as those before, got {gathered.num_bags}")
            wanted = gathered.num_bags
            found, call = arena.look_up(gathered)
            calls.append(call)
            blocks.append(gathered.block(found, len(arena.features)))
        return self._given_back(blocks), calls

    def _given_back(self, blocks: list[NDArray]) -> Any:
        """Return what arenas found, each (num_bags, num_features, embedding_dim), as the user wants it."""
        if self.output == "concatenate" and len(blocks) == 1:
            return blocks[0].reshape(len(blocks[0]), self._total)
        rows = {
            feature.name: block[:, n]
            for arena, block in zip(self._used, blocks, strict=True)
            for n, feature in enumerate(arena.features)
        }
        if self.output == "concatenate":
            return np.concatenate([rows[name] for name in self.features], axis=1)
        return {name: rows[name] for name in self.features}


def checked_features(features: Mapping[str, str] | None, tables: Iterable[str]) -> dict[str, str]:
    """Return the table of each feature: by default one for each table, of its name.

    Raises
    ------
    ValueError
        If there is no feature, or no such table.

    Examples
    --------
    >>> checked_features(None, ["a", "b"])
    {'a': 'a', 'b': 'b'}
    """
    names = list(tables)
    checked = {name: name for name in names} if features is None else dict(features)
    for feature, table in checked.items():
        choice(f"the table of feature {feature!r}", table, names)
    if not checked:
        raise ValueError("features must name at least one, got none")
    return checked


def _weights_of(arena: Tables, per_sample_weights: Any) -> Any:
    """Return the weights for tables that can have them; features of others need none, and must have none."""
    if per_sample_weights is None or arena.mode not in operations.EXTREMES:
        return per_sample_weights
    for feature in arena.features:
        if has_column(per_sample_weights, feature.name):
            raise ValueError(f"per_sample_weights do not go with mode={arena.mode!r}, that of feature {feature.name!r}")
    return None
