"""Optimizers that step at the end of a backward, so that a table's gradient is never kept."""

import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from functools import cache
from typing import Any
from weakref import ReferenceType, WeakSet, WeakValueDictionary, ref

import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim.optimizer import register_optimizer_step_pre_hook

from fastemb import optim
from fastemb.engine.device import DeviceArray
from fastemb.engine.gradients import RowGradient, merge
from fastemb.engine.streams import current_stream, number_of, wait_for
from fastemb.engine.validate import choice
from fastemb.torch.devices import on_gpu, why_not_on_gpu, working
from fastemb.torch.tensors import DTYPES, array_of, tensor_of

__all__ = ["OPTIMIZERS", "FusedTable", "make_optimizer", "refuse_averaging", "why_not_fused"]

OPTIMIZERS = {
    "adagrad": optim.Adagrad,
    "adam": optim.Adam,
    "adamw": optim.AdamW,
    "ftrl": optim.FTRL,
    "rowwise_adagrad": optim.RowwiseAdagrad,
    "sgd": optim.SGD,
}


_HERE: AbstractContextManager[None] = nullcontext()
_tables: "WeakValueDictionary[int, FusedTable]" = WeakValueDictionary()  # by the id of the parameter that they keep
_known_optimizers: WeakSet[torch.optim.Optimizer] = WeakSet()  # torch's, of which a first step was seen
_running: "WeakValueDictionary[tuple[int, int], _Backward]" = WeakValueDictionary()


def make_optimizer(optimizer: Any) -> optim.Optimizer:
    """Return the optimizer that a user means.

    Parameters
    ----------
    optimizer : str, callable or optimizer of `fastemb.optim`
        A name with that optimizer's defaults; anything that makes an optimizer when it is called; or one.

    Raises
    ------
    ValueError
        If there is none of that name.
    TypeError
        If it is no optimizer and makes none.

    Examples
    --------
    >>> make_optimizer("sgd").lr == make_optimizer(lambda: optim.SGD(lr=0.5)).lr
    False
    >>> make_optimizer("lion")
    Traceback (most recent call last):
        ...
    ValueError: fused_optimizer must be one of 'adagrad', 'adam', 'adamw', 'ftrl', 'rowwise_adagrad', 'sgd', got 'lion'
    """
    if isinstance(optimizer, str):
        optimizer = OPTIMIZERS[choice("fused_optimizer", optimizer, OPTIMIZERS)]
    made = optimizer() if callable(optimizer) else optimizer
    if not isinstance(made, optim.Optimizer):
        raise TypeError(
            f"fused_optimizer must be an optimizer of fastemb.optim, its name or what makes it, got {made!r}"
        )
    return made


def why_not_fused(weight: Tensor) -> str:
    """Return why a weight cannot be stepped in place by fastemb's kernels, or nothing.

    Examples
    --------
    >>> why_not_fused(nn.Parameter(torch.zeros(2, 3, device="meta")))
    'it is on meta, not on cpu'
    """
    if not isinstance(weight, nn.Parameter):
        return "it is computed from other parameters"
    if why_not_on_gpu(weight):
        return why_not_on_gpu(weight)
    if weight.dtype not in DTYPES or weight.layout is not torch.strided or type(weight) is not nn.Parameter:
        return f"it is a {type(weight).__name__} of {weight.dtype}"
    if weight.stride(1) != 1 and weight.shape[1] > 1:
        return f"the numbers of its rows do not lie side by side: strides {weight.stride()}"
    return ""


def refuse_averaging(parameter: nn.Parameter) -> None:
    """Raise in the forward of a `DistributedDataParallel` that is to average the gradient of a fused table."""
    active: Any = DistributedDataParallel._active_ddp_module
    if active is not None and any(other is parameter for other in active._module_parameters):
        raise RuntimeError(
            "DistributedDataParallel averages gradients, and a fused table has none: each process would train a table "
            "of its own, unlike the others'. Set the module's fused_optimizer to None, and give its weight to an "
            "optimizer of torch; or, if each process is to have a table of its own, leave the weight out with "
            "DistributedDataParallel._set_params_and_buffers_to_ignore_for_model"
        )


