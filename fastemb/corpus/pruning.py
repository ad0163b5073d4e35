"""Counting words in bounded memory: rare ones are dropped when there are too many, and numbered anew."""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from fastemb.corpus._scan import Scanner
from fastemb.corpus._table import WordTable
from fastemb.corpus.selection import Selection
from fastemb.corpus.vocabulary import Vocabulary

__all__ = ["Pruner"]


class Pruner:
    """Keeps a table of words small, by dropping those that have occurred least often whenever it holds too many.

    Counts are exact while the table has room. When it does not, the fewest of the rarest words go that leave half of
    it free. What a dropped word has occurred until then is left out of its count and of the text: a word that comes
    again starts from zero. So the counts of a vocabulary are always those of the text as it is trained.

    Each pruning begins a *generation*, in which the words that are left have new numbers in their old order. All that
    is kept of an old one is a bit a word: whether it is there still.

    Parameters
    ----------
    max_words : int
        Different words to hold.
    selection : Selection
        Its `trim_rule` is asked about each word whenever words are dropped, and may keep or drop it.
    known : Vocabulary, optional
        Words that are never dropped.
    strict, lowercase : bool
        As for `Scanner`.

    Attributes
    ----------
    scanner : Scanner
        The one to be used now.
    num_lost : int
        Occurrences of dropped words.
    threshold : int
        A word that was dropped for being rare had occurred less often than this.
    """

    def __init__(
        self, max_words: int, selection: Selection, known: Vocabulary | None, *, strict: bool, lowercase: bool
    ) -> None:
        self.scanner = Scanner(strict)
        self.num_lost = self.threshold = 0
        self._max_words = self._limit = max_words
        self._selection = selection
        self._strict, self._lowercase = strict, lowercase
        self._known = WordTable()
        if known is not None:
            self._known.add_packed(known.packed, known.offsets)
        self._alive: list[NDArray[np.uint8]] = []
        self._sizes: list[int] = []

    @property
    def generation(self) -> int:
        """How often words were dropped."""
        return len(self._alive)

    def prune(self) -> None:
        """Drop words if the table holds too many; no thread may use the scanner meanwhile."""
        table = self.scanner.table
        if len(table) <= self._limit:
            return
        counts = table.counts()
        place = len(counts) - 1 - self._max_words // 2
        threshold = int(np.partition(counts, place)[place]) + 1
        kept = self._selection.keeps(counts, partial(self._word, table), threshold) | (self._known.find_all(table) >= 0)
        self.num_lost += int(counts[~kept].sum())
        self.threshold = max(self.threshold, threshold)
        self.scanner = Scanner(self._strict)
        self.scanner.table.absorb(table, (~kept).astype(np.uint8))
        # Where a rule keeps more words than there is room for, it is no use to ask it again at every block.
        self._limit = max(self._max_words, 2 * int(kept.sum()))
        self._outlive(kept)

    def _word(self, table: WordTable, number: int) -> str:
        word = table.word(number).decode("utf-8", "surrogateescape")
        return word.lower() if self._lowercase else word

    def _outlive(self, kept: NDArray[np.bool_]) -> None:
        """Note which words of every generation are left."""
        for old, size in enumerate(self._sizes):
            alive = self._unpack(old, size)
            # The words of a generation that are left are the first ones of the next, in the same order.
            alive[alive] = kept[: np.count_nonzero(alive)]
            self._alive[old] = np.packbits(alive)
        self._alive.append(np.packbits(kept))
        self._sizes.append(len(kept))

    def _unpack(self, generation: int, size: int) -> NDArray[np.bool_]:
        return np.unpackbits(self._alive[generation], count=size).astype(bool)

    def numbers(self, generation: int, latest: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return what the numbers of a generation stand for, -1 for dropped words, given that for the latest one."""
        if generation == self.generation:
            return latest
        alive = self._unpack(generation, self._sizes[generation])
        numbers = np.full(len(alive), -1, np.int32)
        numbers[alive] = latest[: np.count_nonzero(alive)]
        return numbers
