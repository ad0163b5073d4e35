"""`torch.nn.Embedding` and `torch.nn.EmbeddingBag` that look up, differentiate and step with fastemb's kernels."""

from typing import Any

import torch
import torch.fx
from torch import Tensor, nn

from fastemb.torch.functional import embedding, embedding_bag
from fastemb.torch.fused import FusedTable, make_optimizer, refuse_averaging, why_not_fused

__all__ = ["Embedding", "EmbeddingBag"]

# `torch.fx.symbolic_trace` records the calls of these, as it does those of torch's own functions.
torch.fx.wrap("embedding")
torch.fx.wrap("embedding_bag")
# `torch.compile` leaves its graph here and comes back after the lookup.
_embedding_outside_graph = torch.compiler.disable(embedding)
_embedding_bag_outside_graph = torch.compiler.disable(embedding_bag)


_is_exporting = getattr(torch.compiler, "is_exporting", lambda: False)  # from torch 2.7 on
_STATE = "fused_optimizer."  # what the names of its state begin with in a state_dict


class _Table(nn.Module):
    """What both modules have besides torch's: an optimizer that steps in the backward."""

    weight: nn.Parameter
    _fused: FusedTable | None = None  # of the class, so that a module of torch's that becomes ours has it
    save_optimizer: bool = False

    @property
    def fused_optimizer(self) -> Any:
        """The optimizer that steps at the end of each backward, or None: the parameter takes a ``.grad``."""
        return None if self._fused is None else self._fused.optimizer

    @fused_optimizer.setter
    def fused_optimizer(self, optimizer: Any) -> None:
        self._fused = None if optimizer is None else FusedTable.of(self.weight, make_optimizer(optimizer))

    @classmethod
    def from_pretrained(
        cls, *arguments: Any, fused_optimizer: Any = None, save_optimizer: bool = False, **options: Any
    ) -> Any:
        """Return a module of a table that exists: torch's, and the fused optimizer for one with ``freeze=False``."""
        module = super().from_pretrained(*arguments, **options)
        if fused_optimizer is not None and not module.weight.requires_grad:
            raise ValueError("fused_optimizer would change the table, but it is frozen: set freeze to False")
        module.fused_optimizer, module.save_optimizer = fused_optimizer, save_optimizer
        return module

    def _table(self) -> FusedTable | None:
        """Return the optimizer's hold of the weight that the module has now; None if it can have none."""
        fused, weight = self._fused, self.weight
        if fused is not None and fused.parameter is not weight:
            if why_not_fused(weight):
                return None
            self._fused = fused = FusedTable.of(weight, fused.optimizer)
        return fused

    def _stepping(self, weight: Tensor) -> FusedTable | None:
        """Return what will step in the backward of a forward; None if the gradient goes another way.

        It does where ``torch.func.functional_call`` has put another tensor in the weight's place, and in a graph that
        is exported or traced by ``torch.fx``.
        """
        table = self._fused
        if table is None or table.parameter is not weight:
            if isinstance(weight, torch.fx.Proxy):
                return None
            table = self._table()
        if not (weight.requires_grad and torch.is_grad_enabled()):
            return table
        if table is not None:
            refuse_averaging(table.parameter)
            return table
        stands_in = self._parameters.get("weight") is weight and not isinstance(weight, nn.Parameter)
        if stands_in or _is_exporting():
            return None
        return FusedTable.of(self.weight, self.fused_optimizer)  # which says why it cannot

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        table = self._table()
        if table is not None:
            state = table.state()  # which brings the weight up to date, too
            if self.save_optimizer:
                destination |= {f"{prefix}{_STATE}{name}": value for name, value in state.items()}
        super()._save_to_state_dict(destination, prefix, keep_vars)

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: Any, strict: bool,
        missing_keys: list[str], unexpected_keys: list[str], error_msgs: list[str],
    ) -> None:  # fmt: skip
        super()._load_from_state_dict(
            state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
        )
        table, start = self._table(), f"{prefix}{_STATE}"
        state = {key.removeprefix(start): value for key, value in state_dict.items() if key.startswith(start)}
        if table is None or not state:
            return
        unexpected_keys[:] = [key for key in unexpected_keys if not key.startswith(start)]
        try:
            table.load_state(state)
        except (KeyError, TypeError, ValueError) as error:
            error_msgs.append(f"{start}*: {error}")

    def extra_repr(self) -> str:
        """Return torch's, and the fused optimizer where there is one."""
        own = super().extra_repr()
        return own if self._fused is None else f"{own}, fused_optimizer={self.fused_optimizer!r}"


