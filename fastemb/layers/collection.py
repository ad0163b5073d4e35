"""Many tables looked up at once, as recommenders do: a batch of features in, a row of numbers for each out."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastemb.engine import operations
from fastemb.engine.arrays import as_rows
from fastemb.engine.backend import checked_device
from fastemb.engine.device import DeviceArray, on_host
from fastemb.engine.foreign import host_of, in_kind, is_foreign
from fastemb.engine.gradients import RowGradient, gradient_of_bags, gradient_of_coefficients
from fastemb.engine.ragged import POLICIES, padding_row
from fastemb.engine.validate import boolean, choice, integer
from fastemb.layers import constraints, regularizers
from fastemb.layers.arena import Arena, Gathered, make_memory
from fastemb.layers.bag import MODES, reduced
from fastemb.layers.features import foreign_column
from fastemb.layers.memory import moved
from fastemb.layers.saving import load_tables
from fastemb.layers.tape import Remembering, apart

__all__ = ["EmbeddingBagCollection"]

OUTPUTS = ("dict", "concatenate")


@dataclass(slots=True)
class ArenaLookup:
    """What a collection remembers of a forward, for each arena."""

    gathered: Gathered
    winners: NDArray | None


class EmbeddingBagCollection(Remembering):
    """Tables and the features that look them up, in one call: bags of all features are one batch of bags.

    Tables of one width lie one after the other, so a forward is one pass over memory for all of them, and a backward
    one grouping of the lookups and one update of the rows.

    Parameters
    ----------
    tables : dict
        From a table's name to its ``(num_embeddings, embedding_dim)``.
    features : dict, optional
        From a feature's name to that of its table; several features may share one. Default a feature for each table,
        of its name.
    mode : {"sum", "mean", "max", "min", "sqrtn"}, default "sum"
        How a bag becomes a row, as in `EmbeddingBag`.
    output : {"dict", "concatenate"}, default "dict"
        Whether `forward` returns an array for each feature, or one with a sample's features side by side.
    padding_idx : int or dict, optional
        A row that is left out of the bags, of all tables or by the tables' names.
    scale_grad_by_freq : bool, default False
    dtype : dtype, default float32
    device : {"cpu", "reference", "cuda"}, default "cpu"
        With "cuda" the tables lie in a GPU's memory; arrays in a GPU's memory are answered in kind, through the host's.
    seed : int, SeedSequence or Generator, optional
    embeddings_initializer : str, callable, array or dict, optional
        For all tables or by the tables' names. Default torch's N(0, 1).
    embeddings_regularizer, embeddings_constraint, optimizer, on_invalid
        As in `fastemb.layers.table.TableLayer`, for all tables.
    freeze : bool or list of str, default False
        All tables get no gradient, or those that are named.
    storage : "shared", optional
        Put the tables in shared memory.

    Examples
    --------
    >>> tables = {"user": (100, 2), "item": (50, 2)}
    >>> features = {"user": "user", "clicked": "item", "bought": "item"}
    >>> layer = EmbeddingBagCollection(tables, features=features, embeddings_initializer="ones")
    >>> batch = {"user": [7, 8], "clicked": [[1, 2, 3], []], "bought": [[4], [5, 6]]}
    >>> layer(batch)["clicked"]
    array([[3., 3.],
           [0., 0.]], dtype=float32)
    """

    def __init__(
        self,
        tables: Mapping[str, tuple[int, int]],
        *,
        features: Mapping[str, str] | None = None,
        mode: str = "sum",
        output: str = "dict",
        padding_idx: Any = None,
        scale_grad_by_freq: bool = False,
        dtype: Any = np.float32,
        device: str | None = None,
        seed: Any = None,
        embeddings_initializer: Any = None,
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        freeze: bool | Iterable[str] = False,
        storage: str | None = None,
        optimizer: Any = None,
        on_invalid: str = "raise",
    ) -> None:
        super().__init__()
        self.mode = choice("mode", mode, MODES)
        self.output = choice("output", output, OUTPUTS)
        self.scale_grad_by_freq = boolean("scale_grad_by_freq", scale_grad_by_freq)
        self.device = checked_device(device or "cpu")
        choice("on_invalid", on_invalid, POLICIES)
        choice("storage", storage, (None, "shared"))
        if not isinstance(tables, Mapping):
            raise TypeError(f"tables must be a dict from names to shapes, got {type(tables).__name__}")
        shapes = {name: _shape(name, shape) for name, shape in tables.items()}
        self.features = {name: name for name in shapes} if features is None else dict(features)
        for feature, table in self.features.items():
            choice(f"the table of feature {feature!r}", table, shapes)
        if not self.features:
            raise ValueError("features must name at least one, got none")
        if isinstance(freeze, str) or not (isinstance(freeze, bool) or set(freeze) <= shapes.keys()):
            raise ValueError(f"freeze must be a bool or names of tables, {sorted(shapes)}, got {freeze!r}")
        generator = np.random.default_rng(seed)
        trained = {
            "embeddings_regularizer": regularizers.get(embeddings_regularizer),
            "embeddings_constraint": constraints.get(embeddings_constraint),
            "optimizer": optimizer,
        }
        self.arenas: list[Arena] = []
        for width in dict.fromkeys(width for _, width in shapes.values()):
            sizes = {name: size for name, (size, columns) in shapes.items() if columns == width}
            paddings = {name: _padding(_of_table(padding_idx, name), size) for name, size in sizes.items()}
            starts = {name: _of_table(embeddings_initializer, name) for name in sizes}
            memory, shown = make_memory(sizes, width, starts, paddings, dtype, storage, generator)
            memory = moved(memory, self.device)
            arena = Arena(memory, shown, sizes, self.features, paddings, on_invalid, **trained)
            arena.freeze(sizes if freeze is True else set() if freeze is False else set(freeze))
            self.arenas.append(arena)
        self._used = [arena for arena in self.arenas if arena.features]
        widths = [shapes[table][1] for table in self.features.values()]
        ends = np.cumsum(widths).tolist()
        self._columns = {
            name: slice(end - width, end) for name, end, width in zip(self.features, ends, widths, strict=True)
        }

    def forward(self, batch: Any, per_sample_weights: Any = None) -> Any:
        """Return the rows of a batch; ``layer(batch)`` is the same.

        Parameters
        ----------
        batch : dict, data frame (pandas, polars), or batch or table of pyarrow
            A column for each feature, all of as many rows: an index for each sample, an array of two dimensions, lists
            of any lengths, an Arrow list array (whose values are read where they are), or a tuple of the values and the
            ``num_bags + 1`` offsets of a CSR matrix. Other columns are left alone.
        per_sample_weights : dict, data frame, or batch or table of pyarrow, optional
            A factor for each index, for every feature in the form of its column.

        Returns
        -------
        dict of array (num_bags, embedding_dim), or array (num_bags, sum of embedding_dim)
            By feature, in the order of `features`: views of one array for each width of tables. With
            ``output="concatenate"`` side by side.

        Raises
        ------
        KeyError
            If a feature is missing.
        TypeError, ValueError, IndexError
            As in `EmbeddingBag`; the message names the feature.
        """
        if per_sample_weights is not None and self.mode in operations.EXTREMES:
            raise ValueError(f"per_sample_weights do not go with mode={self.mode!r}")
        calls: list[ArenaLookup] = []
        blocks: list[NDArray] = []
        serves = per_sample_weights is None and self.mode in operations.SUMS and not self.remembers
        for arena in self._used:
            block = arena.serve(batch, self.mode, self.device) if serves else None
            if block is None:
                gathered = arena.gather(batch, per_sample_weights, self.device)
                arena.catch_up(gathered.bags.indices)
                found, winners = reduced(arena.table, gathered.bags, self.mode, self.device)
                calls.append(ArenaLookup(gathered, winners))
                block = gathered.block(on_host(found), len(arena.features))
            if blocks and len(block) != len(blocks[0]):
                name, wanted = arena.features[0].name, len(blocks[0])
                raise ValueError(f"feature {name!r} must have {wanted} rows as those before, got {len(block)}")
            blocks.append(block if block.dtype == arena.dtype else block.view(arena.dtype))
        if self.remembers:
            self._tape.calls.append(calls)
        return self._in_kind(self._given_back(blocks), foreign_column(batch, self.features))

    __call__ = forward

    def _in_kind(self, found: Any, like: Any) -> Any:
        """Return arrays of NumPy as those of a package whose arrays in a GPU's memory were given, if there were any."""
        if like is None:
            return found
        if self.device != "cuda":
            raise ValueError(f"the batch is on a GPU, and the tables on device {self.device!r}")
        if isinstance(found, dict):
            return {name: in_kind(rows, like) for name, rows in found.items()}
        return in_kind(found, like)

    def _given_back(self, blocks: list[NDArray]) -> Any:
        """Return what arenas found, each (num_bags, num_features, embedding_dim), as the user wants it."""
        if self.output == "concatenate" and len(blocks) == 1:
            return blocks[0].reshape(len(blocks[0]), list(self._columns.values())[-1].stop)
        rows = {
            feature.name: block[:, n]
            for arena, block in zip(self._used, blocks, strict=True)
            for n, feature in enumerate(arena.features)
        }
        if self.output == "concatenate":
            return np.concatenate([rows[name] for name in self.features], axis=1)
        return {name: rows[name] for name in self.features}

    def backward(self, grad_output: Any) -> dict[str, NDArray] | None:
        """Undo the last forward that has not been undone: step the tables, or add to their gradients.

        Parameters
        ----------
        grad_output : dict of array (num_bags, embedding_dim), or array (num_bags, sum of embedding_dim)
            The gradient of that forward's output, by feature or side by side.

        Returns
        -------
        dict of array (num_lookups,), or None
            The gradient of per_sample_weights by feature, where they were given.

        Raises
        ------
        RuntimeError
            If there is no forward to undo, or all tables are frozen.
        KeyError, ValueError
            If a feature is missing, or a gradient of another shape.
        """
        if self._all_frozen:
            raise RuntimeError("all tables are frozen, so there is no gradient")
        calls = self._remembered()
        grads = [self._grad_of(arena, call, grad_output) for arena, call in zip(self._used, calls, strict=True)]
        self._tape.calls.pop()
        of_weights: dict[str, NDArray] = {}
        for arena, call, grad in zip(self._used, calls, grads, strict=True):
            bags = call.gathered.bags
            if bags.coefficients is not None:
                found = gradient_of_coefficients(grad, arena.table, bags, self.mode, device=self.device)
                of_weights |= call.gathered.lookups_of(arena.features, on_host(found))
            if arena.frozen is not True:
                mask = arena.frozen if isinstance(arena.frozen, np.ndarray) else None
                size, by_freq = len(arena.table), self.scale_grad_by_freq
                arena.accept(
                    gradient_of_bags(grad, bags, size, self.mode, by_freq, mask, call.winners, device=self.device)
                )
        grads_of = grad_output.values() if isinstance(grad_output, Mapping) else [grad_output]
        like = next((grad for grad in grads_of if is_foreign(grad)), None)
        return {name: in_kind(of_weights[name], like) for name in self.features} if of_weights else None

    def _grad_of(self, arena: Arena, call: ArenaLookup, grad_output: Any) -> NDArray:
        """Return the part of a gradient that is an arena's, (bags of all its features, embedding_dim)."""
        num_bags, width = call.gathered.num_bags, arena.table.shape[1]
        if isinstance(grad_output, Mapping):
            pieces = [_piece(grad_output, feature.name, (num_bags, width)) for feature in arena.features]
        else:
            whole = host_of(grad_output, "grad_output")
            total = list(self._columns.values())[-1].stop
            if whole.shape != (num_bags, total):
                raise ValueError(f"grad_output must have shape {(num_bags, total)}, got {whole.shape}")
            pieces = [whole[:, self._columns[feature.name]] for feature in arena.features]
            if len(self._used) == 1 and call.gathered.by_sample:
                rows = as_rows(
                    whole.reshape(-1, width), (num_bags * len(pieces), width), arena.table.dtype, "grad_output"
                )
                return rows if arena.optimizer is not None else apart(rows, whole)
        block = operations.join(pieces, call.gathered.by_sample, self.device)
        return as_rows(block, block.shape, arena.table.dtype, "grad_output")

    @property
    def _all_frozen(self) -> bool:
        return all(arena.frozen is True for arena in self._used)

    @property
    def remembers(self) -> bool:
        """Whether a forward is remembered: in training, unless all tables are frozen."""
        return self.training and not self._all_frozen

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
            arena.zero_grad()

    def parameters(self) -> list[Arena]:
        """Return what an optimizer should update: an arena for each width of tables, but those that are frozen."""
        return [arena for arena in self.arenas if arena.frozen is not True]

    def regularization(self) -> float:
        """Return the regularizer's penalty of all tables, 0 without one."""
        return sum(arena.regularization() for arena in self.arenas)

    def state_dict(self) -> dict[str, NDArray]:
        """Return the tables as ``{"name.weight": table}``: not copied, but those in a GPU's memory."""
        return {name: on_host(table) for name, table in self._tables().items()}

    def _tables(self) -> dict[str, NDArray]:
        for arena in self.arenas:
            arena.flush()
        return {f"{name}.weight": table for name, table in self.weights.items()}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> None:
        """Copy numbers into the tables; see `fastemb.Embedding.load_state_dict`."""
        load_tables(self._tables(), state_dict, strict)

    def __repr__(self) -> str:
        """Return the tables and the features."""
        tables = {name: table.shape for name, table in self.weights.items()}
        return f"EmbeddingBagCollection({tables}, features={self.features}, mode={self.mode!r})"


