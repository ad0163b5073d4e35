"""Many tables for inference, looked up at once: what `EmbeddingBagCollection.quantize` returns."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastemb.engine.arrays import FLOAT32
from fastemb.engine.arrays import bits as bits_of
from fastemb.engine.device import on_host
from fastemb.engine.quantized import CodedRows, ShortRows
from fastemb.layers.arena import Arena, rows_of
from fastemb.layers.batch import FeatureTables
from fastemb.layers.gathering import Feature, Gathered, Gatherer
from fastemb.layers.inference import ForInference
from fastemb.layers.saving import load_tables
from fastemb.layers.smaller import kind_of, reduced_rows, shown_table, smaller_rows

if TYPE_CHECKING:
    from fastemb.layers.collection import EmbeddingBagCollection

__all__ = ["QuantizedEmbeddingBagCollection"]


class QuantizedArena:
    """Tables of one kind, one after the other, for inference.

    Parameters
    ----------
    rows : CodedRows or ShortRows
        Of all tables.
    tables : dict of slice
        The rows of each.
    features : list of Feature
    mode, on_invalid : str
    """

    def __init__(
        self,
        rows: CodedRows | ShortRows,
        tables: dict[str, slice],
        features: list[Feature],
        mode: str,
        on_invalid: str,
    ) -> None:
        self.rows, self.tables, self.features, self.mode = rows, tables, features, mode
        self._gatherer = Gatherer(features, rows.num_embeddings, FLOAT32, on_invalid)

    @property
    def embedding_dim(self) -> int:
        """Columns of values."""
        return self.rows.embedding_dim

    def gather(self, batch: Any, per_sample_weights: Any) -> Gathered:
        """Return the bags of all features as one batch of bags."""
        return self._gatherer.gather(batch, per_sample_weights, self.rows.device)

    @property
    def dtype(self) -> np.dtype:
        """What is returned: float32."""
        return FLOAT32

    def serve(self, batch: Any) -> NDArray | None:
        """Return the bags of all features of a dict of plain arrays, read where they are; None of any other batch."""
        if self.rows.device == "cuda":
            return None
        return self._gatherer.serve(self.rows.plain_features, batch, self.mode)

    def look_up(self, gathered: Gathered) -> tuple[NDArray, None]:
        """Return a row for each bag, and that there is nothing to remember."""
        found = reduced_rows(self.rows, gathered.bags, self.mode)
        return found if gathered.is_there else on_host(found), None


class QuantizedEmbeddingBagCollection(ForInference, FeatureTables):
    """Tables that are looked up as those of an `EmbeddingBagCollection` are, and are not trained.

    It is what `EmbeddingBagCollection.quantize` makes, and is kept by `pickle`, or by its `state_dict`, which goes into
    one of the same shape.

    Parameters
    ----------
    arenas : list
    features : dict of str
    output : {"dict", "concatenate"}

    Examples
    --------
    >>> import fastemb
    >>> tables = {"user": (100, 64), "item": (50, 64)}
    >>> layer = fastemb.EmbeddingBagCollection(tables, seed=1)
    >>> small = layer.quantize(bits=8)
    >>> small.nbytes / sum(weight.nbytes for weight in layer.weights.values())
    0.28125
    >>> batch = {"user": [7, 8], "item": [[1, 2, 3], []]}
    >>> float(abs(small(batch)["item"] - layer(batch)["item"]).max()) < 0.05
    True
    """

    def __init__(self, arenas: list[QuantizedArena], features: dict[str, str], output: str) -> None:
        super().__init__(features, output)
        self.arenas, self.device = arenas, arenas[0].rows.device
        self._use(arenas)

    @classmethod
    def from_layer(
        cls, layer: "EmbeddingBagCollection", bits: int | None = None, dtype: DTypeLike | None = None
    ) -> Self:
        """Return tables of a collection's rows as lookups find them: within `max_norm`, and with LoRA's products added.

        Parameters
        ----------
        layer : EmbeddingBagCollection
        bits, dtype
            See `EmbeddingBagCollection.quantize`.

        Raises
        ------
        ValueError
            As `EmbeddingBagCollection.quantize`.
        """
        return cls([_quantized(arena, bits, dtype) for arena in layer.arenas], dict(layer.features), layer.output)

    def forward(self, batch: Any, per_sample_weights: Any = None) -> Any:
        """Return the rows of a batch; ``collection(batch)`` is the same.

        Parameters
        ----------
        batch, per_sample_weights
            As `EmbeddingBagCollection.forward` takes them.

        Returns
        -------
        dict of float32 (num_bags, embedding_dim), or float32 (num_bags, sum of embedding_dim)

        Raises
        ------
        KeyError, TypeError, ValueError, IndexError
            As `EmbeddingBagCollection.forward`.
        """
        return self._look_up(batch, per_sample_weights, serves=True)[0]

    __call__ = forward

    @property
    def tables(self) -> dict[str, NDArray]:
        """The tables themselves, by name, as `QuantizedEmbeddingBag.table` shows one and its `from_table` takes it."""
        return {
            name: rows_of(shown_table(arena.rows), rows) for arena in self.arenas for name, rows in arena.tables.items()
        }

    @property
    def nbytes(self) -> int:
        """Bytes of all tables."""
        return sum(arena.rows.array.nbytes for arena in self.arenas)

    def dequantize(self) -> dict[str, NDArray[np.float32]]:
        """Return the values of all rows, float32 (num_embeddings, embedding_dim), by table."""
        found: dict[str, NDArray[np.float32]] = {}
        for arena in self.arenas:
            values = arena.rows.dequantize()
            found |= {name: values[rows] for name, rows in arena.tables.items()}
        return found

    def state_dict(self) -> dict[str, NDArray]:
        """Return the tables as ``{"name.table": table}``: not copied, but those in a GPU's memory."""
        return {f"{name}.table": on_host(table) for name, table in self.tables.items()}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> None:
        """Copy what tables hold into these.

        Parameters
        ----------
        state_dict : dict
            As `state_dict` returns it, of tables that are kept in the same way.
        strict : bool, default True
            Names that are missing or unknown are an error.

        Raises
        ------
        KeyError
            If names disagree, and `strict`.
        TypeError, ValueError
            If a table's dtype or shape disagrees; nothing is copied then.
        """
        tables = {f"{name}.table": table for name, table in self.tables.items()}
        for name, table in tables.items():
            given = np.asarray(on_host(state_dict.get(name, table)))
            if given.dtype != table.dtype:
                raise TypeError(f"{name} must be of dtype {table.dtype}, got {given.dtype}")
        load_tables(tables, state_dict, strict)

    def __repr__(self) -> str:
        """Return the tables' sizes and what they are kept in."""
        tables = {
            name: (rows.stop - rows.start, arena.embedding_dim)
            for arena in self.arenas
            for name, rows in arena.tables.items()
        }
        return f"{type(self).__name__}({tables}, features={self.features}, {kind_of(self.arenas[0].rows)})"


def _quantized(arena: Arena, bits: int | None, dtype: DTypeLike | None) -> QuantizedArena:
    arena.prepare(np.arange(len(arena.table)))
    weight = arena.weight
    if arena.lora is not None:
        weight = weight.copy()
        arena.lora.merge(bits_of(weight))
    try:
        rows = smaller_rows(weight, bits, dtype, arena.device)
    except ValueError:
        _tell_table(arena, weight, bits, dtype)
        raise
    return QuantizedArena(rows, dict(arena.tables), arena.features, arena.mode, arena.on_invalid)


def _tell_table(arena: Arena, weight: NDArray, bits: int | None, dtype: DTypeLike | None) -> None:
    """Raise what a table that cannot be held gives by itself, with its name."""
    for name, rows in arena.tables.items():
        try:
            smaller_rows(on_host(weight)[rows], bits, dtype, "cpu")
        except ValueError as error:
            raise ValueError(f"table {name!r}: {error}") from None
