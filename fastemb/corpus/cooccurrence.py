"""Which words occur near each other, and how often: a sparse matrix, counted in parallel within a memory budget."""

import math
import queue
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple, TypeVar

import numpy as np

from fastemb.corpus.reader import Corpus, parse_size
from fastemb.corpus.spool import Output, TemporaryArray
from fastemb.corpus.vocabulary import Vocabulary
from fastemb.engine.backend import kernels
from fastemb.engine.parallel import get_num_threads, ordered_map
from fastemb.engine.validate import boolean, integer

__all__ = ["MAX_WINDOW", "Cooccurrence", "Rows", "count_cooccurrences", "counting"]

T = TypeVar("T")

MAX_WINDOW = 255
ENTRIES = 1 << 20  # of the matrix that a thread writes at a time, at most, unless one row has more
EVENTS = 1 << 24  # pairs of words that it counts for them, unless one word has more
OCCURRENCE_BYTES = 8
FEWEST_OCCURRENCES = 1 << 20  # listed at a time, whatever the budget: many small matrices take long to add up


class Rows(NamedTuple):
    """Rows of a matrix that follow each other; the first and the last one may be cut.

    Attributes
    ----------
    first : int
        The number of the first one.
    ends : int64 array of shape (num_rows,)
        Where each ends in `cols` and `counts`.
    cols : int32 array of shape (num_entries,)
    counts : float32 or float64 array of shape (num_entries,)
    """

    first: int
    ends: np.ndarray
    cols: np.ndarray
    counts: np.ndarray


@dataclass
class Cooccurrence:
    """How often words occur near each other: a sparse matrix, row by row; a context manager.

    Attributes
    ----------
    offsets : int64 array of shape (num_words + 1,)
        Row `i`, that of word `i`, is ``cols[offsets[i]:offsets[i + 1]]`` and the same part of `counts`.
    cols : int32 array of shape (num_pairs,)
        Context words, ascending in each row where the matrix was counted here.
    counts : float32 or float64 array of shape (num_pairs,)
        All above 0. In memory, like `cols`, or a memory map of a temporary file.
    vocabulary : Vocabulary
        The words.

    Examples
    --------
    >>> from fastemb.corpus.reader import read_corpus
    >>> with read_corpus([["to", "be", "or", "not", "to", "be"]], min_count=1) as corpus:
    ...     matrix = count_cooccurrences(corpus, window=2)
    >>> matrix
    Cooccurrence(4 words, 12 pairs)
    >>> matrix.to_scipy().toarray()
    array([[0., 2., 1., 1.],
           [2., 0., 1., 1.],
           [1., 1., 0., 1.],
           [1., 1., 1., 0.]], dtype=float32)
    """

    offsets: np.ndarray
    cols: np.ndarray
    counts: np.ndarray
    vocabulary: Vocabulary

    @property
    def num_pairs(self) -> int:
        """Pairs of words that occur near each other: entries of the matrix."""
        return len(self.cols)

    def part(self, start: int, stop: int) -> Rows:
        """Return the entries ``[start, stop)``, at least one; they share the memory."""
        first, last = (int(row) for row in np.searchsorted(self.offsets, (start, stop - 1), "right") - 1)
        ends = self.offsets[first + 1 : last + 2].clip(max=stop) - start
        return Rows(first, ends, self.cols[start:stop], self.counts[start:stop])

    def to_scipy(self) -> Any:
        """Return the matrix as scipy's ``csr_array``, which shares the memory."""
        from scipy.sparse import csr_array

        size = len(self.vocabulary)
        return csr_array((self.counts, self.cols, self.offsets), shape=(size, size))

    def close(self) -> None:
        """Drop the entries, and with them the temporary file if there is one."""
        self.offsets = np.zeros(1, np.int64)
        self.cols = np.empty(0, np.int32)
        self.counts = np.empty(0, np.float32)

    def __repr__(self) -> str:
        return f"Cooccurrence({len(self.vocabulary):,} words, {self.num_pairs:,} pairs)"

    def __enter__(self) -> "Cooccurrence":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def count_cooccurrences(
    corpus: Corpus,
    *,
    window: int = 15,
    symmetric: bool = True,
    distance_weighting: bool = True,
    max_memory: int | str | None = None,
    workers: int | None = None,
    dtype: type[np.generic] = np.float32,
    progress: Callable[[int], None] | None = None,
) -> Cooccurrence:
    """Count how often words occur near each other, as the GloVe program's ``cooccur`` does.

    Words that are not in the vocabulary do not count as distance, and no pair reaches beyond a sentence: both are the
    corpus' doing. The result does not depend on `workers`, and up to a window of 15 every sum is exact: neighbours
    weigh multiples of ``1 / lcm(1, ..., window)``, of which float64 holds the sums.

    Parameters
    ----------
    corpus : Corpus
        A text as word numbers.
    window : int, default 15
        Words that are near on either side, up to 255.
    symmetric : bool, default True
        A word's row counts the words on its left and right; with False, only those on its right.
    distance_weighting : bool, default True
        A pair of words at distance d counts 1 / d; with False, 1.
    max_memory : int or str, optional
        Bytes, or text such as "1G", for lists of occurrences and for the matrix; what is more goes to temporary files.
    workers : int, optional
        Threads; default `fastemb.get_num_threads`.
    dtype : {float32, float64}
        Of the counts.
    progress : callable, optional
        Called now and then with the words of the corpus done so far.

    Returns
    -------
    Cooccurrence

    Raises
    ------
    TypeError, ValueError
        If an argument is out of bounds.
    OSError
        If the disk is full.

    Examples
    --------
    >>> from fastemb.corpus.reader import read_corpus
    >>> with read_corpus([["a", "b", "c"], ["a", "b"]], min_count=1) as corpus:
    ...     matrix = count_cooccurrences(corpus)
    >>> matrix.to_scipy().toarray()
    array([[0. , 2. , 0.5],
           [2. , 0. , 1. ],
           [0.5, 1. , 0. ]], dtype=float32)
    """
    how: dict[str, Any] = {"window": window, "symmetric": symmetric, "distance_weighting": distance_weighting}
    limits: dict[str, Any] = {"max_memory": max_memory, "workers": workers}
    with counting(corpus, lambda rows: rows, **how, **limits, progress=progress) as (parts, most):
        outputs = _outputs(most, dtype, None if max_memory is None else parse_size(max_memory))
        return Cooccurrence(*_collect(parts, outputs, len(corpus.vocabulary)), corpus.vocabulary)