def _shape(name: str, shape: Any) -> tuple[int, int]:
    if not isinstance(shape, tuple | list) or len(shape) != 2:
        raise TypeError(f"tables[{name!r}] must be (num_embeddings, embedding_dim), got {shape!r}")
    size, width = shape
    return integer(f"num_embeddings of {name!r}", size, 0), integer(f"embedding_dim of {name!r}", width, 1)


def rows_of(table: Any, rows: slice) -> Any:
    """Return neighbouring rows in the same memory."""
    return table.rows(rows) if isinstance(table, DeviceArray) else table[rows]


def _of_table(given: Any, name: str) -> Any:
    return given.get(name) if isinstance(given, Mapping) else given


def _padding(padding_idx: int | None, size: int) -> int | None:
    return None if padding_idx is None else padding_row(padding_idx, size)


def _piece(grad_output: Mapping[str, Any], name: str, shape: tuple[int, int]) -> NDArray:
    if name not in grad_output:
        raise KeyError(f"grad_output must have the feature {name!r}, got {', '.join(map(repr, grad_output))}")
    piece = host_of(grad_output[name], f"grad_output[{name!r}]")
    if piece.shape != shape:
        raise ValueError(f"grad_output[{name!r}] must have shape {shape}, got {piece.shape}")
    return piece
