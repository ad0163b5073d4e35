"""What a user gives as `y`: one label a text, or several."""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastemb.corpus.vocabulary import Vocabulary

__all__ = ["KINDS", "Targets", "as_list", "read_targets", "restored"]

# What labels may be, and how they are made from their names in a file.
KINDS: dict[str, Any] = {"str": str, "int": int, "float": float, "bool": lambda name: name == "True"}


class Targets(NamedTuple):
    """The labels of texts.

    Attributes
    ----------
    names : Vocabulary
        The labels as text, the most frequent first, with counts.
    kind : {"str", "int", "float", "bool"}
        What they were.
    labels : int32 (num_text_labels,)
        Text `i` has ``labels[offsets[i]:offsets[i + 1]]``.
    offsets : int64 (num_texts + 1,)
    """

    names: Vocabulary
    kind: str
    labels: NDArray[np.int32]
    offsets: NDArray[np.int64]


def as_list(name: str, values: Any) -> list[Any]:
    """Return a list of what is in a list, an array, a Series or an Arrow column.

    Raises
    ------
    TypeError
        If `values` is a str, or no collection.

    Examples
    --------
    >>> as_list("X", np.array(["a", "b"]))
    ['a', 'b']
    """
    if isinstance(values, list):
        return values
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        hint = "; a file's name goes into corpus_file=" if isinstance(values, str) and name == "X" else ""
        raise TypeError(f"{name} must be a list or a column, one item a text, got {values!r:.80}{hint}")
    if getattr(values, "ndim", 1) != 1:
        raise ValueError(f"{name} must have one dimension, got shape {getattr(values, 'shape', None)}")
    for method in ("to_pylist", "tolist", "to_list"):
        if hasattr(values, method):
            return getattr(values, method)()
    return list(values)


def read_targets(y: Any, num_texts: int) -> Targets:
    """Return the labels of `num_texts` texts.

    Parameters
    ----------
    y : list, array, Series or Arrow column
        For each text a label (a str, an int, a float or a bool), or a list, tuple, set or array of labels.
    num_texts : int

    Raises
    ------
    TypeError, ValueError
        If there is not one item a text, or an item is no label; the message names its place.

    Examples
    --------
    >>> targets = read_targets(["tea", ["cup", "tea"]], 2)
    >>> targets.names.words, targets.labels, targets.offsets
    (['tea', 'cup'], array([0, 1, 0], dtype=int32), array([0, 1, 3]))
    """
    rows = as_list("y", y)
    if len(rows) != num_texts:
        raise ValueError(f"y must have one item for each of the {num_texts} texts, got {len(rows)}")
    numbers: dict[Any, int] = {}
    labels: list[int] = []
    offsets = np.zeros(num_texts + 1, np.int64)
    for place, row in enumerate(rows):
        for label in _labels_of(row):
            number = numbers.get(label) if type(label) is str else None
            if number is None:
                number = numbers.setdefault(_checked(label, place), len(numbers))
            labels.append(number)
        offsets[place + 1] = len(labels)
    kinds = {type(label).__name__ for label in numbers}
    if len(kinds) > 1:
        raise TypeError(f"labels must be of one type, got {', '.join(sorted(kinds))}")
    found = np.array(labels, np.int32)
    counts = np.bincount(found, minlength=len(numbers)).astype(np.int64)
    order = np.lexsort((np.arange(len(counts)), -counts))
    ranks = np.empty(len(numbers), np.int32)
    ranks[order] = np.arange(len(order), dtype=np.int32)
    names = [str(label) for label in numbers]
    vocabulary = Vocabulary.from_words([names[place] for place in order.tolist()], counts[order])
    return Targets(vocabulary, kinds.pop() if kinds else "str", ranks[found], offsets)


def _labels_of(row: Any) -> Iterable[Any]:
    if isinstance(row, list | tuple):
        return row
    if isinstance(row, set | frozenset):
        return sorted(row)
    return row.tolist() if isinstance(row, np.ndarray) and row.ndim == 1 else (row,)


def _checked(label: Any, place: int) -> Any:
    """Return a label as one of Python's own types."""
    value = label.item() if isinstance(label, np.generic) else str(label) if isinstance(label, str) else label
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"y must hold labels, got {value!r} at position {place}")
    if type(value).__name__ not in KINDS:
        raise TypeError(
            f"y must hold labels (str, int, float or bool) or lists of them, got {label!r:.80} at position {place}"
        )
    if value == "" or (isinstance(value, str) and "\0" in value):
        raise ValueError(f"labels must have characters and no NUL, got {value!r:.80} at position {place}")
    return value


def restored(names: list[str], kind: str) -> NDArray:
    """Return labels as they were given, from their names in a file.

    Examples
    --------
    >>> restored(["3", "1"], "int")
    array([3, 1])
    """
    return np.array([KINDS[kind](name) for name in names], dtype=None if names else str)
