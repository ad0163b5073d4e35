"""Many tables looked up at once, as recommenders do: a batch of features in, a row of numbers for each out."""

import os
from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any, Self

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fastemb.engine.arrays import accumulator, as_rows
from fastemb.engine.backend import checked_device
from fastemb.engine.device import DeviceArray, there
from fastemb.engine.faults import deferred_errors
from fastemb.engine.features import as_one, join
from fastemb.engine.foreign import host_of, in_kind, is_foreign, wrap
from fastemb.engine.gpu_features import concatenate
from fastemb.engine.gradients import RowGradient
from fastemb.engine.validate import boolean
from fastemb.layers.arena import Arena, ArenaLookup
from fastemb.layers.batch import FeatureTables, checked_features
from fastemb.layers.features import foreign_column
from fastemb.layers.memory import MappedMemory, Memory
from fastemb.layers.named_tables import NamedTables
from fastemb.layers.parameter import Parameter, accept_together
from fastemb.layers.plan import frozen_by_name, plan_tables, together
from fastemb.layers.quantized_collection import QuantizedEmbeddingBagCollection
from fastemb.layers.tape import apart

__all__ = ["EmbeddingBagCollection"]


class EmbeddingBagCollection(FeatureTables, NamedTables):
    """Tables and the features that look them up, in one call: bags of all features are one batch of bags.

    Tables of one kind lie one after the other, so a forward is one pass over memory for all of them, and a backward one
    grouping of the lookups and one update of the rows. Tables are of one kind if they have one `embedding_dim` and
    agree in all that is marked "kind" below. A table in a file has a pass of its own, and so has one given as `W`.

    Parameters
    ----------
    tables : dict
        From a table's name to its ``(num_embeddings, embedding_dim)``.
    features : dict, optional
        From a feature's name to that of its table; several features may share one. Default a feature for each table,
        of its name.
    mode : {"sum", "mean", "max", "min", "sqrtn"} or dict, default "sum"
        Kind. How a bag becomes a row, as in `EmbeddingBag`. This and what follows, but where it says otherwise, is for
        all tables, or a dict by the tables' names, in which those that have the default may be left out.
    output : {"dict", "concatenate"}, default "dict"
        Whether `forward` returns an array for each feature, or one with a sample's features side by side. Not by table.
    padding_idx : int or dict, optional
        A row that is left out of the bags.
    max_norm : float or dict, optional
        Rows whose norm is larger are scaled to it, in place, when they are looked up, as in `EmbeddingBag`; each of the
        batch's distinct rows once.
    norm_type : float or dict, default 2
        p of that norm.
    scale_grad_by_freq : bool, default False
        Not by table.
    W : dict, optional
        Tables that exist, by name, shared and not copied: arrays, as of `EmbeddingBag`. To copy numbers in, so that the
        tables lie together, give them as `embeddings_initializer`.
    dtype : dtype or dict, default float32
        Kind.
    device : {"cpu", "reference", "cuda"}, default "cpu"
        With "cuda" the tables lie in a GPU's memory. A dict with arrays in a GPU's memory is answered in kind, and
        nothing of it goes through the host's. Not by table.
    seed : int, SeedSequence or Generator, optional
    embeddings_initializer : str, callable, array or dict, optional
        Default torch's N(0, 1).
    embeddings_regularizer, embeddings_constraint : str, callable or dict, optional
        Kind.
    lora_rank : int or dict, optional
        Kind. See `enable_lora`.
    lora_alpha : float or dict, optional
        Kind.
    freeze : bool, list of str, or dict, default False
        All tables get no gradient, or those that are named; or by name a bool, or a bool (num_embeddings,) that is True
        for the rows that get none.
    storage : "shared", path-like or dict, optional
        Kind. Shared memory; or the path of a folder, in which each table is an .npy file of its name that is mapped; or
        a dict of "shared" and paths of files. A file that exists keeps its numbers, else it is made.
    optimizer : fastemb.optim.Optimizer or dict, optional
        Kind. Fused into `backward`.
    on_invalid : {"raise", "clip", "pad", "hash"} or dict, default "raise"
        Kind. What becomes of an index outside the table.

    Raises
    ------
    TypeError, ValueError
        If an argument is wrong, or names a table that there is not; the message names the table.

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
        mode: str | Mapping[str, str] = "sum",
        output: str = "dict",
        padding_idx: Any = None,
        max_norm: Any = None,
        norm_type: Any = 2.0,
        scale_grad_by_freq: bool = False,
        W: Mapping[str, Any] | None = None,
        dtype: Any = None,
        device: str | None = None,
        seed: Any = None,
        embeddings_initializer: Any = None,
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        lora_rank: Any = None,
        lora_alpha: Any = None,
        freeze: Any = False,
        storage: Any = None,
        optimizer: Any = None,
        on_invalid: str | Mapping[str, str] = "raise",
    ) -> None:
        self.scale_grad_by_freq = boolean("scale_grad_by_freq", scale_grad_by_freq)
        self.device = checked_device(device or "cpu")
        options = {
            "mode": mode,
            "padding_idx": padding_idx,
            "max_norm": max_norm,
            "norm_type": norm_type,
            "W": W,
            "dtype": dtype,
            "embeddings_initializer": embeddings_initializer,
            "embeddings_regularizer": embeddings_regularizer,
            "embeddings_constraint": embeddings_constraint,
            "lora_rank": lora_rank,
            "lora_alpha": lora_alpha,
            "storage": storage,
            "optimizer": optimizer,
            "on_invalid": on_invalid,
        }
        plans = plan_tables(tables, freeze, options)
        FeatureTables.__init__(self, checked_features(features, tables), output)
        generator = np.random.default_rng(seed)
        groups = together(plans)
        NamedTables.__init__(self, [Arena.of(group, self.features, self.device, generator) for group in groups])
        self._use(self.arenas)

    @classmethod
    def from_pretrained(cls, tables: Mapping[str, Any], freeze: Any = True, **options: Any) -> Self:
        """Return a collection of tables that exist.

        Parameters
        ----------
        tables : dict
            From a table's name to an array (num_embeddings, embedding_dim), which is shared and not copied; or to the
            path of an .npy file, which is mapped, for reading where the table is frozen and for writing where not.
        freeze : bool, list of str, or dict, default True
        **options
            The constructor's, after the tables.

        Examples
        --------
        >>> layer = EmbeddingBagCollection.from_pretrained({"user": np.eye(3), "item": np.ones((2, 2))})
        >>> layer({"user": [[0, 2]], "item": [[1]]})
        {'user': array([[1., 0., 1.]]), 'item': array([[1., 1.]])}
        """
        frozen = frozen_by_name(freeze, tables)
        given: dict[str, Any] = {}
        for name, table in tables.items():
            if isinstance(table, str | os.PathLike):
                given[name] = MappedMemory(table, "r" if frozen.get(name) is True else "r+")
            else:
                given[name] = table if isinstance(table, Memory) else _as_array(table)
        shapes = {name: getattr(table, "array", table).shape for name, table in given.items()}
        return cls(shapes, W=given, freeze=freeze, **options)

    def forward(self, batch: Any, per_sample_weights: Any = None) -> Any:
        """Return the rows of a batch; ``layer(batch)`` is the same.

        Parameters
        ----------
        batch : dict, data frame (pandas, polars), or batch or table of pyarrow
            A column for each feature, all of as many rows: an index for each sample, an array of two dimensions, lists
            of any lengths, an Arrow list array (whose values are read where they are), or a tuple of the values and the
            ``num_bags + 1`` offsets of a CSR matrix. Other columns are left alone.
        per_sample_weights : dict, data frame, or batch or table of pyarrow, optional
            A factor for each index, for every feature whose table's mode is not "max" or "min", in the form of its
            column.

        Returns
        -------
        dict of array (num_bags, embedding_dim), or array (num_bags, sum of embedding_dim)
            By feature, in the order of `features`: views of one array for each kind of tables. With
            ``output="concatenate"`` side by side.

        Raises
        ------
        KeyError
            If a feature is missing.
        TypeError, ValueError, IndexError
            As in `EmbeddingBag`; the message names the feature.
        """
        is_there = foreign_column(batch, self.features) is not None
        with deferred_errors() if is_there else nullcontext():  # one look at the flags of all features
            out, calls = self._look_up(batch, per_sample_weights, serves=not self.remembers)
        if self.remembers or (self.training and per_sample_weights is not None):
            self._tape.calls.append(calls)
        return out

    __call__ = forward

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
            If there is no forward to undo, or all tables are frozen and no per_sample_weights were given.
        KeyError, ValueError
            If a feature is missing, or a gradient of another shape.
        """
        if not (self._learns or self._tape.calls):
            raise RuntimeError("all tables are frozen, so there is no gradient")
        calls = self._remembered()
        grads = [self._grad_of(arena, call, grad_output) for arena, call in zip(self._used, calls, strict=True)]
        self._tape.calls.pop()
        of_weights: dict[str, NDArray] = {}
        found: list[tuple[Parameter, RowGradient]] = []
        for arena, call, (grad, places) in zip(self._used, calls, grads, strict=True):
            of_weights |= arena.gradient_of_weights(call, grad)
            found += arena.undo(call, grad, self.scale_grad_by_freq, places)
        accept_together(found)
        grads_of = grad_output.values() if isinstance(grad_output, Mapping) else [grad_output]
        like = next((grad for grad in grads_of if is_foreign(grad)), None)
        return {name: in_kind(of_weights[name], like) for name in self.features if name in of_weights} or None

    def _remembered(self) -> list[ArenaLookup]:
        calls = super()._remembered()
        if any(call.num_moves != len(arena.moves) for arena, call in zip(self._used, calls, strict=True)):
            self._tape.calls.clear()
            raise RuntimeError("a table was resized after the forward that backward was to undo")
        return calls

    def _grad_of(self, arena: Arena, call: ArenaLookup, grad_output: Any) -> tuple[NDArray, NDArray | None]:
        """Return the part of a gradient that is an arena's: rows of embedding_dim, and which of them are its bags'.

        Without these, the rows follow the bags of all features.
        """
        num_bags, width = call.gathered.num_bags, arena.embedding_dim
        if call.gathered.is_there:
            found = self._grads_there(arena, num_bags, grad_output)
            if len({grad.dtype for grad in found}) == 1:
                return concatenate(found), None  # type: ignore[return-value]
        if isinstance(grad_output, Mapping):
            pieces = [_piece(grad_output, feature.name, (num_bags, width)) for feature in arena.features]
        else:
            whole = host_of(grad_output, "grad_output")
            if whole.shape != (num_bags, self._total):
                raise ValueError(f"grad_output must have shape {(num_bags, self._total)}, got {whole.shape}")
            pieces = [whole[:, self._columns[feature.name]] for feature in arena.features]
            if len(self._used) == 1 and call.gathered.by_sample:
                rows = as_rows(
                    whole.reshape(-1, width), (num_bags * len(pieces), width), arena.table.dtype, "grad_output"
                )
                return (rows if arena.optimizer is not None else apart(rows, whole)), None
        if arena.reads_gradients_in_place(call.gathered.bags) and pieces[0].dtype == accumulator(arena.table.dtype):
            in_place = as_one(pieces, call.gathered.by_sample)
            if in_place is not None:
                return in_place
        block = join(pieces, call.gathered.by_sample, self.device)
        return as_rows(block, block.shape, arena.table.dtype, "grad_output"), None

    def _grads_there(self, arena: Arena, num_bags: int, grad_output: Any) -> list[DeviceArray]:
        """Return the gradients of an arena's features in a GPU's memory."""
        dtype, names = arena.table.dtype, [feature.name for feature in arena.features]
        if not isinstance(grad_output, Mapping):
            whole = there(as_rows(grad_output, (num_bags, self._total), dtype, "grad_output"))
            return [whole.columns(self._columns[name]) for name in names]
        shape = num_bags, arena.embedding_dim
        given = [(_given(grad_output, name), f"grad_output[{name!r}]") for name in names]
        return [there(as_rows(grad, shape, dtype, name)) for grad, name in given]

    @property
    def mode(self) -> str | dict[str, str]:
        """How a bag becomes a row; by table, where that differs."""
        modes = {name: arena.mode for name, arena in self._home.items()}
        return modes if len(set(modes.values())) > 1 else next(iter(modes.values()))

    @property
    def _learns(self) -> bool:
        return any(arena.parameters() for arena in self._used)

    @property
    def remembers(self) -> bool:
        """Whether every forward is remembered: in training, unless all tables are frozen."""
        return self.training and self._learns

    def quantize(self, bits: int | None = None, dtype: DTypeLike | None = None) -> "QuantizedEmbeddingBagCollection":
        """Return smaller tables for inference, of `bits` or `dtype` as `Embedding.quantize` has them.

        They serve the batches that this does. A row that cannot be held is an error that names its table.

        Examples
        --------
        >>> layer = EmbeddingBagCollection({"user": (100, 64), "item": (900, 64)}, seed=0)
        >>> small = layer.quantize(bits=8)
        >>> small({"user": [7], "item": [[1, 2]]})["item"].shape
        (1, 64)
        """
        return QuantizedEmbeddingBagCollection.from_layer(self, bits, dtype)

    def __repr__(self) -> str:
        """Return the tables and the features."""
        tables = {name: table.shape for name, table in self.weights.items()}
        return f"EmbeddingBagCollection({tables}, features={self.features}, mode={self.mode!r})"


def _as_array(table: Any) -> Any:
    return wrap(table, "W") if is_foreign(table) else host_of(table, "W")


def _given(grad_output: Mapping[str, Any], name: str) -> Any:
    if name not in grad_output:
        raise KeyError(f"grad_output must have the feature {name!r}, got {', '.join(map(repr, grad_output))}")
    return grad_output[name]


def _piece(grad_output: Mapping[str, Any], name: str, shape: tuple[int, int]) -> NDArray:
    piece = host_of(_given(grad_output, name), f"grad_output[{name!r}]")
    if piece.shape != shape:
        raise ValueError(f"grad_output[{name!r}] must have shape {shape}, got {piece.shape}")
    return piece
