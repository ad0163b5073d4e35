"""Tables whose rows are codes of pieces: product quantization, in the form of fastText's files."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fastemb.engine.arrays import FLOAT32
from fastemb.engine.backend import kernels
from fastemb.engine.parallel import get_num_threads, ordered_map
from fastemb.engine.validate import integer

__all__ = ["CENTROIDS", "ProductRows", "quantize_product"]

CENTROIDS = 256
_SAMPLE = 1 << 16  # points that centroids are learnt from
_ITERATIONS = 25
_APART = np.float32(1e-7)  # how far the halves of a centroid are moved
_BLOCK = 1 << 12  # rows decoded or encoded at a time


@dataclass(frozen=True, eq=False)
class ProductRows:
    """Rows of codes: the numbers of a row are those of one centroid after the other, maybe times the row's norm.

    Parameters
    ----------
    codes : uint8 (num_embeddings, num_pieces)
        A piece is `dsub` columns, the last one what is left.
    centroids : float32 (256 * embedding_dim,)
        Piece by piece, 256 centroids each.
    dsub : int
        Columns of a piece.
    norm_codes : uint8 (num_embeddings,), optional
        Each row's norm, as a number in `norm_centroids`; without, all are 1.
    norm_centroids : float32 (256,), optional

    Examples
    --------
    >>> centroids = np.concatenate([np.arange(512), np.arange(256)]).astype(np.float32)
    >>> rows = ProductRows(np.array([[0, 7], [2, 1]], np.uint8), centroids, dsub=2)
    >>> rows.dequantize()
    array([[0., 1., 7.],
           [4., 5., 1.]], dtype=float32)
    """

    codes: NDArray[np.uint8]
    centroids: NDArray[np.float32]
    dsub: int
    norm_codes: NDArray[np.uint8] | None = None
    norm_centroids: NDArray[np.float32] | None = None

    ndim = 2
    dtype = FLOAT32

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the values."""
        return len(self.codes), len(self.centroids) // CENTROIDS

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def nbytes(self) -> int:
        """Bytes of the codes and the centroids."""
        norms = [array for array in (self.norm_codes, self.norm_centroids) if array is not None]
        return sum(array.nbytes for array in (self.codes, self.centroids, *norms))

    @cached_property
    def _pieces(self) -> NDArray[np.float32]:
        """The centroids as (num_pieces, 256, dsub), the last piece filled up with zeros."""
        dim, dsub, num_pieces = self.shape[1], self.dsub, self.codes.shape[1]
        whole = CENTROIDS * dsub * (num_pieces - 1)
        pieces = np.zeros((num_pieces, CENTROIDS, dsub), FLOAT32)
        pieces[:-1] = self.centroids[:whole].reshape(-1, CENTROIDS, dsub)
        last = dim - dsub * (num_pieces - 1)
        pieces[-1, :, :last] = self.centroids[whole:].reshape(CENTROIDS, last)
        return pieces

    def __getitem__(self, rows: NDArray | slice) -> NDArray[np.float32]:
        """Return the values of rows of given numbers, or of a slice of rows, as a new array."""
        codes = self.codes[rows]
        pieces = self._pieces[np.arange(codes.shape[1]), codes]
        values = pieces.reshape(len(codes), pieces.shape[1] * pieces.shape[2])[:, : self.shape[1]]
        if self.norm_codes is None or self.norm_centroids is None:
            return np.ascontiguousarray(values)
        return values * self.norm_centroids[self.norm_codes[rows]][:, None]

    def take(self, rows: NDArray | slice) -> "ProductRows":
        """Return rows as a table of the same centroids."""
        norm_codes = None if self.norm_codes is None else self.norm_codes[rows]
        return ProductRows(self.codes[rows], self.centroids, self.dsub, norm_codes, self.norm_centroids)

    def dequantize(self) -> NDArray[np.float32]:
        """Return the values of all rows."""
        out = np.empty(self.shape, FLOAT32)
        for first in range(0, len(out), _BLOCK):
            out[first : first + _BLOCK] = self[first : first + _BLOCK]
        return out


