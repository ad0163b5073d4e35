"""An array that is trained by rows: its gradient, what is added to it, and what the rows must satisfy afterwards."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastemb.engine.device import on_host
from fastemb.engine.gradients import RowGradient, merge
from fastemb.engine.locks import ForkedLock
from fastemb.engine.validate import boolean
from fastemb.layers.constraints import Constraint
from fastemb.layers.memory import Memory
from fastemb.layers.regularizers import Regularizer
from fastemb.layers.rows import read_rows, write_rows
from fastemb.optim.optimizer import Optimizer

__all__ = ["Parameter", "accept_together"]

PENALTY_BLOCK = 1 << 20  # numbers whose penalty is summed at a time


class Parameter:
    """What an optimizer changes: a table and its gradient.

    Parameters
    ----------
    memory : Memory
        Where the table lies.
    shown : numpy.dtype
        What its numbers are, where that is not the memory's dtype.
    embeddings_regularizer : Regularizer, optional
    embeddings_constraint : callable, optional
    optimizer : fastemb.optim.Optimizer, optional
        Applied to each gradient as it comes.

    Examples
    --------
    >>> parameter = Parameter(Memory(np.zeros((4, 2))), np.dtype(np.float64))
    >>> parameter.accept(RowGradient(np.array([1, 3]), np.ones((2, 2))))
    >>> parameter.grad.to_dense(4)
    array([[0., 0.],
           [1., 1.],
           [0., 0.],
           [1., 1.]])
    """

    def __init__(
        self,
        memory: Memory,
        shown: np.dtype,
        *,
        embeddings_regularizer: Regularizer | None = None,
        embeddings_constraint: Constraint | None = None,
        optimizer: Optimizer | None = None,
    ) -> None:
        self.embeddings_regularizer = embeddings_regularizer
        self.embeddings_constraint = embeddings_constraint
        if not (optimizer is None or isinstance(optimizer, Optimizer)):
            raise TypeError(
                f"optimizer must be an optimizer of fastemb.optim, got {optimizer!r}: make one, as optim.Adam()"
            )
        self.optimizer = optimizer
        self.caught_up_by: Any = None  # an optimizer that steps the collected gradients, and puts off weight decay
        self._memory = memory
        self._shown = shown
        self._frozen: bool | NDArray[np.bool_] = False
        self._lock = ForkedLock()
        self._gradients: list[RowGradient] = []
        self._total: RowGradient | None = None
        if optimizer is not None:
            optimizer.register(self)

    @property
    def weight(self) -> NDArray:
        """The table (num_embeddings, embedding_dim) itself, not a copy."""
        table = self._memory.array
        return table if self._shown == table.dtype else table.view(self._shown)

    @property
    def dtype(self) -> np.dtype:
        """The table's dtype: bfloat16 where ml_dtypes can be imported, else its bits are shown as uint16."""
        return self._shown

    @property
    def table(self) -> NDArray:
        """The table as kernels take it: bfloat16 as its bits."""
        return self._memory.array

    @property
    def frozen(self) -> bool | NDArray[np.bool_]:
        """Whether the table gets no gradient; or a bool (num_embeddings,), True for the rows that get none.

        It can be set to another one; the array itself is read-only.
        """
        return self._frozen

    @frozen.setter
    def frozen(self, frozen: Any) -> None:
        if isinstance(frozen, np.ndarray | list) and np.ndim(frozen) > 0:
            mask = np.array(frozen)
            if mask.dtype != bool or mask.shape != (len(self.table),):
                raise ValueError(
                    f"freeze must be a bool or a bool array of shape ({len(self.table)},), "
                    f"got {mask.dtype} of shape {mask.shape}"
                )
            mask.flags.writeable = False  # a GPU may have a copy of it
            self._frozen = mask
        else:
            self._frozen = boolean("freeze", frozen)

    @property
    def _frozen_rows(self) -> NDArray[np.bool_] | None:
        return self._frozen if isinstance(self._frozen, np.ndarray) else None

    # The gradient.

    @property
    def grad(self) -> RowGradient | None:
        """What `backward` has collected since `zero_grad`, with the regularizer's part; None if there is nothing."""
        with self._lock:
            if self._total is None and self._gradients:
                self._total = self._penalised(merge(self._gradients))
            return self._total

    @grad.setter
    def grad(self, gradient: RowGradient | None) -> None:
        with self._lock:
            self._gradients, self._total = [], gradient

    def zero_grad(self) -> None:
        """Forget the gradient that was collected."""
        self.grad = None

    def accept(self, gradient: RowGradient) -> None:
        """Take a gradient: update the table if there is an optimizer, else add it to `grad`."""
        with self._lock:
            if self.optimizer is not None:
                self.optimizer.update(self, self._penalised(gradient))
                return
            if self._total is not None and not self._gradients:
                self._gradients.append(self._total)
            self._gradients.append(gradient)
            self._total = None

    def catch_up(self, indices: NDArray) -> None:
        """Let the optimizer do what it has put off for rows that are about to be read."""
        if self._decayed_by is not None:
            self._decayed_by.catch_up(self, indices)

    def flush(self) -> None:
        """Let the optimizer do what it has put off for all rows, before the whole table is read."""
        if self.is_behind:
            self._decayed_by.flush(self)

    @property
    def is_behind(self) -> bool:
        """Whether an optimizer may have put off the weight decay of some rows."""
        return self._decayed_by is not None and self._decayed_by.decay == "exact"

    @property
    def _decayed_by(self) -> Any:
        if self._frozen is True:
            return None
        return self.caught_up_by if self.optimizer is None else self.optimizer

    @property
    def after_update(self) -> Callable[[NDArray], None] | None:
        """What applies the constraint to rows that have changed, distinct ones; an optimizer calls it if it is there.

        The rows of a gradient on a GPU are on the host only if they are asked for, which waits.
        """
        return None if self.embeddings_constraint is None else self._constrain

    def _constrain(self, rows: NDArray) -> None:
        assert self.embeddings_constraint is not None
        values = read_rows(self.table, rows)
        constrained = np.asarray(self.embeddings_constraint(values))
        if constrained.shape != values.shape:
            raise ValueError(f"embeddings_constraint must keep the rows' shape {values.shape}, got {constrained.shape}")
        write_rows(self.table, rows, constrained)

    def regularization(self) -> float:
        """Return the regularizer's penalty of the whole table, 0 without one; of a frozen table it is 0, too."""
        if self.embeddings_regularizer is None or self._frozen is True:
            return 0.0
        table = self.table
        step = max(1, PENALTY_BLOCK // max(1, table.shape[1]))
        blocks = (read_rows(table, slice(first, first + step)) for first in range(0, len(table), step))
        return float(sum(self.embeddings_regularizer(block) for block in blocks))

    def _penalised(self, gradient: RowGradient) -> RowGradient:
        """Return a gradient with the regularizer's part on its rows."""
        if self.embeddings_regularizer is None:
            return gradient
        rows = gradient.rows
        penalty = self.embeddings_regularizer.gradient(read_rows(self.table, rows))
        return RowGradient(rows, on_host(gradient.collect()) + penalty)

    # A copy shares the table, and begins without gradients or remembered forwards.

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_gradients": [], "_total": None, "_lock": ForkedLock()}


def accept_together(found: Sequence[tuple[Parameter, RowGradient]]) -> None:
    """Let parameters take gradients of one backward: an optimizer that clips by the norm sees all that are its own.

    Examples
    --------
    >>> parameter = Parameter(Memory(np.zeros((4, 2))), np.dtype(np.float64))
    >>> accept_together([(parameter, RowGradient(np.array([1, 3]), np.ones((2, 2))))])
    >>> parameter.grad.rows
    array([1, 3])
    """
    clipped: dict[int, list[tuple[Parameter, RowGradient]]] = {}
    for parameter, gradient in found:
        optimizer = parameter.optimizer
        if optimizer is None or optimizer.clip_norm is None:
            parameter.accept(gradient)
        else:
            clipped.setdefault(id(optimizer), []).append((parameter, gradient))
    for members in clipped.values():
        with ExitStack() as locks:
            for parameter, _ in members:
                locks.enter_context(parameter._lock)
            optimizer = members[0][0].optimizer
            assert optimizer is not None
            optimizer.update_together([(p, p._penalised(gradient)) for p, gradient in members])
