"""Where the numbers of a fresh table come from: Keras' initializers by name, callables and arrays."""

import inspect
import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastemb.engine.validate import choice, real
from fastemb.layers.rows import stored

__all__ = [
    "Constant",
    "Identity",
    "Initializer",
    "Normal",
    "Orthogonal",
    "TruncatedNormal",
    "Uniform",
    "VarianceScaling",
    "fill",
    "is_array",
    "start_table",
]

BLOCK = 1 << 16  # numbers drawn at a time: a temporary array of them is all the memory that it takes
TRUNCATED_STDDEV = 0.87962566103423978  # of the standard normal distribution, cut off at two

Shape = tuple[int, ...]


class Initializer:
    """Draws the rows of a table, a block at a time.

    Attributes
    ----------
    whole : bool
        Whether the table can only be made in one piece.
    """

    whole = False

    def draw(self, generator: np.random.Generator, block: Shape, table: Shape, dtype: type) -> NDArray:
        """Return `block`, the shape of some rows, of numbers in `dtype`, for a table of the shape `table`."""
        raise NotImplementedError


@dataclass(frozen=True)
class Constant(Initializer):
    """Every number is `value`.

    Examples
    --------
    >>> from fastemb import Embedding
    >>> Embedding(2, 3, embeddings_initializer=Constant(0.5)).weight
    array([[0.5, 0.5, 0.5],
           [0.5, 0.5, 0.5]], dtype=float32)
    """

    value: float = 0.0

    def __post_init__(self) -> None:
        finite("value", self.value)

    def draw(self, generator: np.random.Generator, block: Shape, table: Shape, dtype: type) -> NDArray:
        """Return rows of the value."""
        return np.full(block, self.value, dtype)


@dataclass(frozen=True)
class Uniform(Initializer):
    """Uniform in ``[minval, maxval)``; with its defaults Keras' ``"uniform"``.

    Examples
    --------
    >>> from fastemb import Embedding
    >>> weight = Embedding(100, 8, embeddings_initializer=Uniform(0, 2), seed=1).weight
    >>> bool(weight.min() >= 0), bool(1.9 < weight.max() < 2)
    (True, True)
    """

    minval: float = -0.05
    maxval: float = 0.05

    def __post_init__(self) -> None:
        real("maxval", self.maxval, finite("minval", self.minval))

    def draw(self, generator: np.random.Generator, block: Shape, table: Shape, dtype: type) -> NDArray:
        """Return uniform rows."""
        return generator.random(block, dtype) * dtype(self.maxval - self.minval) + dtype(self.minval)


@dataclass(frozen=True)
class Normal(Initializer):
    """Normal; with its defaults Keras' ``"normal"``. torch's tables start as ``Normal(0, 1)``.

    Examples
    --------
    >>> from fastemb import Embedding
    >>> round(float(Embedding(1000, 8, embeddings_initializer=Normal(), seed=1).weight.std()), 2)
    0.05
    """

    mean: float = 0.0
    stddev: float = 0.05

    def __post_init__(self) -> None:
        finite("mean", self.mean)
        real("stddev", self.stddev, 0)

    def draw(self, generator: np.random.Generator, block: Shape, table: Shape, dtype: type) -> NDArray:
        """Return normal rows."""
        return generator.standard_normal(block, dtype) * dtype(self.stddev) + dtype(self.mean)


@dataclass(frozen=True)
class TruncatedNormal(Normal):
    """Normal, drawn again where it is more than two standard deviations from the mean.

    Examples
    --------
    >>> from fastemb import Embedding
    >>> bool(abs(Embedding(1000, 8, embeddings_initializer=TruncatedNormal()).weight).max() <= 0.1)
    True
    """

    def draw(self, generator: np.random.Generator, block: Shape, table: Shape, dtype: type) -> NDArray:
        """Return rows without the tails."""
        values = generator.standard_normal(block, dtype)
        while (far := np.abs(values) > 2).any():
            values[far] = generator.standard_normal(int(far.sum()), dtype)
        return values * dtype(self.stddev) + dtype(self.mean)