def quantize_product(
    weight: NDArray[np.float32],
    dsub: int = 2,
    *,
    qnorm: bool = False,
    seed: int = 1,
    workers: int | None = None,
    device: str = "cpu",
) -> ProductRows:
    """Return the rows of a table as codes of pieces, by fastText's algorithm.

    Each piece's 256 centroids are found by 25 rounds of k-means on up to 65,536 rows. The result does not depend on the
    number of threads.

    Parameters
    ----------
    weight : float32 (num_embeddings, embedding_dim)
        At least 256 rows, all finite; may be a memory map.
    dsub : int, default 2
        Columns of a piece, which takes one byte.
    qnorm : bool, default False
        Quantize the rows' norms apart from their directions, at a byte more.
    seed : int, default 1
    workers : int, optional
        Threads; default `fastemb.get_num_threads()`.
    device : {"cpu", "reference"}, default "cpu"

    Raises
    ------
    ValueError
        If there are fewer rows, or `dsub` is out of bounds.

    Examples
    --------
    >>> weight = np.random.default_rng(0).standard_normal((1000, 8), np.float32)
    >>> rows = quantize_product(weight)
    >>> rows.codes.shape, float(abs(rows.dequantize() - weight).mean()) < 0.1
    ((1000, 4), True)
    """
    num_rows, dim = weight.shape
    if num_rows < CENTROIDS:
        raise ValueError(f"a table must have at least {CENTROIDS} rows for product quantization, got {num_rows}")
    integer("dsub", dsub, 1, dim)
    random = np.random.default_rng(seed)
    learner = _Learner(random, get_num_threads() if workers is None else workers, device)
    norms = _norms(weight) if qnorm else None
    used = np.flatnonzero(weight.any(axis=1))  # rows of zeros, of n-grams that no text had, have nothing to teach
    used = used if len(used) >= CENTROIDS else np.arange(num_rows)
    sample = np.sort(random.permutation(used)[:_SAMPLE])
    points = _directions(weight[sample], None if norms is None else norms[sample])
    starts = range(0, dim, dsub)
    tables = [learner.learn(np.ascontiguousarray(points[:, a : a + dsub])) for a in starts]
    codes = np.empty((num_rows, len(starts)), np.uint8)
    for first in range(0, num_rows, _SAMPLE):
        block = slice(first, first + _SAMPLE)
        rows = _directions(weight[block], None if norms is None else norms[block])
        for piece, a in enumerate(starts):
            codes[block, piece] = learner.encode(np.ascontiguousarray(rows[:, a : a + dsub]), tables[piece])
    centroids = np.concatenate([table.ravel() for table in tables])
    if norms is None:
        return ProductRows(codes, centroids, dsub)
    norm_table = learner.learn(norms[sample, None])
    return ProductRows(codes, centroids, dsub, learner.encode(norms[:, None], norm_table), norm_table[:, 0])


def _norms(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.empty(len(weight), FLOAT32)
    for first in range(0, len(weight), _BLOCK):
        norms[first : first + _BLOCK] = np.linalg.norm(weight[first : first + _BLOCK], axis=1)
    return norms


def _directions(rows: NDArray[np.float32], norms: NDArray[np.float32] | None) -> NDArray[np.float32]:
    if norms is None:
        return rows
    lengths = norms.copy()
    lengths[lengths == 0] = 1
    return rows / lengths[:, None]


@dataclass(frozen=True)
class _Learner:
    """k-means with 256 centroids."""

    random: np.random.Generator
    workers: int
    device: str

    def learn(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return 256 centroids of points, float32 (256, dim)."""
        centroids = points[self.random.permutation(len(points))[:CENTROIDS]].copy()
        for _ in range(_ITERATIONS):
            codes = self.encode(points, centroids)
            sizes = np.bincount(codes, minlength=CENTROIDS)
            for column in range(points.shape[1]):
                sums = np.bincount(codes, points[:, column], CENTROIDS)
                centroids[:, column] = np.divide(sums, sizes, out=np.zeros(CENTROIDS), where=sizes > 0)
            self._fill(centroids, sizes)
        return centroids

    def _fill(self, centroids: NDArray[np.float32], sizes: NDArray[np.int64]) -> None:
        """Give centroids without points a half of another one, drawn by its number of points."""
        signs = np.where(np.arange(centroids.shape[1]) % 2, _APART, -_APART)
        for empty in np.flatnonzero(sizes == 0):
            spare = np.maximum(sizes - 1, 0)
            if not spare.any():
                return
            full = int(self.random.choice(CENTROIDS, p=spare / spare.sum()))
            centroids[empty] = centroids[full] + signs
            centroids[full] -= signs
            sizes[empty] = sizes[full] // 2
            sizes[full] -= sizes[empty]

    def encode(self, points: NDArray[np.float32], centroids: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Return the numbers of the centroids that are nearest to points."""
        module = kernels(self.device, "product")
        codes, columns = np.empty(len(points), np.uint8), np.ascontiguousarray(centroids.T)

        def encode_range(start: int) -> None:
            scratch = (module.allocate_scratch(),) if self.device == "cpu" else ()
            module.nearest(codes, points, columns, start, min(start + _BLOCK, len(points)), *scratch)

        starts = range(0, len(points), _BLOCK)
        for _ in ordered_map(encode_range, starts, min(self.workers, len(starts))):
            pass
        return codes
