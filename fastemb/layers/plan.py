"""What is asked of each table of a collection, and which tables can lie one after the other."""

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastemb.engine.ragged import POLICIES, padding_row
from fastemb.engine.validate import boolean, choice, integer
from fastemb.layers import constraints, regularizers
from fastemb.layers.bag import MODES

__all__ = ["TablePlan", "frozen_by_name", "naming", "plan_tables", "together"]

DEFAULTS: dict[str, Any] = {"mode": "sum", "norm_type": 2.0, "on_invalid": "raise"}


@dataclass(slots=True, eq=False)
class TablePlan:
    """A table of a collection.

    Parameters
    ----------
    name : str
    num_embeddings, embedding_dim : int
    padding_idx, max_norm, norm_type, embeddings_initializer, W
        As in `fastemb.layers.table.TableLayer`: each table of an arena has its own.
    frozen : bool or bool (num_embeddings,)
    mode, dtype, embeddings_regularizer, embeddings_constraint, lora_rank, lora_alpha, storage, optimizer, on_invalid
        What all tables of an arena have in common.
    """

    name: str
    num_embeddings: int
    embedding_dim: int
    padding_idx: int | None = None
    max_norm: float | None = None
    norm_type: float = 2.0
    embeddings_initializer: Any = None
    W: Any = None
    frozen: bool | NDArray[np.bool_] = False
    mode: str = "sum"
    dtype: Any = None
    embeddings_regularizer: Any = None
    embeddings_constraint: Any = None
    lora_rank: int | None = None
    lora_alpha: float | None = None
    storage: Any = None
    optimizer: Any = None
    on_invalid: str = "raise"

    def __post_init__(self) -> None:
        if self.padding_idx is not None:
            self.padding_idx = padding_row(self.padding_idx, self.num_embeddings)
        self.max_norm, self.norm_type = constraints.norm_bound(self.max_norm, self.norm_type)
        choice("mode", self.mode, MODES)
        choice("on_invalid", self.on_invalid, POLICIES)
        self.embeddings_regularizer = regularizers.get(self.embeddings_regularizer)
        self.embeddings_constraint = constraints.get(self.embeddings_constraint)
        if self.W is not None and self.storage is not None:
            raise ValueError("W is a table and storage tells where to make one: give one of them")
        self.freeze(self.frozen)

    def freeze(self, frozen: Any) -> None:
        """Say that the table gets no gradient, or which of its rows get none."""
        if np.ndim(frozen) == 0:
            self.frozen = boolean("freeze", frozen)
            return
        mask = np.array(frozen)
        if mask.dtype != bool or mask.shape != (self.num_embeddings,):
            raise ValueError(
                f"freeze must be a bool or a bool array of shape ({self.num_embeddings},), "
                f"got {mask.dtype} of shape {mask.shape}"
            )
        self.frozen = mask

    def resize(self, num_embeddings: int) -> None:
        """Give the table another number of rows, of which the new ones are not frozen."""
        if self.padding_idx is not None and self.padding_idx >= num_embeddings:
            raise ValueError(f"num_embeddings must leave the row padding_idx={self.padding_idx}, got {num_embeddings}")
        if isinstance(self.frozen, np.ndarray):
            mask = np.zeros(num_embeddings, bool)
            kept = min(num_embeddings, self.num_embeddings)
            mask[:kept] = self.frozen[:kept]
            self.frozen = mask
        self.num_embeddings = num_embeddings

    @property
    def kind(self) -> tuple:
        """What two tables must have in common to lie one after the other; a table with memory of its own is alone."""
        has_own_memory = self.W is not None or self.storage not in (None, "shared")
        return (
            self.name if has_own_memory else None,
            self.embedding_dim,
            self.mode,
            str(self.dtype) if self.dtype is None or isinstance(self.dtype, str) else np.dtype(self.dtype).name,
            _identity(self.embeddings_regularizer),
            id(self.embeddings_constraint),
            self.lora_rank,
            self.lora_alpha,
            self.storage is None,
            id(self.optimizer),
            self.on_invalid,
        )