@cache
def _watch_optimizers() -> None:
    """Let torch's optimizers tell us of their steps, from the first fused table on."""
    register_optimizer_step_pre_hook(_warn_if_idle)


def _warn_if_idle(optimizer: torch.optim.Optimizer, arguments: Any, options: Any) -> None:
    """Warn at the first step of an optimizer of torch that can do nothing, as all it has are fused tables."""
    if optimizer in _known_optimizers:
        return
    _known_optimizers.add(optimizer)
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    if all(parameter.grad is None and _is_fused(parameter) for parameter in parameters):
        warnings.warn(
            f"{type(optimizer).__name__}.step() does nothing: all its parameters are tables with a fused optimizer, "
            "which steps them in the backward, at its own learning rate. Leave it out, or set the modules' "
            "fused_optimizer to None",
            UserWarning,
            stacklevel=3,
        )


def _is_fused(parameter: Tensor) -> bool:
    table = _tables.get(id(parameter))
    return table is not None and table.parameter is parameter


def _as_tensor(value: Any) -> Tensor:
    return tensor_of(value) if isinstance(value, DeviceArray) else torch.as_tensor(value)


class FusedTable:
    """A torch parameter as an optimizer of fastemb sees it: an array, and the gradients of one backward.

    There is one for each parameter, however many modules hold it, so that tied tables make one step.

    Parameters
    ----------
    parameter : torch.nn.Parameter (num_embeddings, embedding_dim)
    optimizer : optimizer of `fastemb.optim`

    Raises
    ------
    ValueError
        If the parameter cannot be stepped in place by fastemb's kernels.
    """

    def __init__(self, parameter: nn.Parameter, optimizer: optim.Optimizer) -> None:
        reason = why_not_fused(parameter)
        if reason:
            raise ValueError(
                f"weight cannot have a fused optimizer: {reason}. With fused_optimizer=None it takes torch's gradients"
            )
        self.parameter = parameter
        self.optimizer = optimizer
        self.grad = None  # an optimizer's `step` has nothing to do here
        optimizer.bind(self)
        self._be_known()

    @classmethod
    def of(cls, parameter: nn.Parameter, optimizer: optim.Optimizer) -> "FusedTable":
        """Return the one of a parameter."""
        known = _tables.get(id(parameter))
        return known if known is not None and known.optimizer is optimizer else cls(parameter, optimizer)

    @property
    def weight(self) -> NDArray:
        """The table, as an array on the parameter's memory."""
        return array_of(self.parameter)

    def catch_up(self, indices: NDArray) -> None:
        """Bring rows that are about to be read up to date with exact weight decay."""
        if self.optimizer.decay == "exact":
            self.optimizer.catch_up(self, indices)

    def state(self) -> dict[str, Tensor]:
        """Return what the optimizer remembers of this table, as tensors on its memory."""
        with self.working():
            self.optimizer.flush(self)
            kind = type(self.optimizer).__name__
            return {f"{kind}.{name}": _as_tensor(value) for name, value in self.optimizer.state_of(self).items()}

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Take over what `state` gave.

        Raises
        ------
        ValueError
            If it is of another kind of optimizer, or does not fit the table.
        """
        kind = f"{type(self.optimizer).__name__}."
        values = {}
        for name, value in state.items():
            if not name.startswith(kind):
                raise ValueError(f"the state must be of {kind[:-1]}, got {name}")
            values[name.removeprefix(kind)] = value.item() if value.dim() == 0 else value.cpu().numpy()
        self.optimizer.load_state_of(self, values)

    def working(self) -> AbstractContextManager[None]:
        """Return a context in which work is queued where the table lies."""
        return working(self.parameter, tells=False) if on_gpu(self.parameter) else nullcontext()

    def backward_around(self) -> "ReferenceType[_Backward] | None":
        """Return the backward in which a forward runs: that of a checkpoint, whose own backward is a part of it."""
        return None if torch._C._current_graph_task_id() == -1 else ref(_Backward.current(self.optimizer))

    def collect(self, gradient: RowGradient, around: "ReferenceType[_Backward] | None") -> None:
        """Take a gradient in a backward, to be applied at its end together with the others of this table.

        Parameters
        ----------
        gradient : RowGradient
        around : optional
            What `backward_around` returned in the forward.

        Raises
        ------
        RuntimeError
            If the parameter has hooks, which torch would call with None.
        """
        parameter: Any = self.parameter
        if not parameter.requires_grad:  # frozen since the forward
            return
        if parameter._backward_hooks or parameter._post_accumulate_grad_hooks:
            raise RuntimeError(
                "the weight of a fused table has a hook, which would get None: the gradient goes to the fused "
                "optimizer and is never kept. Remove the hook (to clip, give the optimizer clip_value or clip_norm), "
                "or set the module's fused_optimizer to None"
            )
        outer = None if around is None else around()
        (outer or _Backward.current(self.optimizer)).add(self, gradient)

    def __setstate__(self, attributes: dict[str, Any]) -> None:
        self.__dict__.update(attributes)
        self._be_known()

    def _be_known(self) -> None:
        _tables[id(self.parameter)] = self
        _watch_optimizers()


class _Backward:
    """The gradients that one backward gives to the tables of one optimizer.

    Only torch's queue of callbacks keeps it, so a backward that fails leaves nothing behind.
    """

    def __init__(self, optimizer: optim.Optimizer) -> None:
        self.optimizer = optimizer
        self.gradients: dict[FusedTable, list[RowGradient]] = {}
        self.streams: set[int] = set()  # of a GPU, in which gradients are made

    @classmethod
    def current(cls, optimizer: optim.Optimizer) -> "_Backward":
        """Return the one of the backward that is running."""
        key = (torch._C._current_graph_task_id(), id(optimizer))
        running = _running.get(key)
        if running is None:
            running = _running[key] = cls(optimizer)
            torch.autograd.Variable._execution_engine.queue_callback(running.finish)
        return running

    def add(self, table: FusedTable, gradient: RowGradient) -> None:
        """Keep a gradient until `finish`."""
        self.gradients.setdefault(table, []).append(gradient)
        if on_gpu(table.parameter):
            self.streams.add(number_of(current_stream()))

    @contextmanager
    def working(self, table: FusedTable) -> Iterator[None]:
        """Queue work where a table lies, behind what its gradients are made of."""
        with table.working():
            for number in self.streams:
                wait_for(number)
            yield

    def finish(self) -> None:
        """Step all tables."""
        for table in self.gradients:
            if table.parameter.grad is not None:
                raise RuntimeError(
                    f"the weight of a fused table, of shape {tuple(table.parameter.shape)}, has a .grad, from its use "
                    "outside the module or from before: set it to None, or set the module's fused_optimizer to None "
                    "if hooks, torch's optimizers or your own code are to have the gradient"
                )
        if self.optimizer.clip_norm is None:
            for table, gradients in self.gradients.items():
                with self.working(table) if self.streams else _HERE:
                    self.optimizer.update(table, merge(gradients))
        else:
            self._step_clipped()
        for table in self.gradients:
            torch.autograd.graph.increment_version(table.parameter)
        self.gradients = {}

    def _step_clipped(self) -> None:
        """Step all tables at once: the norm is that of all gradients."""
        with ExitStack() as places:
            found: list[tuple[Any, RowGradient]] = []
            for table, gradients in self.gradients.items():
                places.enter_context(self.working(table))
                found.append((table, merge(gradients)))
            self.optimizer.step_with(found)
