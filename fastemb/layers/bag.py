"""A table whose rows are looked up and reduced in bags: `torch.nn.EmbeddingBag` on NumPy arrays."""

from dataclasses import dataclass
from typing import Any, Unpack

from numpy.typing import ArrayLike, DTypeLike, NDArray

from fastemb.engine import operations
from fastemb.engine.arrays import accumulator, as_rows
from fastemb.engine.device import DeviceArray
from fastemb.engine.foreign import in_kind
from fastemb.engine.gradients import gradient_of_bags, gradient_of_coefficients
from fastemb.engine.ragged import Bags, as_bags
from fastemb.engine.validate import boolean, choice
from fastemb.layers.quantized import QuantizedEmbeddingBag
from fastemb.layers.table import TableLayer, TableOptions
from fastemb.layers.tape import apart

__all__ = ["EmbeddingBag"]

MODES = (*operations.SUMS, *operations.EXTREMES)


def reduced(table: NDArray, bags: Bags, mode: str, device: str) -> tuple[NDArray, NDArray | None]:
    """Return a row for each bag, and which lookups won where the mode compares them."""
    if mode in operations.EXTREMES:
        return operations.extremes(table, bags, operations.EXTREMES[mode], device=device)
    return operations.reduce(table, bags, mode, device=device), None


def check_summing(mode: str) -> None:
    """Raise if a bag of LoRA's products is not the product of a bag."""
    if mode in operations.EXTREMES:
        raise ValueError(f"lora needs a mode that sums, got {mode!r}")


@dataclass(slots=True)
class BagLookup:
    """What an EmbeddingBag remembers of a forward."""

    bags: Bags
    winners: NDArray | None
    weights_shape: tuple[int, ...] | None
    num_embeddings: int


