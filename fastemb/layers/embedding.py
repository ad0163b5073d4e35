"""A table that looks up rows: `torch.nn.Embedding` and Keras' `Embedding` on NumPy arrays."""

from dataclasses import dataclass
from typing import Unpack

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from fastemb.engine import operations
from fastemb.engine.arrays import as_indices, as_rows
from fastemb.engine.gradients import gradient_of_lookup
from fastemb.engine.ragged import settle_invalid
from fastemb.engine.validate import boolean
from fastemb.layers.quantized import QuantizedEmbedding
from fastemb.layers.table import TableLayer, TableOptions
from fastemb.layers.tape import apart

__all__ = ["Embedding"]


@dataclass(slots=True)
class Lookup:
    """What an Embedding remembers of a forward."""

    indices: NDArray
    shape: tuple[int, ...]
    padding_idx: int | None
    num_embeddings: int


class Embedding(TableLayer):
    """A table of which rows are looked up: torch's `nn.Embedding`, with Keras' and Lasagne's arguments besides.

    Parameters
    ----------
    num_embeddings, embedding_dim, padding_idx, max_norm, norm_type, scale_grad_by_freq, sparse
        As in torch: see `fastemb.layers.table.TableLayer`.
    mask_zero : bool, default False
        As in Keras: `compute_mask` tells which indices are not 0. The output is not masked.
    **options
        All other arguments of `TableLayer`.

    Notes
    -----
    In training each forward is remembered, by the thread that made it, and `backward` undoes the last one that has not
    been undone. Call `eval` for inference. A table that was made with an optimizer is stepped at each backward; one
    without collects `grad`.

    Examples
    --------
    >>> layer = Embedding(3, 5, W=np.arange(15, dtype=np.float32).reshape(3, 5))
    >>> layer([[0, 2], [1, 2]])
    array([[[ 0.,  1.,  2.,  3.,  4.],
            [10., 11., 12., 13., 14.]],
    <BLANKLINE>
           [[ 5.,  6.,  7.,  8.,  9.],
            [10., 11., 12., 13., 14.]]], dtype=float32)
    >>> layer.backward(np.ones((2, 2, 5)))
    >>> layer.grad.rows, layer.grad.collect()
    (array([0, 1, 2]), array([[1., 1., 1., 1., 1.],
           [1., 1., 1., 1., 1.],
           [2., 2., 2., 2., 2.]], dtype=float32))
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
        *,
        mask_zero: bool = False,
        **options: Unpack[TableOptions],
    ) -> None:
        self.mask_zero = boolean("mask_zero", mask_zero)
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

    def forward(self, input: ArrayLike) -> NDArray:
        """Return the rows of indices; ``layer(input)`` is the same.

        Parameters
        ----------
        input : integer array of any shape

        Returns
        -------
        array (*input.shape, embedding_dim)
            In the table's dtype.

        Raises
        ------
        TypeError
            If `input` is not of integers.
        IndexError
            If an index is outside the table, and `on_invalid` is "raise".
        """
        given = self._checked_place(as_indices(input))
        settled, left_out = settle_invalid(given, self.num_embeddings, self.padding_idx, self.on_invalid)
        indices = as_indices(settled).reshape(-1)
        self._prepare(indices)
        # torch's padding row is looked up like any other; only "pad" without one makes lookups of no row.
        none = left_out if self.padding_idx is None else None
        found = operations.lookup(self.table, indices, padding_idx=none, shape=given.shape, device=self.device)
        if self.remembers:
            kept = apart(indices, input)
            self._tape.calls.append(Lookup(kept, given.shape, left_out, self.num_embeddings))
        out = self._in_kind(self._given_back(found).reshape(*given.shape, self.embedding_dim), input)
        if self.lora is not None:
            out += self.lora.forward(input).astype(out.dtype)
        return out

    __call__ = forward

    def backward(self, grad_output: ArrayLike) -> None:
        """Undo the last forward that has not been undone: step the table, or add to `grad`.

        Parameters
        ----------
        grad_output : array (*input.shape, embedding_dim)
            The gradient of that forward's output.

        Raises
        ------
        RuntimeError
            If there is no forward to undo, or the table is frozen.
        ValueError
            If it is of another shape.
        """
        if self.lora is not None:
            self.lora.backward(grad_output)
            return
        call = self._remembered()
        grad = as_rows(grad_output, (*call.shape, self.embedding_dim), self.table.dtype, "grad_output")
        self._tape.calls.pop()
        gradient = gradient_of_lookup(
            self._kept(grad, grad_output),
            call.indices,
            self.num_embeddings,
            call.padding_idx,
            self.scale_grad_by_freq,
            self._frozen_rows,
            device=self.device,
        )
        self.accept(gradient)

    def compute_mask(self, inputs: ArrayLike) -> NDArray[np.bool_] | None:
        """Return where indices are not 0, or None if `mask_zero` is not set.

        Examples
        --------
        >>> Embedding(5, 2, mask_zero=True).compute_mask([[4, 0]])
        array([[ True, False]])
        """
        return as_indices(inputs) != 0 if self.mask_zero else None

    def quantize(self, bits: int | None = None, dtype: DTypeLike | None = None) -> QuantizedEmbedding:
        """Return a smaller table for inference, which looks up as the layer does and returns float32.

        Parameters
        ----------
        bits : {8, 4}, optional
            Codes with a scale and a bias a row, in FBGEMM's layouts; default 8, unless there is a `dtype`.
        dtype : {"float16", "bfloat16"} or dtype, optional
            Short floats instead.

        Raises
        ------
        ValueError
            If both are given, or a row cannot be held (it has a NaN, say); it is named.

        Examples
        --------
        >>> layer = Embedding(2, 2, W=np.array([[0.0, 255.0], [3.0, 3.0]], np.float32))
        >>> layer.quantize(bits=8)([1, 0])
        array([[  3.,   3.],
               [  0., 255.]], dtype=float32)
        """
        return QuantizedEmbedding.from_layer(self, bits, dtype)
