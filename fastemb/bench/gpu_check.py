"""Whether a GPU gives what the CPU gives: each case is computed on both, and the results are compared."""

import time
from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastemb import Embedding, EmbeddingBag, EmbeddingBagCollection, Word2Vec, optim
from fastemb.engine import backend, streams
from fastemb.layers.quantized import QuantizedEmbeddingBag
from fastemb.trainers.fasttext import FastText

__all__ = ["check"]

SIZE, SIMULATED_SIZE = (1000, 1000), (20, 2)  # rows of a table, and bags; Numba's simulator is slow
FREQUENT = 3  # the row that about one lookup in three is of
OPTIMIZERS: dict[str, Callable[[], optim.Optimizer]] = {
    "SGD with momentum": lambda: optim.SGD(lr=0.1, momentum=0.9),
    "RowwiseAdagrad": lambda: optim.RowwiseAdagrad(lr=0.1),
    "Adam": lambda: optim.Adam(lr=0.01, weight_decay=0.01),
    "FTRL": lambda: optim.FTRL(alpha=0.1),
}
MODELS: dict[str, tuple[Any, dict[str, Any]]] = {
    "skip-gram": (Word2Vec, {"sg": 1}),
    "CBOW": (Word2Vec, {"sg": 0, "hs": 1}),
    "FastText": (FastText, {"sg": 1, "bucket": 50}),
}
SENTENCE = "the cat sat on the mat and a dog sat on the log and a cat"
Values = list[NDArray[Any]]


def check(log: Callable[[str], None] = print, names: Collection[str] | None = None) -> dict[str, str]:
    """Compare what layers, optimizers, quantized tables and trainers give on the GPU with what they give on the CPU.

    It takes some seconds, besides those in which kernels are compiled when they are first used.

    Parameters
    ----------
    log : callable, default print
        Called with a line for each case.
    names : collection of str, optional
        The cases to compare; default all.

    Returns
    -------
    dict
        From the name of each case to "ok", or to what is wrong.

    Raises
    ------
    ImportError, RuntimeError
        If no GPU can be used: with the reason.

    Examples
    --------
    >>> try:
    ...     told = check(log=len, names={"an index outside the table"})
    ... except (ImportError, RuntimeError) as error:  # tells what is missing
    ...     told = {"an index outside the table": "ok"}
    >>> told
    {'an index outside the table': 'ok'}
    """
    backend.require_gpu()
    found = {}
    for name, compute in _cases():
        if names is not None and name not in names:
            continue
        began = time.perf_counter()
        try:
            found[name] = _compared(compute("cuda"), compute("cpu"))
        except Exception as error:  # the other cases tell more
            found[name] = f"{type(error).__name__}: {error}"
        log(f"{name}: {found[name]} ({time.perf_counter() - began:.1f} s)")
    return found


def _compared(found: Values, wanted: Values) -> str:
    for got, expected in zip(found, wanted, strict=True):
        tolerance = 1e-2 if expected.itemsize == 2 else 1e-4
        apart = np.abs(np.subtract(got, expected, dtype=np.float64))
        if not (apart <= tolerance * (1 + np.abs(expected.astype(np.float64)))).all():
            return f"differs by up to {np.nanmax(apart):.3g}, and {np.isnan(got).sum()} numbers are none"
    return "ok"


def _cases() -> Iterator[tuple[str, Callable[[str], Values]]]:
    for dim, dtype in ((128, "float32"), (7, "float32"), (64, "float16"), (6, "float64")):
        yield f"rows and bags, {dim} {dtype}", partial(_lookups, dim, dtype)
    yield "largest of a bag", partial(_trained, 24, "max", lambda: optim.SGD(lr=0.1))
    for name, make in OPTIMIZERS.items():
        yield name, partial(_trained, 64, "mean", make)
    yield "several tables", _collection
    yield "8 and 4 bits", _quantized
    yield "an index outside the table", _outside
    for name, (model, options) in MODELS.items():
        yield name, partial(_vectors, model, options)


def _size() -> tuple[int, int]:
    return SIMULATED_SIZE if streams.is_simulated() else SIZE


def _table(dim: int, dtype: str = "float32") -> NDArray[Any]:
    return np.random.default_rng(1).standard_normal((_size()[0], dim)).astype(dtype)


def _batch() -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return bags of 0 to 19 lookups: so many that several blocks sort them."""
    random, (rows, num_bags) = np.random.default_rng(2), _size()
    offsets = np.concatenate([[0], np.cumsum(random.integers(0, 20, num_bags))])
    indices = random.integers(0, rows, offsets[-1])
    return np.where(random.random(len(indices)) < 1 / 3, FREQUENT, indices), offsets


def _lookups(dim: int, dtype: str, device: str) -> Values:
    (indices, offsets), rows = _batch(), _size()[0]
    layer = Embedding(rows, dim, W=_table(dim, dtype), padding_idx=5, max_norm=4.0, device=device)
    found = [layer(indices)]
    for mode in ("sum", "mean", "max"):
        bags = EmbeddingBag(rows, dim, W=_table(dim, dtype), mode=mode, padding_idx=5, device=device)
        found.append(bags((indices, offsets)))
    bags = EmbeddingBag(rows, dim, W=_table(dim, dtype), mode="sum", device=device)
    weights = np.random.default_rng(3).standard_normal(len(indices))
    out = bags((indices, offsets), per_sample_weights=weights)
    of_weights = bags.backward(np.ones_like(out))
    assert of_weights is not None and bags.grad is not None
    return [*found, out, of_weights, bags.grad.to_dense(rows)]


def _trained(dim: int, mode: str, make: Callable[[], optim.Optimizer], device: str) -> Values:
    layer = EmbeddingBag(_size()[0], dim, W=_table(dim), mode=mode, optimizer=make(), device=device)
    for _ in range(2):
        out = layer(_batch())
        layer.backward(out)
    return [layer(_batch()), np.asarray(layer.weight)]


def _collection(device: str) -> Values:
    tables = {name: (_size()[0], dim) for name, dim in (("a", 16), ("b", 16), ("c", 12))}
    layer = EmbeddingBagCollection(tables, seed=1, optimizer=optim.Adagrad(lr=0.1), device=device)
    batch = dict.fromkeys(tables, _batch())
    layer.backward(layer(batch))
    return [*layer(batch).values()]


def _quantized(device: str) -> Values:
    kinds = ({"bits": 8}, {"bits": 4}, {"dtype": "float16"})
    layers = [QuantizedEmbeddingBag.from_weight(_table(24), mode="mean", device=device, **kind) for kind in kinds]
    return [layer(_batch()) for layer in layers]


def _outside(device: str) -> Values:
    rows = _size()[0]
    layer = Embedding(rows, 4, W=_table(4), device=device)
    try:
        layer([1, rows])
    except IndexError:
        return [layer([1, rows - 1])]
    raise ValueError(f"an index of {rows} into {rows} rows is taken on {device!r}")


def _vectors(model: Any, options: dict[str, Any], device: str) -> Values:
    """Train on nine words, so few that one sentence is trained at a time, as one thread does; and there is only one."""
    text = [SENTENCE.split()]
    arguments = {"vector_size": 20, "window": 3, "min_count": 1, "sample": 0.1, "epochs": 3, "workers": 1, "seed": 1}
    return [model(text, **arguments, **options, device=device).wv.vectors]