class EmbeddingBag(TableLayer):
    """A table of which bags of rows are looked up and summed, averaged or compared: torch's `nn.EmbeddingBag`.

    Parameters
    ----------
    num_embeddings, embedding_dim, max_norm, norm_type, scale_grad_by_freq, sparse
        As in torch: see `fastemb.layers.table.TableLayer`.
    mode : {"mean", "sum", "max", "min", "sqrtn"}, default "mean"
        How a bag becomes a row. "sqrtn" is the sum over the square root of the number of rows, or of the sum of the
        squared weights. An empty bag is zeros.
    include_last_offset : bool, default False
        `offsets` ends with the number of indices.
    padding_idx : int, optional
        A row that is left out of the bags, gets no gradient and starts as zeros.
    **options
        All other arguments of `TableLayer`.

    Notes
    -----
    Forwards are remembered and undone as by `fastemb.Embedding`. Beyond torch, `per_sample_weights` goes with every
    mode but "max" and "min": with "mean" it makes a weighted mean.

    Examples
    --------
    >>> import numpy as np
    >>> layer = EmbeddingBag(10, 2, mode="sum", W=np.arange(20.0).reshape(10, 2))
    >>> layer([1, 2, 4, 5, 4, 3, 2, 9], [0, 4])
    array([[24., 28.],
           [36., 40.]])
    >>> layer([[1, 2], [3], []])
    array([[6., 8.],
           [6., 7.],
           [0., 0.]])
    """

    looks_up = (*TableLayer.looks_up, "mode", "include_last_offset")

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        *,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        **options: Unpack[TableOptions],
    ) -> None:
        self.mode = choice("mode", mode, MODES)
        self.include_last_offset = boolean("include_last_offset", include_last_offset)
        super().__init__(
            num_embeddings,
            embedding_dim,
            padding_idx=padding_idx,
            max_norm=max_norm,
            norm_type=norm_type,
            scale_grad_by_freq=scale_grad_by_freq,
            sparse=sparse,
            **options,
        )

    def forward(self, input: Any, offsets: ArrayLike | None = None, per_sample_weights: Any = None) -> NDArray:
        """Return a row for each bag; ``layer(input, offsets)`` is the same.

        Parameters
        ----------
        input : array, sequence of sequences, pyarrow array, or tuple (values, offsets)
            Indices: of one dimension with `offsets`, or of two; lists of any lengths; an Arrow list array; or the
            values and the ``num_bags + 1`` offsets of a CSR matrix.
        offsets : array (num_bags,), or (num_bags + 1,) with `include_last_offset`
            Where each bag begins, for an `input` of one dimension.
        per_sample_weights : array, sequence of sequences, or pyarrow array, optional
            A factor for each index.

        Returns
        -------
        array (num_bags, embedding_dim)
            In the table's dtype.

        Raises
        ------
        TypeError, ValueError
            If anything is of the wrong type or shape.
        IndexError
            If an index is outside the table, and `on_invalid` is "raise".
        """
        if per_sample_weights is not None and self.mode in operations.EXTREMES:
            raise ValueError(f"per_sample_weights do not go with mode={self.mode!r}")
        bags = as_bags(
            input,
            offsets,
            self.num_embeddings,
            accumulator(self.table.dtype),
            padding_idx=self.padding_idx,
            include_last_offset=self.include_last_offset,
            per_sample_weights=per_sample_weights,
            on_invalid=self.on_invalid,
        )
        self._prepare(self._checked_place(bags.indices))
        found, winners = reduced(self.table, bags, self.mode, self.device)
        if self.remembers or self._learns_weights(per_sample_weights):
            self._remember(bags, winners, input, offsets, per_sample_weights)
        out = self._in_kind(self._given_back(found), input[0] if isinstance(input, tuple) else input)
        if self.lora is not None:
            out += self.lora.forward(input, offsets, per_sample_weights).astype(out.dtype)
        return out

    __call__ = forward

    def _learns_weights(self, per_sample_weights: Any) -> bool:
        """Return whether `backward` has a gradient to return, of weights, though the table is frozen."""
        return self.training and per_sample_weights is not None and self.lora is None

    def _undoes_though_frozen(self) -> bool:
        calls = self._tape.calls
        return bool(calls) and calls[-1].weights_shape is not None

    def _remember(self, bags: Bags, winners: NDArray | None, input: Any, offsets: Any, weights: Any) -> None:
        coefficients = bags.coefficients
        kept = Bags(
            apart(bags.indices, input),
            apart(bags.offsets, offsets, input),
            None if coefficients is None else apart(coefficients, weights),
            bags.padding_idx,
            bags.shape,
        )
        shape = getattr(weights, "shape", None if coefficients is None else coefficients.shape)
        self._tape.calls.append(BagLookup(kept, winners, shape, self.num_embeddings))

    def backward(self, grad_output: ArrayLike) -> NDArray | None:
        """Undo the last forward that has not been undone: step the table, or add to `grad`.

        Parameters
        ----------
        grad_output : array (num_bags, embedding_dim)
            The gradient of that forward's output.

        Returns
        -------
        array, in the shape of per_sample_weights, or None
            Their gradient where they were given, with the table as it was before the step.

        Raises
        ------
        RuntimeError
            If there is no forward to undo, or the table is frozen and no per_sample_weights were given.
        ValueError
            If it is of another shape.
        """
        if self.lora is not None:
            grad, of_weights = self._undone(self.lora.a._remembered(), grad_output)
            of_product = self.lora.backward(grad_output)
            return None if of_weights is None else of_weights + of_product
        call = self._remembered()
        grad, of_weights = self._undone(call, grad_output)
        self._tape.calls.pop()
        if self._frozen is True:
            return of_weights
        gradient = gradient_of_bags(
            self._kept(grad, grad_output),
            call.bags,
            self.num_embeddings,
            self.mode,
            self.scale_grad_by_freq,
            self._frozen_rows,
            call.winners,
            device=self.device,
        )
        self.accept(gradient)
        return of_weights

    def _undone(self, call: BagLookup, grad_output: ArrayLike) -> tuple[NDArray, NDArray | None]:
        """Return the gradient of a forward's output as kernels take it, and that of per_sample_weights by the table."""
        bags = call.bags
        grad = as_rows(grad_output, (bags.num_bags, self.embedding_dim), self.table.dtype, "grad_output")
        if call.weights_shape is None:
            return grad, None
        found = gradient_of_coefficients(grad, self.table, bags, self.mode, device=self.device)
        result: Any = found.reshape(*call.weights_shape)
        if isinstance(result, DeviceArray):
            result = in_kind(result, grad_output) if isinstance(bags.coefficients, DeviceArray) else result.to_host()
        return grad, result

    def enable_lora(
        self,
        rank: int,
        lora_alpha: float | None = None,
        a_initializer: Any = "he_uniform",
        b_initializer: Any = "zeros",
    ) -> None:
        """As `TableLayer.enable_lora`, for modes that sum: a bag of products is the product of a bag."""
        check_summing(self.mode)
        super().enable_lora(rank, lora_alpha, a_initializer, b_initializer)

    def quantize(self, bits: int | None = None, dtype: DTypeLike | None = None) -> QuantizedEmbeddingBag:
        """Return a smaller table for inference, of `bits` or `dtype` as `Embedding.quantize` has them.

        Examples
        --------
        >>> import numpy as np
        >>> layer = EmbeddingBag(2, 2, mode="sum", W=np.array([[0.0, 255.0], [3.0, 3.0]], np.float32))
        >>> layer.quantize(bits=8)([[1, 0]])
        array([[  3., 258.]], dtype=float32)
        """
        return QuantizedEmbeddingBag.from_layer(self, bits, dtype)
