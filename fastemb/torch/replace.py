"""Every embedding of a model becomes fastemb's, in place."""

import warnings
from typing import Any, NamedTuple

from torch import nn
from torch.nn.utils import parametrize

from fastemb.torch.fused import make_optimizer, why_not_fused
from fastemb.torch.modules import Embedding, EmbeddingBag

__all__ = ["Replacement", "replace_embeddings"]

_OURS = {nn.Embedding: Embedding, nn.EmbeddingBag: EmbeddingBag}


class Replacement(NamedTuple):
    """An embedding that `replace_embeddings` found.

    Attributes
    ----------
    name : str
        Its name in the model.
    module : torch.nn.Embedding or torch.nn.EmbeddingBag
        The same object as before.
    replaced : bool
        Whether it is fastemb's now.
    fused : bool
        Whether it has the fused optimizer.
    note : str
        Why not, where it is not replaced or has none though there is one.

    Examples
    --------
    >>> (found,) = replace_embeddings(nn.Sequential(nn.Embedding(10, 2)))
    >>> found.name, found.replaced, found.fused
    ('0', True, False)
    """

    name: str
    module: nn.Module
    replaced: bool
    fused: bool
    note: str


def replace_embeddings(
    model: nn.Module, *, fused_optimizer: Any = None, save_optimizer: bool = False
) -> list[Replacement]:
    """Turn every `torch.nn.Embedding` and `torch.nn.EmbeddingBag` of a model into fastemb's, in place.

    The modules stay the objects that they are, with parameters, hooks, buffers and mode; only their class changes.
    So tied weights stay tied, and a torch optimizer that was made before goes on as before; it passes over a fused
    table, whose ``.grad`` stays None. Classes derived from torch's are left alone, for they may do other things.

    Parameters
    ----------
    model : torch.nn.Module
    fused_optimizer : str, callable or optimizer of `fastemb.optim`, optional
        One optimizer for all tables, which steps in the backward: see `fastemb.torch.Embedding`. A table whose weight
        is used outside embeddings as well (an output projection tied to it) cannot have it; a warning says so, and the
        table takes ordinary gradients.
    save_optimizer : bool, default False
        Keep the fused optimizer's state in ``model.state_dict()``.

    Returns
    -------
    list of Replacement
        Every embedding of the model, replaced or not.

    Examples
    --------
    >>> model = nn.Sequential(nn.EmbeddingBag(100, 8), nn.Linear(8, 2))
    >>> for found in replace_embeddings(model, fused_optimizer="adagrad"):
    ...     print(found.name, type(found.module).__module__, found.fused)
    0 fastemb.torch.modules True
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be a torch.nn.Module, got {type(model).__name__}")
    optimizer = None if fused_optimizer is None else make_optimizer(fused_optimizer)
    tables = {name: module for name, module in model.named_modules() if isinstance(module, tuple(_OURS))}
    elsewhere = _weights_elsewhere(model)
    found = []
    module: Any
    for name, module in tables.items():
        note = _replace(module)
        replaced, fused = not note, False
        if replaced and optimizer is not None:
            note = _fuse(module, optimizer, elsewhere)
            fused = not note
            module.save_optimizer = save_optimizer
        found.append(Replacement(name, module, replaced, fused, note))
    for each in found:
        if each.note and optimizer is not None:
            warnings.warn(f"{each.name or 'the model'} has no fused optimizer: {each.note}", UserWarning, stacklevel=2)
    return found


def _replace(module: Any) -> str:
    """Make a module of torch's ours; return why not."""
    kind = type(module)
    if issubclass(kind, tuple(_OURS.values())):
        return ""
    if kind in _OURS:
        module.__class__ = _OURS[kind]
        return ""
    if parametrize.is_parametrized(module) and len(kind.__bases__) == 1 and kind.__bases__[0] in _OURS:
        kind.__bases__ = (_OURS[kind.__bases__[0]],)  # torch made this class for this one module
        return ""
    return f"{kind.__module__}.{kind.__qualname__} is a class of its own"


def _fuse(module: Any, optimizer: Any, elsewhere: dict[int, str]) -> str:
    """Give a module the optimizer; return why not."""
    other = elsewhere.get(id(module.weight))
    note = f"its weight is also {other}, which the optimizer would not see" if other else why_not_fused(module.weight)
    if not note:
        module.fused_optimizer = optimizer
    return note


def _weights_elsewhere(model: nn.Module) -> dict[int, str]:
    """Return the parameters of all modules that are not exactly embeddings, by identity, with a name of each."""
    return {
        id(parameter): f"{name}.{key}" if name else key
        for name, module in model.named_modules()
        if type(module) not in (*_OURS, *_OURS.values())
        for key, parameter in module.named_parameters(recurse=False)
    }
