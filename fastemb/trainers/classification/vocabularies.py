"""The words and the labels of a labelled text."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fastemb.corpus._lines import have_prefix
from fastemb.corpus.lines import Lines
from fastemb.corpus.vocabulary import Vocabulary

__all__ = ["Vocabularies", "count_words", "with_words"]


class Vocabularies(NamedTuple):
    """The words and the labels of a text, each the most frequent first, with counts; labels without their prefix."""

    words: Vocabulary
    labels: Vocabulary


def count_words(lines: Lines, label_prefix: str, min_count: int, min_count_label: int) -> Vocabularies:
    """Return the words and labels of lines that occur often enough.

    Raises
    ------
    ValueError
        If a label has no name, or no word is left.

    Examples
    --------
    >>> from fastemb.corpus.lines import read_texts
    >>> found = count_words(read_texts(["__label__tea a cup of tea", "__label__tea tea"]), "__label__", 1, 0)
    >>> found.words.words, found.labels.words, found.labels.counts
    (['</s>', 'tea', 'a', 'cup', 'of'], ['tea'], array([2]))
    """
    prefix = label_prefix.encode("utf-8", "surrogateescape")
    words = lines.words
    assert words.counts is not None
    is_label = have_prefix(words.packed, words.offsets, prefix)
    order = np.lexsort((lines.table.first_places(), -words.counts))
    kept = words.take(order[~is_label[order] & (words.counts[order] >= max(min_count, 1))])
    if not len(kept):
        raise ValueError(f"no word occurs min_count={min_count} times")
    tokens = words.take(order[is_label[order] & (words.counts[order] >= min_count_label)])
    names = [token[len(prefix) :] for token in tokens.as_bytes()]
    if b"" in names:
        number = int(np.flatnonzero(is_label & (np.diff(words.offsets) == len(prefix)))[0])
        raise ValueError(
            f"{label_prefix!r} must be followed by a label's name, got none in line {_line_of(lines, number)}"
        )
    return Vocabularies(kept, Vocabulary.from_bytes(names, tokens.counts))


def _line_of(lines: Lines, number: int) -> int:
    """Return the line, counted from 1, in which a word occurs first."""
    place = int(np.flatnonzero(lines.numbers == number)[0])
    return int(np.searchsorted(lines.ends, place, side="right")) + 1


def with_words(words: Vocabulary, others: Vocabulary) -> tuple[Vocabulary, NDArray[np.int64]]:
    """Return `words` followed by those of `others` that are not among them, counted once, and the place of each other.

    Examples
    --------
    >>> joined, places = with_words(Vocabulary.from_words(["a", "b"], [5, 2]), Vocabulary.from_words(["b", "c"]))
    >>> joined.words, joined.counts, places
    (['a', 'b', 'c'], array([5, 2, 1]), array([1, 2]))
    """
    assert words.counts is not None
    found = {word: place for place, word in enumerate(words.as_bytes())}
    places = np.array([found.setdefault(word, len(found)) for word in others.as_bytes()], np.int64)
    counts = np.ones(len(found), np.int64)
    counts[: len(words)] = words.counts
    return Vocabulary.from_bytes(list(found), counts), places
