"""Tables for inference: what `Embedding.quantize` and `EmbeddingBag.quantize` return."""

from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from fastemb.engine import operations
from fastemb.engine.arrays import FLOAT32, as_indices
from fastemb.engine.arrays import bits as bits_of
from fastemb.engine.device import DeviceArray
from fastemb.engine.foreign import in_kind
from fastemb.engine.quantized import CodedRows, ShortRows
from fastemb.engine.ragged import POLICIES, as_bags, padding_row, settle_invalid
from fastemb.engine.validate import boolean, choice
from fastemb.layers.inference import ForInference
from fastemb.layers.smaller import kind_of, reduced_rows, rows_of_table, shown_table, smaller_rows

if TYPE_CHECKING:
    from fastemb.layers.table import TableLayer

__all__ = ["QuantizedEmbedding", "QuantizedEmbeddingBag"]

MODES = (*operations.SUMS, *operations.EXTREMES)


class QuantizedTable(ForInference):
    """A table that is looked up and not trained: `QuantizedEmbedding` and `QuantizedEmbeddingBag`.

    Parameters
    ----------
    rows : CodedRows or ShortRows
        What the table holds; `from_weight` and `from_table` make it.
    padding_idx : int, optional
    on_invalid : {"raise", "clip", "pad", "hash"}, default "raise"
        What becomes of an index outside the table.

    Examples
    --------
    >>> QuantizedEmbedding.from_weight(np.eye(3), dtype="float16")
    QuantizedEmbedding(3, 3, float16)
    """

    # The arguments that say what is looked up, taken over from a layer.
    looks_up: ClassVar[tuple[str, ...]] = ("padding_idx", "on_invalid")

    def __init__(self, rows: CodedRows | ShortRows, padding_idx: int | None = None, on_invalid: str = "raise") -> None:
        self._rows = rows
        self.padding_idx = None if padding_idx is None else padding_row(padding_idx, rows.num_embeddings)
        self.on_invalid = choice("on_invalid", on_invalid, POLICIES)

    @classmethod
    def from_layer(cls, layer: "TableLayer", bits: int | None = None, dtype: DTypeLike | None = None) -> Self:
        """Return a table of a layer's rows as lookups find them: within `max_norm`, and with LoRA's product added.

        Parameters
        ----------
        layer : Embedding or EmbeddingBag
            Its `padding_idx`, `on_invalid` and, for bags, `mode` and `include_last_offset` are taken over.
        bits, dtype
            See `from_weight`.

        Raises
        ------
        ValueError
            As `from_weight`.
        """
        layer._prepare(np.arange(layer.num_embeddings))
        weight = layer.weight
        if layer.lora is not None:
            weight = weight.copy()
            layer.lora.merge(bits_of(weight))
        options = {name: getattr(layer, name) for name in cls.looks_up}
        return cls.from_weight(weight, bits, dtype, device=layer.device, **options)

    @classmethod
    def from_weight(
        cls,
        weight: ArrayLike,
        bits: int | None = None,
        dtype: DTypeLike | None = None,
        *,
        device: str = "cpu",
        **options: Any,
    ) -> Self:
        """Return a table of the rows of another one.

        Parameters
        ----------
        weight : array (num_embeddings, embedding_dim)
            float64, float32, float16 or bfloat16.
        bits : {8, 4}, optional
            Codes with a scale and a bias a row, in FBGEMM's layouts: 8 bits with float32, 4 bits with float16 ones.
            Default 8, unless there is a `dtype`.
        dtype : {"float16", "bfloat16"} or dtype, optional
            Short floats instead.
        device : {"cpu", "reference", "cuda"}, default "cpu"
            Which kernels run.
        **options
            The constructor's, after the table.

        Raises
        ------
        ValueError
            If both `bits` and `dtype` are given, or a row cannot be held; it is named.

        Examples
        --------
        >>> table = QuantizedEmbedding.from_weight([[0.0, 2.5], [-1.0, 1.55]], bits=8)
        >>> table([1])
        array([[-1.  ,  1.55]], dtype=float32)
        """
        return cls(smaller_rows(weight, bits, dtype, device), **options)

    @classmethod
    def from_table(
        cls,
        table: NDArray,
        bits: int | None = None,
        embedding_dim: int | None = None,
        *,
        device: str = "cpu",
        **options: Any,
    ) -> Self:
        """Return a table of an array as `table` shows it: saved, mapped, or made by FBGEMM or torch.

        Parameters
        ----------
        table : uint8 (num_embeddings, bytes of a row), or float16 or bfloat16 (num_embeddings, embedding_dim)
            Used as it is and shared, not copied; it may be read-only. Without `bits`, uint16 are bfloat16's bits.
        bits : {8, 4}
            Of a code, for uint8.
        embedding_dim : int, optional
            Columns of values; default as many as the rows hold. Needed for odd rows of 4 bits only.
        device : {"cpu", "reference", "cuda"}, default "cpu"
            Which kernels run.
        **options
            The constructor's, after the table.

        Raises
        ------
        TypeError, ValueError
            If the array's dtype or shape is not that of such a table.

        Examples
        --------
        >>> made = QuantizedEmbedding.from_weight([[0.0, 2.5], [-1.0, 1.55]], bits=4)
        >>> np.array_equal(QuantizedEmbedding.from_table(made.table, bits=4)([0, 1]), made([0, 1]))
        True
        """
        return cls(rows_of_table(table, bits, embedding_dim, device), **options)

    @property
    def table(self) -> NDArray:
        """The table itself, for `numpy.save` and `from_table`: uint8 rows of codes, float16, or bfloat16.

        bfloat16 is shown in ml_dtypes' type where that can be imported, else as uint16, its bits.
        """
        return shown_table(self._rows)

    @property
    def bits(self) -> int:
        """Bits of a number of the table, without its row's scale and bias."""
        return self._rows.bits if isinstance(self._rows, CodedRows) else 16

    @property
    def num_embeddings(self) -> int:
        """Rows of the table."""
        return self._rows.num_embeddings

    @property
    def embedding_dim(self) -> int:
        """Columns of values."""
        return self._rows.embedding_dim

    @property
    def nbytes(self) -> int:
        """Bytes of the table."""
        return self._rows.array.nbytes

    @property
    def dtype(self) -> np.dtype:
        """What is returned: float32."""
        return FLOAT32

    @property
    def frozen(self) -> bool:
        """True: the table gets no gradient."""
        return True

    def dequantize(self) -> NDArray[np.float32]:
        """Return the values of all rows, float32 (num_embeddings, embedding_dim)."""
        return self._rows.dequantize()

    def __repr__(self) -> str:
        """Return the sizes and what the table is kept in."""
        return f"{type(self).__name__}({self.num_embeddings}, {self.embedding_dim}, {kind_of(self._rows)})"


