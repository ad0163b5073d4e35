"""What a trained and a quantized collection share: a batch in, by feature, and the form of what is returned."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fastemb.engine import operations
from fastemb.engine.device import DeviceArray, on_host
from fastemb.engine.foreign import in_kind
from fastemb.engine.gpu_features import side_by_side
from fastemb.engine.validate import choice
from fastemb.layers.features import foreign_column, has_column
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
        """Return a row for each bag as kernels do, and what is to be remembered."""

    def serve(self, batch: Any) -> NDArray | None:
        """Return all that `gather` and `look_up` do of a batch of plain arrays, but what is to be remembered."""

    @property
    def dtype(self) -> np.dtype:
        """What the rows are shown in."""


class FeatureTables:
    """Features and the tables that they look up.

    Parameters
    ----------
    features : dict of str
        The table of each feature.
    output : {"dict", "concatenate"}
    """

    device: str

    def __init__(self, features: dict[str, str], output: str) -> None:
        self.features, self.output = features, choice("output", output, OUTPUTS)

    def _use(self, arenas: Iterable[Tables]) -> None:
        """Take the tables, and find where each feature's columns are side by side."""
        self._used: Sequence[Any] = [arena for arena in arenas if arena.features]
        widths = {feature.name: arena.embedding_dim for arena in self._used for feature in arena.features}
        ends = np.cumsum([widths[name] for name in self.features]).tolist()
        self._columns = {name: slice(end - widths[name], end) for name, end in zip(self.features, ends, strict=True)}
        self._total = ends[-1]

    def _look_up(self, batch: Any, per_sample_weights: Any, serves: bool) -> tuple[Any, list[Any]]:
        """Return the rows of a batch as the user wants them, and what each arena remembers of it unless it serves."""
        if per_sample_weights is not None and all(arena.mode in operations.EXTREMES for arena in self._used):
            raise ValueError(f"per_sample_weights do not go with mode={self._used[0].mode!r}")
        calls: list[Any] = []
        blocks: list[Any] = []
        like = foreign_column(batch, self.features)
        for arena in self._used:
            block = arena.serve(batch) if serves and per_sample_weights is None else None
            if block is None:
                gathered = arena.gather(batch, _weights_of(arena, per_sample_weights))
                found, call = arena.look_up(gathered)
                calls.append(call)
                shown = found if found.dtype == arena.dtype else found.view(arena.dtype)
                block = gathered.block(shown, len(arena.features))
            elif block.dtype != arena.dtype:
                block = block.view(arena.dtype)
            if blocks and _num_bags(block) != _num_bags(blocks[0]):
                name, wanted = arena.features[0].name, _num_bags(blocks[0])
                raise ValueError(f"feature {name!r} must have {wanted} rows as those before, got {_num_bags(block)}")
            blocks.append(block)
        return self._in_kind(self._given_back(blocks), like), calls

    def _in_kind(self, found: Any, like: Any) -> Any:
        """Return arrays of NumPy as those of a package whose arrays in a GPU's memory were given, if there were any."""
        if like is None:
            return found
        if self.device != "cuda":
            raise ValueError(f"the batch is on a GPU, and the tables on device {self.device!r}")
        if isinstance(found, dict):
            return {name: in_kind(rows, like) for name, rows in found.items()}
        return in_kind(found, like)

    def _given_back(self, blocks: list[Any]) -> Any:
        """Return what arenas found, as `Gathered.block` gives it, as the user wants it."""
        if self.output == "concatenate" and len(blocks) == 1 and not isinstance(blocks[0], list):
            return blocks[0].reshape(len(blocks[0]), self._total)
        rows = {
            feature.name: block[n] if isinstance(block, list) else block[:, n]
            for arena, block in zip(self._used, blocks, strict=True)
            for n, feature in enumerate(arena.features)
        }
        parts = [rows[name] for name in self.features]
        if self.output != "concatenate":
            return dict(zip(self.features, parts, strict=True))
        if all(isinstance(part, DeviceArray) and part.dtype == parts[0].dtype for part in parts):
            return side_by_side(parts)
        return np.concatenate([on_host(part) for part in parts], axis=1)


def _num_bags(block: Any) -> int:
    return len(block[0]) if isinstance(block, list) else len(block)


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
