"""Low-rank adaptation: a product of two small tables that is trained in the place of a frozen one."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fastemb.engine.gradients import RowGradient
from fastemb.engine.validate import integer, real
from fastemb.layers.initializers import fill
from fastemb.layers.memory import allocate
from fastemb.layers.parameter import Parameter
from fastemb.layers.rows import add_rows
from fastemb.layers.tape import Tape

if TYPE_CHECKING:
    from fastemb.layers.table import TableLayer

__all__ = ["Adapter", "adapt", "add_product", "check_adaptable", "small_dtype"]

MERGED_ROWS = 1 << 12  # rows whose product is formed at a time


class Adapter:
    """What LoRA adds to the output of a layer.

    Parameters
    ----------
    a : TableLayer
        A, of `rank` columns, which looks up as the layer does.
    b : Parameter
        B (rank, embedding_dim).
    scale : float
    frozen : bool or bool array
        What was frozen of the layer before.
    """

    def __init__(self, a: "TableLayer", b: Parameter, scale: float, frozen: Any) -> None:
        self.a, self.b, self.scale, self.frozen = a, b, scale, frozen
        self._tape = Tape()

    def forward(self, *arguments: Any) -> NDArray:
        """Return what is added to the layer's output; the arguments are those of the layer's forward."""
        found = self.a.forward(*arguments)
        if self.a.remembers:
            self._tape.calls.append(found)
        return self.scale * (found @ self.b.weight)

    def backward(self, grad_output: Any) -> Any:
        """Undo the last forward, and return what A returns: the gradient of weights by way of the product."""
        if not self._tape.calls:
            raise RuntimeError("backward needs a forward to undo, in training and in the same thread: there is none")
        found = self._tape.calls[-1]
        b = self.b.weight
        grad = np.asarray(grad_output, b.dtype)
        shape = (*found.shape[:-1], b.shape[1])
        if grad.shape != shape:
            raise ValueError(f"grad_output must have shape {shape}, got {grad.shape}")
        self._tape.calls.pop()
        grad = self.scale * grad
        result = self.a.backward(grad @ b.T)
        product = found.reshape(-1, len(b)).T @ grad.reshape(-1, b.shape[1])
        self.b.accept(RowGradient(np.arange(len(b)), product))
        return result

    def forget(self) -> None:
        """Forget the forwards of this thread."""
        self._tape.calls.clear()
        self.a.forget()

    def merge(self, table: NDArray) -> None:
        """Add the product to a table, as its kernels take it."""
        if not table.flags.writeable:
            raise ValueError("merge_lora changes the table in place, but W is read-only")
        add_product(table, self.a.weight, self.b.weight, self.scale)


def add_product(table: NDArray, a: NDArray, b: NDArray, scale: float) -> None:
    """Add ``scale * (a @ b)`` to a table, as its kernels take it, without an array of its size.

    Examples
    --------
    >>> table = np.ones((2, 2))
    >>> add_product(table, np.array([[1.0], [2.0]]), np.array([[3.0, 4.0]]), 10)
    >>> table
    array([[31., 41.],
           [61., 81.]])
    """
    for first in range(0, len(table), MERGED_ROWS):
        rows = slice(first, first + MERGED_ROWS)
        add_rows(table, rows, scale * (a[rows] @ b))


def check_adaptable(owner: Any, rank: int, lora_alpha: float | None) -> tuple[int, float]:
    """Return the rank and alpha of LoRA for a layer, or for tables of a collection, that can have it."""
    if owner.embeddings_constraint is not None:
        raise ValueError("lora is incompatible with embeddings_constraint: remove the constraint")
    if owner.lora is not None:
        raise ValueError("lora is already enabled, and can be once: call merge_lora before")
    rank = integer("lora_rank", rank, 1)
    return rank, rank if lora_alpha is None else real("lora_alpha", lora_alpha, 0)


def small_dtype(dtype: np.dtype) -> np.dtype:
    """Return the dtype of LoRA's tables beside a table of `dtype`.

    Examples
    --------
    >>> small_dtype(np.dtype(np.float16))
    dtype('float32')
    """
    return np.dtype(np.float64 if dtype == np.float64 else np.float32)


def adapt(layer: Any, rank: int, lora_alpha: float | None, a_initializer: Any, b_initializer: Any) -> Adapter:
    """Return an adapter for a layer, whose tables are trained as the layer was; see `TableLayer.enable_lora`."""
    rank, alpha = check_adaptable(layer, rank, lora_alpha)
    if layer.optimizer is not None and layer.optimizer.clip_norm is not None:
        raise ValueError(
            "lora trains two tables, and clip_norm needs the gradients of both: give the layer no optimizer, "
            "and its parameters() to one whose step() you call"
        )
    dtype = small_dtype(layer.dtype)
    trained: dict[str, Any] = {"embeddings_regularizer": layer.embeddings_regularizer, "optimizer": layer.optimizer}
    options: dict[str, Any] = {name: getattr(layer, name) for name in layer.looks_up}
    freeze = layer.frozen if isinstance(layer.frozen, np.ndarray) else False
    generator = layer.generator
    a = type(layer)(
        layer.num_embeddings,
        rank,
        dtype=dtype,
        seed=generator,
        embeddings_initializer=a_initializer,
        freeze=freeze,
        **trained,
        **options,
    )
    shape = (rank, layer.embedding_dim)
    memory = allocate(None, shape, dtype, lambda table: fill(table, b_initializer, generator))
    return Adapter(a.train(layer.training), Parameter(memory, dtype, **trained), alpha / rank, layer.frozen)
