"""Skip-gram and CBOW on a GPU: where tables are, how many sentences are in flight, and the blocks that go there."""

from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastemb.engine.backend import kernels
from fastemb.engine.launch import has_vector_atomics
from fastemb.engine.staging import MOST_SHARED, Placed, Staging, empty, fixed, free_bytes, launch_blocks

__all__ = ["BLOCK_IDS", "DeviceTrainer", "Text", "row_uses", "scattered_block", "sentences_in_flight"]

# Ids of a block: at tens of millions of words a second, a tenth of a second.
BLOCK_IDS = 4 << 20
# Where blocks are trained in a random order, there are so many of them, but none of fewer ids than these: in a small
# block many of the sentences in flight are the last ones.
SCATTERED_BLOCKS, LEAST_IDS = 64, 1 << 16
# Sentences in flight at most: they keep a large GPU busy.
MOST_SENTENCES = 2048
# Changes of one row that may be under way at the same time, and words of the vocabulary to each sentence in flight.
# They come from an emulation of such training, whose figures docs/guide/gpu_training.md has.
CHANGES = 24
WORDS_PER_SENTENCE = 8
# Rows that are lent are given back and lent again after STALENESS / sentences windows.
STALENESS = 256
RESERVED = 0.1  # share of the free memory that tables leave free