class QuantizedEmbedding(QuantizedTable):
    """A table of which rows are looked up, for inference: what `Embedding.quantize` returns.

    Parameters
    ----------
    rows, padding_idx, on_invalid
        See `from_weight` and `from_table`, which make one. As in torch, the row of `padding_idx` is looked up like any
        other; it is where ``on_invalid="pad"`` sends an index outside the table, which without it gives zeros.

    Examples
    --------
    >>> import fastemb
    >>> layer = fastemb.Embedding(1000, 64, seed=1)
    >>> small = layer.quantize(bits=8)
    >>> small.nbytes / layer.weight.nbytes
    0.28125
    >>> float(abs(small([3, 999]) - layer([3, 999])).max()) < 0.02
    True
    """

    def forward(self, input: ArrayLike) -> NDArray[np.float32]:
        """Return the values of rows; ``table(input)`` is the same.

        Parameters
        ----------
        input : integer array of any shape

        Returns
        -------
        float32 (*input.shape, embedding_dim)

        Raises
        ------
        TypeError
            If `input` is not of integers.
        IndexError
            If an index is outside the table, and `on_invalid` is "raise".
        """
        given = as_indices(input)
        settled, left_out = settle_invalid(given, self.num_embeddings, self.padding_idx, self.on_invalid)
        none = left_out if self.padding_idx is None else None
        found = self._rows.lookup(as_indices(settled).reshape(-1), padding_idx=none, shape=given.shape)
        found = found.reshape(*given.shape, self.embedding_dim)
        return in_kind(found, input) if isinstance(found, DeviceArray) else found

    __call__ = forward


class QuantizedEmbeddingBag(QuantizedTable):
    """A table of which bags of rows are reduced, for inference: what `EmbeddingBag.quantize` returns.

    Parameters
    ----------
    rows, padding_idx, on_invalid
        See `from_weight` and `from_table`, which make one. Lookups of `padding_idx` are left out.
    mode : {"mean", "sum", "max", "min", "sqrtn"}, default "mean"
    include_last_offset : bool, default False
        `offsets` ends with the number of indices.

    Examples
    --------
    >>> table = QuantizedEmbeddingBag.from_weight([[0.0, 2.55], [-1.0, 1.55]], bits=8, mode="sum")
    >>> table([[0, 1], [1, 1]])
    array([[-1. ,  4.1],
           [-2. ,  3.1]], dtype=float32)
    """

    looks_up = (*QuantizedTable.looks_up, "mode", "include_last_offset")

    def __init__(
        self,
        rows: CodedRows | ShortRows,
        padding_idx: int | None = None,
        on_invalid: str = "raise",
        mode: str = "mean",
        include_last_offset: bool = False,
    ) -> None:
        super().__init__(rows, padding_idx, on_invalid)
        self.mode = choice("mode", mode, MODES)
        self.include_last_offset = boolean("include_last_offset", include_last_offset)

    def forward(
        self, input: Any, offsets: ArrayLike | None = None, per_sample_weights: Any = None
    ) -> NDArray[np.float32]:
        """Return a row for each bag; ``table(input, offsets)`` is the same.

        Parameters
        ----------
        input, offsets, per_sample_weights
            As `fastemb.EmbeddingBag.forward` takes them.

        Returns
        -------
        float32 (num_bags, embedding_dim)

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
            FLOAT32,
            padding_idx=self.padding_idx,
            include_last_offset=self.include_last_offset,
            per_sample_weights=per_sample_weights,
            on_invalid=self.on_invalid,
        )
        found = reduced_rows(self._rows, bags, self.mode)
        return in_kind(found, input) if isinstance(found, DeviceArray) else found

    __call__ = forward