@contextmanager
def counting(
    corpus: Corpus,
    form: Callable[[Rows], T],
    *,
    window: int = 15,
    symmetric: bool = True,
    distance_weighting: bool = True,
    max_memory: int | str | None = None,
    workers: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Iterator[tuple[Iterator[T], int]]:
    """Count as `count_cooccurrences` does, with its arguments, for one who takes the matrix in parts.

    Parameters
    ----------
    form : callable
        Makes of each part what is to be yielded, in the thread that counted it.

    Yields
    ------
    parts : iterator
        Of what `form` returned, in the order of the rows, which are whole.
    most : int
        The matrix has no more entries than this.
    """
    window = integer("window", window, 1, MAX_WINDOW)
    workers = integer("workers", get_num_threads() if workers is None else workers, 1, 1024)
    budget = None if max_memory is None else parse_size(max_memory, "max_memory")
    unit = math.lcm(*range(1, window + 1)) if boolean("distance_weighting", distance_weighting) else 1
    counter = _Counter(corpus, window, boolean("symmetric", symmetric), unit, workers, progress)
    num_ids, num_words = len(corpus.ids), len(corpus.vocabulary)
    size = num_ids if budget is None else max(FEWEST_OCCURRENCES, budget // (2 * OCCURRENCE_BYTES))
    chunks = [(first, min(first + size, num_ids)) for first in range(0, num_ids, max(1, size))]
    if len(chunks) <= 1:
        parts, most = counter.count(0, num_ids, float(unit), form)
        with closing(parts):
            yield parts, most
        return
    with closing(TemporaryArray()) as cols_file, closing(TemporaryArray()) as counts_file:
        run_cols, run_counts = Output(np.int32, 0, cols_file), Output(np.float64, 0, counts_file)
        runs = []
        for first, last in chunks:
            before = run_cols.size
            rows, _ = counter.count(first, last, 1.0, lambda rows: rows)
            runs.append(before + _append(rows, run_cols, run_counts, num_words))
        offsets = np.array(runs)
        parts, most = counter.merge(offsets, run_cols.finish(), run_counts.finish(), float(unit), form)
        with closing(parts):
            yield parts, most


@dataclass
class _Counter:
    """The kernels, their threads' scratch memory, and what does not change between chunks of the corpus."""

    corpus: Corpus
    window: int
    symmetric: bool
    unit: int
    workers: int
    progress: Callable[[int], None] | None

    def __post_init__(self) -> None:
        self._kernels = kernels("cpu", "cooccurrence")
        self._scratch: queue.SimpleQueue = queue.SimpleQueue()
        for _ in range(self.workers):
            self._scratch.put(self._kernels.allocate_scratch(len(self.corpus.vocabulary)))
        self._weights = np.zeros(self.window + 1)
        weighted = range(1, self.window + 1) if self.unit > 1 else [1] * self.window
        self._weights[1:] = [self.unit / distance for distance in weighted]
        self._done = 0

    def count(
        self, first: int, last: int, unit: float, form: Callable[[Rows], T]
    ) -> tuple[Generator[T, None, None], int]:
        """Return the rows of the matrix of some of the ids, divided by `unit`, and how many entries it has at most."""
        occurrences, starts = self._list_occurrences(first, last)
        events = np.diff(starts) * self.window * (1 + self.symmetric)
        most = np.minimum(events, len(events))
        return self._count_rows(occurrences, starts, unit, most, events, form), int(most.sum())

    def merge(
        self, offsets: np.ndarray, cols: np.ndarray, counts: np.ndarray, unit: float, form: Callable[[Rows], T]
    ) -> tuple[Generator[T, None, None], int]:
        """Return the rows of the sum of matrices, divided by `unit`, and how many entries it has at most."""
        kernel = self._kernels.merge_rows
        entries = np.diff(offsets).sum(axis=0)
        most = np.minimum(entries, len(entries))
        parts = self._map(
            lambda *out, start, stop, scratch: kernel(*out, offsets, cols, counts, unit, start, stop, scratch),
            most,
            entries,
            form,
        )
        return (formed for _, formed in parts), int(most.sum())

    def _list_occurrences(self, first: int, last: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the occurrences of all words in a part of the ids, and where each word's begin."""
        ids, offsets = self.corpus.ids, self.corpus.offsets
        num_words = len(self.corpus.vocabulary)
        starts = np.zeros(num_words + 1, np.int64)
        for begin in range(first, last, ENTRIES):
            starts[1:] += np.bincount(ids[begin : min(begin + ENTRIES, last)], minlength=num_words)
        np.cumsum(starts, out=starts)
        sentences = offsets[np.searchsorted(offsets, first, "right") - 1 : np.searchsorted(offsets, last) + 1]
        occurrences = np.empty(last - first, np.int64)
        ends = starts[:-1].copy()

        def fill(part: tuple[int, int]) -> None:
            self._kernels.list_occurrences(occurrences, ends, ids, sentences, first, last, self.window, *part)

        # Each thread reads all ids and takes its own words, about as many occurrences for each.
        cuts = np.searchsorted(starts, np.arange(self.workers + 1) * (last - first) // self.workers)
        cuts[-1] = num_words
        for _ in ordered_map(fill, zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True), self.workers):
            pass
        return occurrences, starts

    def _count_rows(
        self,
        occurrences: np.ndarray,
        starts: np.ndarray,
        unit: float,
        most: np.ndarray,
        events: np.ndarray,
        form: Callable[[Rows], T],
    ) -> Generator[T, None, None]:
        """Yield the rows of the matrix of some occurrences, divided by `unit`, and tell of progress."""
        ids, weights = self.corpus.ids, self._weights
        kernel = self._kernels.count_rows
        before = self._done
        for stop, formed in self._map(
            lambda *out, start, stop, scratch: kernel(
                *out, occurrences, starts, ids, weights, self.symmetric, unit, start, stop, scratch
            ),
            most,
            events,
            form,
        ):
            self._done = before + int(starts[stop])
            if self.progress is not None:
                self.progress(self._done)
            yield formed

    def _map(
        self, kernel: Callable[..., None], most: np.ndarray, events: np.ndarray, form: Callable[[Rows], T]
    ) -> Iterator[tuple[int, T]]:
        """Hand ranges of rows to threads; yield the end of each range, and what `form` makes of its rows, in order.

        No row has more entries than `most`; `events` are the additions that it takes.
        """

        def compute(part: tuple[int, int]) -> tuple[int, T]:
            start, stop = part
            room = int(most[start:stop].sum())
            cols, counts, ends = np.empty(room, np.int32), np.empty(room), np.empty(stop - start, np.int64)
            scratch = self._scratch.get()
            try:
                kernel(cols, counts, ends, start=start, stop=stop, scratch=scratch)
            finally:
                self._scratch.put(scratch)
            size = int(ends[-1])
            return stop, form(Rows(start, ends, cols[:size], counts[:size]))

        with closing(ordered_map(compute, _ranges(most, events), self.workers)) as parts:
            yield from parts


def _ranges(most: np.ndarray, events: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yield ranges of rows, each of at most `ENTRIES` entries and `EVENTS` events, and at least one row."""
    share = np.cumsum(np.maximum(most / ENTRIES, events / EVENTS))
    start = 0
    while start < len(share):
        stop = int(np.searchsorted(share, (share[start - 1] if start else 0.0) + 1.0, "right"))
        stop = max(start + 1, stop)
        yield start, stop
        start = stop


def _outputs(most: int, dtype: type[np.generic], budget: int | None) -> tuple[Output, Output]:
    """Return outputs of columns and counts, in temporary files if `most` entries do not fit into the budget."""
    on_disk = budget is not None and most * (4 + np.dtype(dtype).itemsize) > budget
    cols, counts = (
        Output(kind, min(most, ENTRIES), TemporaryArray() if on_disk else None) for kind in (np.int32, dtype)
    )
    return cols, counts


def _append(rows: Iterator[Rows], cols: Output, counts: Output, num_rows: int) -> np.ndarray:
    """Append rows to outputs; return where each begins, counted from the first one, and where the last one ends."""
    offsets = np.zeros(num_rows + 1, np.int64)
    done = size = 0
    for part in rows:
        offsets[done + 1 : done + 1 + len(part.ends)] = size + part.ends
        done += len(part.ends)
        size += len(part.cols)
        cols.append(part.cols)
        counts.append(part.counts)
    return offsets


def _collect(
    rows: Iterator[Rows], outputs: tuple[Output, Output], num_rows: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    cols, counts = outputs
    with closing(cols), closing(counts):
        offsets = _append(rows, cols, counts, num_rows)
        return offsets, cols.finish(), counts.finish()