def scattered_block(num_ids: int) -> int:
    """Return the ids of a block of a text whose blocks are trained in a random order.

    Examples
    --------
    >>> scattered_block(1000), scattered_block(17_000_000), scattered_block(10**9)
    (65536, 265625, 4194304)
    """
    return min(BLOCK_IDS, max(LEAST_IDS, num_ids // SCATTERED_BLOCKS))


def sentences_in_flight(uses: NDArray[np.float64], num_words: int, window: int) -> tuple[int, int]:
    """Return how many sentences a GPU may train at the same time, and after how many windows a lent row is refreshed.

    A sentence reads rows that lack what the others are about to add. Each change is right by itself, but with too many
    sentences those of a frequent word's row add up to far more than is right. So at most `CHANGES` changes of any row
    are under way on average, and there are at least `WORDS_PER_SENTENCE` words to a sentence.

    Parameters
    ----------
    uses : float64
        How often a window changes each row, on average: see `row_uses`.
    num_words : int
        Of the vocabulary.
    window : int

    Returns
    -------
    sentences, staleness : int
        At least 1 each.

    Examples
    --------
    >>> sentences_in_flight(np.array([0.1, 0.02]), num_words=100_000, window=5)
    (240, 1)
    >>> sentences_in_flight(np.full(10**6, 6e-6), num_words=10**6, window=5)
    (2048, 1)
    >>> sentences_in_flight(np.full(100, 0.06), num_words=100, window=5)
    (12, 11)
    """
    most_used = max(float(uses.max(initial=0)), CHANGES / MOST_SENTENCES)
    sentences = max(1, int(min(CHANGES / most_used, num_words / WORDS_PER_SENTENCE)))
    return sentences, max(1, min(2 * window + 1, STALENESS // sentences))


class Text(NamedTuple):
    """What the kernels know of a text, and how they make windows of it: the reference's arguments of these names."""

    keep: NDArray[np.float32]
    noise: NDArray[np.uint32]
    window: int
    shrink_windows: bool
    negative: int


def row_uses(
    counts: NDArray[np.int64],
    text: Text,
    ns_exponent: float,
    subwords: tuple[NDArray[np.int32], NDArray[np.int64]] | None = None,
    has_tree: bool = False,
) -> NDArray[np.float64]:
    """Return how often a window changes each row, on average: input rows, output rows, and the root of a tree.

    Examples
    --------
    >>> counts = np.array([30, 10])
    >>> text = Text(np.array([1, 1], np.float32), np.zeros((2, 2), np.uint32), 5, True, negative=1)
    >>> row_uses(counts, text, ns_exponent=1.0)
    array([4.5, 1.5, 1.5, 0.5])
    """
    kept = counts * np.minimum(text.keep, 1).astype(np.float64)
    share = kept / kept.sum()
    inputs = share * (text.window + 1 if text.shrink_windows else 2 * text.window)
    if subwords is not None:
        values, ends = subwords
        inputs = np.bincount(values, weights=np.repeat(inputs, np.diff(ends)))
    outputs = np.zeros(0)
    if text.negative:
        weights = counts.astype(np.float64) ** ns_exponent
        outputs = share + text.negative * (weights / weights.sum())
    return np.concatenate([inputs, outputs, np.ones(int(has_tree))])


class DeviceTrainer:
    """Tables of a host with twins on a GPU, and the kernel that trains them.

    Parameters
    ----------
    model : {"skipgram", "cbow"}
    tables : tuple
        The reference's arguments `weight_in`, `weight_out`, `subwords`, `rates` and `tree`.
    text : Text
    after : tuple
        What the kernel takes between `seed` and `staleness`.
    uses : float64
        See `row_uses`.
    most_ids, most_sentences : int
        Of a block.
    """

    def __init__(
        self,
        model: str,
        tables: tuple,
        text: Text,
        after: tuple,
        uses: NDArray[np.float64],
        most_ids: int,
        most_sentences: int,
    ) -> None:
        weight_in, weight_out, subwords, rates, tree = tables
        length, num_words = weight_in.shape[1], len(text.keep)
        self._kernel = getattr(kernels("cuda", model), f"{model}_shared")
        self._sentences, self._staleness = sentences_in_flight(uses, num_words, text.window)
        self._staging = Staging([(most_ids, np.int32), (most_sentences + 1, np.int64)], num_results=3)
        # Arrays of one element stand for what is not there: a kernel on a GPU can be given neither None nor no memory.
        nothing = np.zeros((1, length), np.float32)
        values, ends = subwords or (np.zeros(1, np.int32), np.zeros(1, np.int64))
        no_tree = np.zeros(1, np.int32), np.zeros(1, np.uint8), np.zeros(1, np.int64), nothing
        points, codes, path_ends, inner = tree or no_tree
        factors = np.ones(1, np.float32) if rates is None else rates
        noise = text.noise if text.negative else np.zeros((1, 2), np.uint32)
        parts = tuple(fixed(a) for a in (values, ends, points, codes, path_ends, factors, text.keep, noise))
        self._after = after
        self._near, self._shared_floats = _own_memory(length, text.window, self._sentences)
        self._tables = _placed([table if len(table) else nothing.copy() for table in (weight_in, weight_out, inner)])
        made_in, made_out, made_inner = (table.made for table in self._tables)
        # NVIDIA tells of additions to the host's memory one by one, and of vectors only to the GPU's own.
        is_split = any(isinstance(table.made, tuple) for table in self._tables)
        self._atomics = (0, 0) if has_vector_atomics() and not is_split else (0,)
        tree_parts = (*parts[2:5], made_inner)
        self._before = (made_in, made_out, parts[:2], parts[5], tree_parts, *parts[6:], *text[2:])

    @contextmanager
    def epoch(self) -> Iterator[None]:
        """Take the tables to the GPU, and back when the ``with`` block ends, however it does."""
        for table in self._tables:
            table.load()
        try:
            yield
        finally:
            self._staging.synchronize()
            for table in self._tables:
                table.fetch()

    def map(
        self, ids: NDArray[np.int32], offsets: NDArray[np.int64], tasks: Iterable[Any]
    ) -> Generator[tuple[Any, NDArray[np.float64], float], None, None]:
        """Train ranges of sentences, in order, and yield each with its result, as `ordered_map` does."""
        waiting: list[Any] = []
        try:
            for task in tasks:
                if self._staging.is_full:
                    yield waiting.pop(0), self._staging.finish(), 0.0
                first, last = int(offsets[task.start]), int(offsets[task.stop])
                block: list[NDArray] = [ids[first:last], offsets[task.start : task.stop + 1]]
                self._staging.queue(block, partial(self._launch, task, first))
                waiting.append(task)
            while waiting:
                yield waiting.pop(0), self._staging.finish(), 0.0
        finally:
            self._staging.synchronize()

    def _launch(self, task: Any, first: int, stream: Any, arrays: list[Any], result: Any) -> None:
        ids, offsets = arrays
        arguments = (
            ids, offsets, 0, task.stop - task.start, *self._before, task.alpha, task.slope, task.seed, *self._after,
            self._staleness, result, first, self._near, self._atomics,
        )  # fmt: skip
        launch_blocks(self._kernel, self._sentences, self._shared_floats, stream, arguments)


def _own_memory(row_length: int, window: int, sentences: int) -> tuple[tuple, int]:
    """Return the kernels' `near`, and the floats of shared memory: all that a sentence needs, where it has room."""
    floats = kernels("cuda", "blocks").layout_of.py_func(row_length, window)[-1]
    if 4 * floats <= MOST_SHARED:
        return (), floats
    return (empty((sentences, -(-floats // 4) * 4)),), 0


def _placed(tables: list[NDArray[np.float32]]) -> list[Placed]:
    """Return twins of the input vectors, the output vectors and those of a tree's inner nodes.

    Where there is no room for all on the GPU, the nodes come first, since all words use the root; of the others, whose
    first rows are those of the most frequent words, the same share of rows is there.
    """
    *others, inner = tables
    room = (1 - RESERVED) * free_bytes()
    shares = [(inner, room / inner.nbytes)]
    room = max(0.0, room - inner.nbytes)
    shares += [(table, room / sum(other.nbytes for other in others)) for table in others]
    placed = [Placed(table, max(1, int(min(1.0, share) * len(table)))) for table, share in shares]
    return [*placed[1:], placed[0]]