def plan_tables(tables: Any, freeze: Any, options: Mapping[str, Any]) -> list[TablePlan]:
    """Return what is asked of each table.

    Parameters
    ----------
    tables : dict
        From a name to ``(num_embeddings, embedding_dim)``.
    freeze : bool, names, or dict
    options : dict
        Of `TablePlan`'s arguments: for all tables, or a dict by the tables' names.

    Raises
    ------
    TypeError, ValueError
        Naming the table, or an option's table that there is not.

    Examples
    --------
    >>> plans = plan_tables({"a": (3, 2), "b": (5, 2)}, False, {"max_norm": {"b": 1.0}, "mode": "mean"})
    >>> [(plan.max_norm, plan.mode) for plan in plans]
    [(None, 'mean'), (1.0, 'mean')]
    """
    if not isinstance(tables, Mapping):
        raise TypeError(f"tables must be a dict from names to shapes, got {type(tables).__name__}")
    shapes = {name: _shape(name, shape) for name, shape in tables.items()}
    for option, given in options.items():
        for name in given if isinstance(given, Mapping) else ():
            choice(f"a table of {option}", name, shapes)
    if not (options.get("W") is None or isinstance(options["W"], Mapping)):
        raise TypeError(f"W must be a dict from tables' names to arrays, got {type(options['W']).__name__}")
    storage = options.get("storage")
    frozen = frozen_by_name(freeze, shapes)
    plans = []
    for name, shape in shapes.items():
        own = {option: _of_table(given, name, DEFAULTS.get(option)) for option, given in options.items()}
        own["storage"] = storage.get(name) if isinstance(storage, Mapping) else _place(storage, name)
        with naming(name):
            plans.append(TablePlan(name, *shape, frozen=frozen.get(name, False), **own))
        if plans[-1].frozen is True and isinstance(options.get("optimizer"), Mapping) and own["lora_rank"] is None:
            _refuse_optimizer(own["optimizer"], f"table {name!r}")
    if plans and all(plan.frozen is True and plan.lora_rank is None for plan in plans):
        _refuse_optimizer(options.get("optimizer"), "all tables")
    return plans


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Name the table in an error about what was given for it.

    Examples
    --------
    >>> with naming("user"):
    ...     raise ValueError("W is too long")
    Traceback (most recent call last):
        ...
    ValueError: table 'user': W is too long
    """
    try:
        yield
    except (TypeError, ValueError) as error:
        raise type(error)(f"table {name!r}: {error}") from None


def together(plans: Iterable[TablePlan]) -> list[list[TablePlan]]:
    """Return the tables that can lie one after the other, in the order of the first of each.

    Examples
    --------
    >>> groups = together(plan_tables({"a": (3, 2), "b": (5, 4), "c": (7, 2)}, False, {}))
    >>> [[plan.name for plan in group] for group in groups]
    [['a', 'c'], ['b']]
    """
    groups: dict[tuple, list[TablePlan]] = {}
    for plan in plans:
        groups.setdefault(plan.kind, []).append(plan)
    return list(groups.values())


def frozen_by_name(freeze: Any, names: Iterable[str]) -> dict[str, Any]:
    """Return what is frozen of each table: of all, of those that are named, or as a dict tells.

    Raises
    ------
    ValueError
        If there is no such table.

    Examples
    --------
    >>> frozen_by_name(["b"], ["a", "b"]), frozen_by_name({"a": [True, False]}, ["a", "b"])
    ({'b': True}, {'a': [True, False]})
    """
    names = list(names)
    if isinstance(freeze, bool):
        return dict.fromkeys(names, freeze)
    named = isinstance(freeze, Iterable) and not isinstance(freeze, str)
    if not named or any(name not in names for name in freeze):
        raise ValueError(
            f"freeze must be a bool, or names of tables or a dict by them, {sorted(names)}, got {freeze!r}"
        )
    return dict(freeze) if isinstance(freeze, Mapping) else dict.fromkeys(freeze, True)


def _identity(regularizer: Any) -> Any:
    """Return what two regularizers have in common that are the same."""
    return regularizer if isinstance(regularizer, regularizers.L1L2) else id(regularizer)


def _shape(name: str, shape: Any) -> tuple[int, int]:
    if not isinstance(shape, tuple | list) or len(shape) != 2:
        raise TypeError(f"tables[{name!r}] must be (num_embeddings, embedding_dim), got {shape!r}")
    size, width = shape
    return integer(f"num_embeddings of {name!r}", size, 0), integer(f"embedding_dim of {name!r}", width, 1)


def _of_table(given: Any, name: str, default: Any) -> Any:
    return given.get(name, default) if isinstance(given, Mapping) else given


def _place(storage: Any, name: str) -> Any:
    """Return where a table lies for which all have one storage: a file in a folder, if that is a path."""
    if storage is None or storage == "shared":
        return storage
    if not isinstance(storage, str | os.PathLike) or Path(storage).suffix == ".npy":
        raise ValueError(
            "storage must be 'shared', the path of a folder with a file for each table, "
            f"or a dict from tables' names to 'shared' or the path of a file, got {storage!r}"
        )
    if Path(name).name != name:
        raise ValueError(f"table {name!r} cannot be a file of its name: give storage as a dict from names to paths")
    folder = Path(storage)
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{name}.npy"


def _refuse_optimizer(optimizer: Any, what: str) -> None:
    if optimizer is not None:
        raise ValueError(f"optimizer would have nothing to change: freeze names {what}")