class Embedding(_Table, nn.Embedding):
    """A `torch.nn.Embedding` that trains on a CPU many times faster.

    It is one: the same arguments, weights under the same seed, state, results and gradients, dense or sparse; the
    kernels work on the tensors' own memory, on a CPU and on an NVIDIA GPU. Where they cannot (another device, a tensor
    subclass, ``torch.func``, ``torch.jit.trace``) torch's own lookup runs, with the same meaning.

    Parameters
    ----------
    num_embeddings, embedding_dim, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse, device, dtype
        As in `torch.nn.Embedding`.
    fused_optimizer : str, type, callable or optimizer of `fastemb.optim`, optional
        With it the table is stepped at the end of each backward, in one pass over the rows that were looked up, and
        ``weight.grad`` stays None. Several lookups in one backward make one step. ``torch.autograd.grad`` of the weight
        steps nothing and returns the gradient. Clip gradients by the optimizer's own arguments: torch's functions see
        none. Not for weights that are used outside the module, nor in `DistributedDataParallel`: the backward, and
        there the forward, raise.
    save_optimizer : bool, default False
        Keep the fused optimizer's state in ``state_dict()``, under ``fused_optimizer.*``.

    Raises
    ------
    IndexError
        In the call, if an index is out of range.

    Examples
    --------
    >>> import torch
    >>> layer = Embedding(10, 3, fused_optimizer="sgd")
    >>> before = layer.weight.detach().clone()
    >>> layer(torch.tensor([[4, 1], [4, 7]])).sum().backward()
    >>> layer.weight.grad is None, torch.nonzero((layer.weight != before).any(1)).flatten().tolist()
    (True, [1, 4, 7])
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Tensor | None = None,
        _freeze: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        fused_optimizer: Any = None,
        save_optimizer: bool = False,
    ) -> None:
        nn.Embedding.__init__(
            self, num_embeddings, embedding_dim, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse,
            _weight, _freeze, device, dtype,
        )  # fmt: skip
        self.save_optimizer = save_optimizer
        if fused_optimizer is not None:
            self.fused_optimizer = fused_optimizer

    def forward(self, input: Tensor) -> Tensor:
        """Return the rows of `input`'s indices.

        Parameters
        ----------
        input : Tensor of integers, of any shape

        Returns
        -------
        Tensor (*input.shape, embedding_dim)
        """
        look_up = _embedding_outside_graph if torch.compiler.is_compiling() else embedding
        weight = self.weight
        return look_up(
            input, weight, self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.sparse,
            fused=self._fused and self._stepping(weight),
        )  # fmt: skip


class EmbeddingBag(_Table, nn.EmbeddingBag):
    """A `torch.nn.EmbeddingBag` that trains on a CPU many times faster.

    It is one, as `Embedding` is a `torch.nn.Embedding`. Beyond torch: the modes ``"min"`` and ``"sqrtn"`` (the sum
    divided by the square root of the number of rows, or of the sum of the squared weights), and `per_sample_weights`
    with ``"mean"`` (a weighted mean) and ``"sqrtn"``.

    Parameters
    ----------
    num_embeddings, embedding_dim, max_norm, norm_type, scale_grad_by_freq, mode, sparse, include_last_offset, \
padding_idx, device, dtype
        As in `torch.nn.EmbeddingBag`.
    fused_optimizer, save_optimizer
        As in `Embedding`.

    Raises
    ------
    IndexError
        In the call, if an index is out of range.
    ValueError
        In the call, if offsets fall, do not start at 0 or exceed the input.

    Examples
    --------
    >>> import torch
    >>> weight = torch.arange(6.0).reshape(3, 2)
    >>> bag = EmbeddingBag.from_pretrained(weight, mode="sum")
    >>> bag(torch.tensor([0, 2, 1]), torch.tensor([0, 2]))
    tensor([[4., 6.],
            [2., 3.]])
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        _weight: Tensor | None = None,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        device: Any = None,
        dtype: Any = None,
        *,
        fused_optimizer: Any = None,
        save_optimizer: bool = False,
    ) -> None:
        nn.EmbeddingBag.__init__(
            self, num_embeddings, embedding_dim, max_norm, norm_type, scale_grad_by_freq, mode, sparse,
            _weight, include_last_offset, padding_idx, device, dtype,
        )  # fmt: skip
        self.save_optimizer = save_optimizer
        if fused_optimizer is not None:
            self.fused_optimizer = fused_optimizer

    def forward(self, input: Tensor, offsets: Tensor | None = None, per_sample_weights: Tensor | None = None) -> Tensor:
        """Return the reduced rows of each bag.

        Parameters
        ----------
        input : Tensor of integers (num_bags, bag_size) or (num_lookups,), or jagged nested
        offsets : Tensor of integers (num_bags,), optional
            With 1-D input: where each bag starts; with ``include_last_offset`` one more, where the last one ends.
        per_sample_weights : Tensor, optional
            Of the input's shape and the table's dtype.

        Returns
        -------
        Tensor (num_bags, embedding_dim)
        """
        reduce = _embedding_bag_outside_graph if torch.compiler.is_compiling() else embedding_bag
        weight = self.weight
        return reduce(
            input, weight, offsets, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.mode, self.sparse,
            per_sample_weights, self.include_last_offset, self.padding_idx,
            fused=self._fused and self._stepping(weight),
        )  # fmt: skip