@dataclass(frozen=True)
class VarianceScaling(Initializer):
    """Numbers whose variance is `scale` over the fan; He, Glorot and LeCun are special cases.

    The fans of a table are Keras': fan_in is num_embeddings, fan_out embedding_dim, fan_avg their mean.

    Parameters
    ----------
    scale : float, default 1
        Above 0.
    mode : {"fan_in", "fan_out", "fan_avg"}
    distribution : {"truncated_normal", "untruncated_normal", "uniform"}

    Examples
    --------
    >>> from fastemb import Embedding
    >>> weight = Embedding(1000, 8, embeddings_initializer=VarianceScaling(2, "fan_out"), seed=1).weight
    >>> round(float(weight.std()), 1)  # (2 / 8) ** 0.5
    0.5
    """

    scale: float = 1.0
    mode: str = "fan_in"
    distribution: str = "truncated_normal"

    def __post_init__(self) -> None:
        real("scale", self.scale, 0, low_open=True)
        choice("mode", self.mode, ("fan_in", "fan_out", "fan_avg"))
        choice("distribution", self.distribution, ("truncated_normal", "untruncated_normal", "uniform"))

    def draw(self, generator: np.random.Generator, block: Shape, table: Shape, dtype: type) -> NDArray:
        """Return rows of that variance."""
        fans = {"fan_in": table[0], "fan_out": table[1], "fan_avg": sum(table) / 2}
        stddev = math.sqrt(self.scale / max(1.0, fans[self.mode]))
        parts: dict[str, Initializer] = {
            "truncated_normal": TruncatedNormal(0, stddev / TRUNCATED_STDDEV),
            "untruncated_normal": Normal(0, stddev),
            "uniform": Uniform(-math.sqrt(3) * stddev, math.sqrt(3) * stddev),
        }
        return parts[self.distribution].draw(generator, block, table, dtype)


@dataclass(frozen=True)
class Orthogonal(Initializer):
    """Rows (or columns, where there are fewer of them) that are orthonormal, times `gain`; needs the table twice.

    Saxe et al. 2013, "Exact solutions to the nonlinear dynamics of learning in deep linear neural networks".

    Examples
    --------
    >>> from fastemb import Embedding
    >>> weight = Embedding(2, 8, embeddings_initializer=Orthogonal(), dtype="float64").weight
    >>> bool(np.allclose(weight @ weight.T, np.eye(2)))
    True
    """

    gain: float = 1.0
    whole = True

    def __post_init__(self) -> None:
        finite("gain", self.gain)

    def draw(self, generator: np.random.Generator, block: Shape, table: Shape, dtype: type) -> NDArray:
        """Return all the rows."""
        q, r = np.linalg.qr(generator.standard_normal((max(block), min(block))))
        q = q * np.sign(np.diag(r)) * self.gain
        return (q.T if block[0] < block[1] else q).astype(dtype)


@dataclass(frozen=True)
class Identity(Initializer):
    """Ones on the diagonal.

    Examples
    --------
    >>> from fastemb import Embedding
    >>> Embedding(2, 2, embeddings_initializer="identity").weight
    array([[1., 0.],
           [0., 1.]], dtype=float32)
    """

    whole = True

    def draw(self, generator: np.random.Generator, block: Shape, table: Shape, dtype: type) -> NDArray:
        """Return all the rows."""
        return np.eye(*block, dtype=dtype)


def finite(name: str, value: object) -> float:
    """Return `value` as a finite float."""
    return real(name, value, -sys.float_info.max)


# Keras' names and its defaults.
NAMES: dict[str, Initializer] = {
    "zeros": Constant(0),
    "ones": Constant(1),
    "uniform": Uniform(),
    "random_uniform": Uniform(),
    "normal": Normal(),
    "random_normal": Normal(),
    "truncated_normal": TruncatedNormal(),
    "variance_scaling": VarianceScaling(),
    "glorot_uniform": VarianceScaling(1, "fan_avg", "uniform"),
    "glorot_normal": VarianceScaling(1, "fan_avg"),
    "he_uniform": VarianceScaling(2, "fan_in", "uniform"),
    "he_normal": VarianceScaling(2, "fan_in"),
    "lecun_uniform": VarianceScaling(1, "fan_in", "uniform"),
    "lecun_normal": VarianceScaling(1, "fan_in"),
    "orthogonal": Orthogonal(),
    "identity": Identity(),
}
TORCH = Normal(0, 1)


