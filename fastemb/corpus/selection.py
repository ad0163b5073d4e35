"""Which of the words that were counted become the vocabulary, and in which order."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fastemb.engine.validate import boolean, integer

__all__ = ["RULE_DEFAULT", "RULE_DISCARD", "RULE_KEEP", "Selection", "TrimRule"]

RULE_DEFAULT = 0
"""What a `trim_rule` returns to leave a word to `min_count`."""
RULE_DISCARD = 1
"""What a `trim_rule` returns to leave a word out."""
RULE_KEEP = 2
"""What a `trim_rule` returns to keep a word, however rare."""

TrimRule = Callable[[str, int, int], int]


@dataclass(frozen=True)
class Selection:
    """What a word must be to get into the vocabulary; the names and meanings are gensim's.

    Parameters
    ----------
    min_count : int, default 5
        Words that occur less often are left out.
    max_final_vocab : int, optional
        Raise `min_count` until at most this many words are left. Of words that occur equally often all go or none.
    trim_rule : callable, optional
        Called as ``trim_rule(word, count, min_count)`` for each different word; returns `RULE_KEEP`, `RULE_DISCARD`, or
        `RULE_DEFAULT`, which leaves it to `min_count`.
    sorted_vocab : bool, default True
        Order words by falling count, those of one count by first appearance; False orders all by first appearance.

    Raises
    ------
    TypeError, ValueError
        If a parameter is out of bounds.

    Examples
    --------
    >>> counts = np.array([3, 1, 9, 1])
    >>> Selection(min_count=2).choose(counts, ["a", "b", "c", "d"].__getitem__)
    array([2, 0])
    >>> rule = lambda word, count, min_count: RULE_KEEP if word == "d" else RULE_DEFAULT
    >>> Selection(min_count=2, trim_rule=rule).choose(counts, ["a", "b", "c", "d"].__getitem__)
    array([2, 0, 3])
    """

    min_count: int = 5
    max_final_vocab: int | None = None
    trim_rule: TrimRule | None = None
    sorted_vocab: bool = True

    def __post_init__(self) -> None:
        integer("min_count", self.min_count, 0)
        if self.max_final_vocab is not None:
            integer("max_final_vocab", self.max_final_vocab, 1)
        if self.trim_rule is not None and not callable(self.trim_rule):
            raise TypeError(f"trim_rule must be callable as rule(word, count, min_count), got {self.trim_rule!r}")
        boolean("sorted_vocab", self.sorted_vocab)

    def effective_min_count(self, counts: NDArray[np.int64]) -> int:
        """Return `min_count`, or what `max_final_vocab` raises it to."""
        if self.max_final_vocab is None or self.max_final_vocab >= len(counts):
            return self.min_count
        place = len(counts) - 1 - self.max_final_vocab
        return max(self.min_count, int(np.partition(counts, place)[place]) + 1)

    def choose(
        self, counts: NDArray[np.int64], word: Callable[[int], str], firsts: NDArray[np.int64] | None = None
    ) -> NDArray[np.int64]:
        """Return the numbers of the words to keep, in the order of the vocabulary.

        Parameters
        ----------
        counts : int64 (num_words,)
        word : callable
            Returns the word of a number; called only for a `trim_rule`.
        firsts : int64 (num_words,), optional
            Where each word occurred first; by default they are in that order.
        """
        kept = np.flatnonzero(self.keeps(counts, word, self.effective_min_count(counts)))
        keys = [kept if firsts is None else firsts[kept]]
        if self.sorted_vocab:
            keys.append(-counts[kept])
        return kept[np.lexsort(keys)]

    def keeps(self, counts: NDArray[np.int64], word: Callable[[int], str], min_count: int) -> NDArray[np.bool_]:
        """Return which words stay where at least `min_count` occurrences are asked for.

        Raises
        ------
        ValueError
            If the `trim_rule` returns something else than the three rules, or None for `RULE_DEFAULT`.
        """
        kept = (counts >= min_count) & (counts > 0)
        if self.trim_rule is not None:
            for number, count in enumerate(counts.tolist()):
                rule = _checked_rule(self.trim_rule(word(number), count, min_count), word, number)
                if rule != RULE_DEFAULT:
                    kept[number] = rule == RULE_KEEP
        return kept


def _checked_rule(rule: object, word: Callable[[int], str], number: int) -> object:
    if rule is None:  # a function that came to its end
        return RULE_DEFAULT
    # True equals RULE_DISCARD, and who returns it means to keep the word.
    if isinstance(rule, bool) or rule not in (RULE_DEFAULT, RULE_DISCARD, RULE_KEEP):
        raise ValueError(
            "trim_rule must return RULE_DEFAULT (0), RULE_DISCARD (1) or RULE_KEEP (2), "
            f"got {rule!r} for {word(number)!r}"
        )
    return rule
