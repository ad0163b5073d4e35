"""Tables for inference, smaller than float32: rows of codes with a scale and a bias each, or of short floats.

`CodedRows` and `ShortRows` look up, sum and compare rows in the same way, and always return float32.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fastemb.engine import _features, gpu, operations
from fastemb.engine.arrays import BFLOAT16, FLOAT16, FLOAT32, INT64
from fastemb.engine.backend import kernels, require_half
from fastemb.engine.checks import index_error
from fastemb.engine.device import DeviceArray, empty, on_host, upload
from fastemb.engine.features import plain_features
from fastemb.engine.memory import empty_rows
from fastemb.engine.parallel import run
from fastemb.engine.ragged import Bags, padding_number

__all__ = ["CodedRows", "ShortRows", "placed", "quantize", "shorten"]

HALF_BYTES = {8: (0, 0), 4: (0,)}  # of a column, told to kernels by a length
END_BYTES = {8: 8, 4: 4}  # a scale and a bias, float32 or float16
NO_INDICES = np.empty(0, INT64)
BLOCK_ROWS = 1 << 14  # rows whose numbers are rounded at a time


def row_bytes(embedding_dim: int, bits: int) -> int:
    """Return the bytes of a row of codes.

    Examples
    --------
    >>> row_bytes(64, 8), row_bytes(5, 4)
    (72, 7)
    """
    return (embedding_dim * bits + 7) // 8 + END_BYTES[bits]


@dataclass(frozen=True, slots=True)
class CodedRows:
    """Rows of 8-bit or 4-bit codes, in FBGEMM's layouts: see `kernels.reference.quantized`.

    Parameters
    ----------
    array : uint8 (num_embeddings, bytes of a row)
        C-contiguous.
    bits : {8, 4}
    embedding_dim : int
        Columns of values.
    device : {"cpu", "reference"}, default "cpu"

    Examples
    --------
    >>> rows = quantize(np.array([[0, 15], [-2, 28]], np.float32), 4)
    >>> rows.array.tolist()
    [[240, 0, 60, 0, 0], [240, 0, 64, 0, 192]]
    >>> rows.lookup(np.array([1, 0]))
    array([[-2., 28.],
           [ 0., 15.]], dtype=float32)
    """

    array: NDArray[np.uint8]
    bits: int
    embedding_dim: int
    device: str = "cpu"

    @property
    def num_embeddings(self) -> int:
        """Rows of the table."""
        return len(self.array)

    def dequantize(self) -> NDArray[np.float32]:
        """Return the values of all rows."""
        if isinstance(self.array, DeviceArray):
            return self._coded("dequantize", Bags(NO_INDICES, NO_INDICES), (), self.num_embeddings).to_host()
        out = np.empty((self.num_embeddings, self.embedding_dim), FLOAT32)
        self._run("dequantize", (out, self.array, HALF_BYTES[self.bits]), len(out), out.nbytes)
        return out

    def lookup(
        self, indices: NDArray, *, padding_idx: int | None = None, shape: tuple[int, ...] | None = None
    ) -> NDArray[np.float32]:
        """Return the values of rows, as `operations.lookup` does."""
        if isinstance(self.array, DeviceArray):
            bags = Bags(indices, indices, shape=shape or indices.shape)
            told = indices, padding_number(padding_idx)
            return self._coded("lookup", bags, told, len(indices))
        out = empty_rows(len(indices), self.embedding_dim, FLOAT32)
        arguments = (out, self.array, HALF_BYTES[self.bits], indices, padding_number(padding_idx))
        status = self._run("lookup", arguments, len(out), out.nbytes)
        if status != -1:
            raise index_error(status, Bags(indices, indices, shape=shape or indices.shape), self.num_embeddings)
        return out

    def reduce(self, bags: Bags, mode: str) -> NDArray[np.float32]:
        """Return the sums or means of the values of bags, as `operations.reduce` does."""
        if isinstance(self.array, DeviceArray):
            factors = np.empty(0, FLOAT32) if bags.coefficients is None else bags.coefficients
            told = bags.indices, bags.offsets, factors, padding_number(bags.padding_idx), operations.SUMS[mode]
            return self._coded("reduce", bags, told, bags.num_bags)
        out = empty_rows(bags.num_bags, self.embedding_dim, FLOAT32)
        arguments = (
            bags.indices,
            bags.offsets,
            bags.coefficients,
            padding_number(bags.padding_idx),
            operations.SUMS[mode],
        )
        return self._reduced("reduce", out, arguments, bags)

    def extremes(self, bags: Bags, sign: float) -> NDArray[np.float32]:
        """Return the greatest or least values of bags, as `operations.extremes` does."""
        if isinstance(self.array, DeviceArray):
            told = bags.indices, bags.offsets, padding_number(bags.padding_idx), float(sign)
            return self._coded("extremes", bags, told, bags.num_bags)
        out = empty_rows(bags.num_bags, self.embedding_dim, FLOAT32)
        return self._reduced(
            "extremes", out, (bags.indices, bags.offsets, padding_number(bags.padding_idx), sign), bags
        )

    def plain_features(self, batch: dict, names: list[str], features: NDArray, mode: str) -> NDArray | None:
        """Return the bags of many features in one pass, or None, as `engine.features.plain_features` does."""
        found = _features.columns(batch, names, features)
        if found is None:
            return None
        told, like, num_bags, num_lookups, _ = found
        out = empty_rows(num_bags, len(names) * self.embedding_dim, FLOAT32)
        arguments = (out, self.array, HALF_BYTES[self.bits], told, like, operations.SUMS[mode])
        cost = num_lookups * self.array.shape[1] + out.nbytes
        return out if self._run("reduce_coded_features", arguments, num_bags, cost, "features") == -1 else None

    def _coded(self, name: str, bags: Bags, arguments: tuple, size: int) -> DeviceArray:
        assert isinstance(self.array, DeviceArray)
        return gpu.coded(name, self.array, HALF_BYTES[self.bits], self.embedding_dim, bags, arguments, size)

    def _reduced(self, name: str, out: NDArray[np.float32], arguments: tuple, bags: Bags) -> NDArray[np.float32]:
        cost = len(bags.indices) * self.array.shape[1] + out.nbytes
        status = self._run(name, (out, self.array, HALF_BYTES[self.bits], *arguments), len(out), cost)
        if status != -1:
            raise index_error(status, bags, self.num_embeddings)
        return out

    def _run(self, name: str, arguments: tuple, size: int, cost: int, module: str = "quantized") -> int:
        if self.bits == 4 and self.device == "cpu":  # a row's scale and bias are float16
            require_half()
        return run(kernels(self.device, module), name, arguments, size, cost)


@dataclass(frozen=True, slots=True)
class ShortRows:
    """Rows of float16 or bfloat16.

    Parameters
    ----------
    array : float16, or uint16 for the bits of bfloat16 (num_embeddings, embedding_dim)
        C-contiguous.
    device : {"cpu", "reference"}, default "cpu"

    Examples
    --------
    >>> ShortRows(np.array([[1.5], [2.5]], np.float16)).lookup(np.array([1, 1]))
    array([[2.5],
           [2.5]], dtype=float32)
    """

    array: NDArray
    device: str = "cpu"

    @property
    def num_embeddings(self) -> int:
        """Rows of the table."""
        return self.array.shape[0]

    @property
    def embedding_dim(self) -> int:
        """Columns of the table."""
        return self.array.shape[1]

    def dequantize(self) -> NDArray[np.float32]:
        """Return the table as float32."""
        return _widened(on_host(self.array))

    def lookup(
        self, indices: NDArray, *, padding_idx: int | None = None, shape: tuple[int, ...] | None = None
    ) -> NDArray[np.float32]:
        """Return rows, as `operations.lookup` does: as bags of one row, which are summed in float32."""
        bags = Bags(indices, np.arange(len(indices) + 1, dtype=INT64), None, padding_idx, shape or indices.shape)
        return self.reduce(bags, "sum")

    def reduce(self, bags: Bags, mode: str) -> NDArray[np.float32]:
        """Return the sums or means of bags, as `operations.reduce` does."""
        num_bags, dim = bags.num_bags, self.embedding_dim
        is_there = isinstance(self.array, DeviceArray)
        out: Any = empty((num_bags, dim), FLOAT32) if is_there else empty_rows(num_bags, dim, FLOAT32)
        return operations.reduce(self.array, bags, mode, out=out, device=self.device)

    def plain_features(self, batch: dict, names: list[str], features: NDArray, mode: str) -> NDArray | None:
        """Return the bags of many features in one pass, or None, as `engine.features.plain_features` does."""
        return plain_features(self.array, batch, names, features, mode, dtype=FLOAT32, device=self.device)

    def extremes(self, bags: Bags, sign: float) -> NDArray[np.float32]:
        """Return the greatest or least values of bags, as `operations.extremes` does."""
        return _widened(on_host(operations.extremes(self.array, bags, sign, device=self.device)[0]))


def placed(rows: "CodedRows | ShortRows", device: str) -> "CodedRows | ShortRows":
    """Return rows in the memory of a device."""
    if device != "cuda":
        return rows
    there: Any = upload(rows.array)
    return replace(rows, array=there, device=device)


def quantize(weight: NDArray, bits: int, *, device: str = "cpu") -> CodedRows:
    """Return the rows of a table as codes.

    Parameters
    ----------
    weight : float64, float32, float16 or uint16 (bfloat16) (num_embeddings, embedding_dim)
        With unit inner stride.
    bits : {8, 4}
    device : {"cpu", "reference"}, default "cpu"

    Raises
    ------
    ValueError
        If a row has a NaN or an infinity, or a range that codes cannot hold; it is named.

    Examples
    --------
    >>> quantize(np.array([[0.0, 1.0], [2.0, np.nan]]), 8)
    Traceback (most recent call last):
        ...
    ValueError: weight must be finite to be quantized, got nan at position (1, 1)
    """
    rows, dim = weight.shape
    if bits == 4 and device == "cpu":
        require_half()
    table = np.empty((rows, row_bytes(dim, bits)), np.uint8)
    arguments = (table, operations.stored(weight), HALF_BYTES[bits])
    row = run(kernels(device, "quantized"), "quantize", arguments, rows, weight.nbytes)
    if row != -1:
        raise _not_held(_widened(weight[row]), row, f"{bits} bits")
    return CodedRows(table, bits, dim, device)


def shorten(weight: NDArray, table: NDArray, *, device: str = "cpu") -> ShortRows:
    """Return the rows of a table in a short type, rounded to nearest, ties to even.

    Parameters
    ----------
    weight : float64, float32, float16 or uint16 (bfloat16) (num_embeddings, embedding_dim)
    table : float16, or uint16 for the bits of bfloat16 (num_embeddings, embedding_dim)
        To fill, and where the result's rows lie.
    device : {"cpu", "reference"}, default "cpu"

    Raises
    ------
    ValueError
        If a row has a number that is finite and would become infinite; it is named.

    Examples
    --------
    >>> shorten(np.array([[1.0], [70000.0]]), np.empty((2, 1), np.float16))
    Traceback (most recent call last):
        ...
    ValueError: row 1 of weight, from 70000.0 to 70000.0, is beyond what float16 can hold
    """
    for first in range(0, len(weight), BLOCK_ROWS):
        block = slice(first, first + BLOCK_ROWS)
        values = kernels("reference", "lookup").widen(weight[block])
        table[block] = operations.rounded(values, table.dtype)
        lost = np.isfinite(values) & ~np.isfinite(_widened(table[block]))
        if lost.any():
            row = int(lost.any(axis=1).argmax())
            raise _not_held(values[row], first + row, "bfloat16" if table.dtype == BFLOAT16 else FLOAT16.name)
    return ShortRows(table, device)


def _not_held(values: NDArray, row: int, kind: str) -> ValueError:
    """Return the error for a row that a smaller table cannot hold."""
    strange = np.flatnonzero(~np.isfinite(values))
    if len(strange):
        position = row, int(strange[0])
        return ValueError(f"weight must be finite to be quantized, got {values[strange[0]]} at position {position}")
    return ValueError(f"row {row} of weight, from {values.min()} to {values.max()}, is beyond what {kind} can hold")


def _widened(values: NDArray) -> NDArray[np.float32]:
    return kernels("reference", "lookup").widen(values).astype(FLOAT32, copy=False)