def fill(weight: NDArray, initializer: Any, generator: np.random.Generator, first: int = 0) -> None:
    """Write the starting numbers of a table's rows from `first` on.

    Parameters
    ----------
    weight : float64, float32, float16 or uint16 (bfloat16) (num_embeddings, embedding_dim)
        Rows from `first` on are written.
    initializer : None, str, Initializer, callable or array
        None for torch's N(0, 1); a name of Keras' (``"uniform"``, ``"glorot_normal"``, ...); a callable that makes an
        array from a shape, and from a dtype where it takes one; or the numbers.
    generator : numpy.random.Generator
    first : int, default 0
        The first row that is written: a table that has grown keeps the others. Callables and arrays give the new rows.

    Raises
    ------
    TypeError
        If `initializer` is none of these.
    ValueError
        If there is no such name, or what came has another shape.

    Examples
    --------
    >>> weight = np.zeros((3, 2))
    >>> fill(weight, "ones", np.random.default_rng(0), first=1)
    >>> weight
    array([[0., 0.],
           [1., 1.],
           [1., 1.]])
    """
    rows = weight[first:]
    chosen = _resolve(initializer)
    if isinstance(chosen, Initializer):
        _draw_rows(rows, chosen, generator, weight.shape)
        return
    dtype = _drawn_dtype(weight)
    values = _call(chosen, rows.shape, dtype) if callable(chosen) else chosen
    values = np.asarray(values)
    if values.shape != rows.shape:
        raise ValueError(f"embeddings_initializer must give an array of shape {rows.shape}, got {values.shape}")
    rows[:] = stored(values, weight.dtype)


def start_table(weight: NDArray, initializer: Any, generator: np.random.Generator, padding_idx: int | None) -> None:
    """Write a fresh table: with zeros in the padding row, unless the numbers were given as an array.

    Examples
    --------
    >>> weight = np.zeros((3, 2))
    >>> start_table(weight, "ones", np.random.default_rng(0), padding_idx=0)
    >>> weight[:, 0]
    array([0., 1., 1.])
    """
    fill(weight, initializer, generator)
    if padding_idx is not None and not is_array(initializer):
        weight[padding_idx] = 0


def is_array(initializer: Any) -> bool:
    """Return whether an initializer is the numbers themselves."""
    return isinstance(initializer, list | tuple) or hasattr(initializer, "__array__")


def _resolve(initializer: Any) -> Any:
    if initializer is None:
        return TORCH
    if isinstance(initializer, str):
        return NAMES[choice("embeddings_initializer", initializer, NAMES)]
    if isinstance(initializer, Initializer) or callable(initializer) or is_array(initializer):
        return initializer
    raise TypeError(f"embeddings_initializer must be a name, a callable or an array, got {initializer!r}")


def _draw_rows(rows: NDArray, initializer: Initializer, generator: np.random.Generator, table: Any) -> None:
    dtype = _drawn_dtype(rows)
    step = len(rows) if initializer.whole else max(1, BLOCK // max(1, rows.shape[1]))
    for start in range(0, len(rows), max(1, step)):
        block = rows[start : start + step]
        block[:] = stored(initializer.draw(generator, block.shape, table, dtype), rows.dtype)


def _drawn_dtype(weight: NDArray) -> type:
    return np.float64 if weight.dtype == np.float64 else np.float32


def _call(function: Callable[..., Any], shape: Any, dtype: type) -> Any:
    """Call an initializer as Keras does where it takes a dtype, as Lasagne does where it does not."""
    try:
        takes_dtype = "dtype" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        takes_dtype = False
    return function(shape, dtype=np.dtype(dtype).name) if takes_dtype else function(shape)
