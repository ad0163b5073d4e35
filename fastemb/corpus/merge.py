"""From the tables that the threads filled to one vocabulary, and each table's numbers in it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from fastemb.corpus._table import WordTable
from fastemb.corpus.selection import Selection
from fastemb.corpus.vocabulary import Vocabulary
from fastemb.engine.parallel import ordered_map


def merge_tables(
    tables: Sequence[WordTable], lowercase: bool, errors: str, workers: int
) -> tuple[WordTable, list[np.ndarray]]:
    """Join tables into one, by pairs in parallel. The tables are used up.

    Returns
    -------
    table : WordTable
        Every word of any table once, lowered and made valid as asked, with exact counts.
    numbers : list of int32 arrays
        For each table, its words' numbers in the joined one; -1 for words of which nothing is left.
    """
    groups = [_Group(table, [np.arange(len(table), dtype=np.int32)]) for table in tables]
    while len(groups) > 1:
        pairs = [groups[i : i + 2] for i in range(0, len(groups), 2)]
        groups = list(ordered_map(_join, pairs, min(workers, len(pairs))))
    table, numbers = groups[0]
    replaced = _replacements(table, lowercase, errors)
    if not replaced:
        return table, numbers
    table, renumbered = _replace(table, replaced)
    return table, [renumbered[old] for old in numbers]


class _Group(NamedTuple):
    """Tables that have become one, and the numbers in it of each one's words."""

    table: WordTable
    numbers: list[np.ndarray]


def _join(groups: Sequence[_Group]) -> _Group:
    if len(groups) == 1:
        return groups[0]
    first, second = groups
    # Few words are added to many rather than the other way round.
    swapped = len(first.table) < len(second.table)
    large, small = (second, first) if swapped else (first, second)
    renumbered = large.table.absorb(small.table)
    numbers = [renumbered[old] for old in small.numbers]
    return _Group(large.table, numbers + large.numbers if swapped else large.numbers + numbers)


def _replacements(table: WordTable, lowercase: bool, errors: str) -> dict[int, bytes]:
    """Return what lower case and `errors` make of words, where that is not the word itself.

    ASCII letters are lowered already and strict errors raised; what remains needs Python's codecs and Unicode tables,
    and is done once a word.
    """
    rewrites = errors not in ("strict", "surrogateescape")
    if not lowercase and not rewrites:
        return {}
    replaced = {}
    for number in table.irregular(not lowercase).tolist():
        word = table.word(number)
        # What is not UTF-8 survives lowering as surrogate escapes unless `errors` says otherwise.
        text = word.decode("utf-8", errors if rewrites else "surrogateescape")
        text = text.lower() if lowercase else text
        new = text.encode("utf-8", "surrogateescape")
        if new != word:
            replaced[number] = new
    return replaced


def _replace(table: WordTable, replaced: dict[int, bytes]) -> tuple[WordTable, np.ndarray]:
    """Return a new table with some words replaced, which may become equal to others or empty, and the new numbers."""
    skip = np.zeros(len(table), np.uint8)
    skip[list(replaced)] = 1
    renewed = WordTable()
    numbers = renewed.absorb(table, skip)
    counts, firsts = table.counts(), table.first_places()
    for number, word in replaced.items():
        if word:
            numbers[number] = renewed.add(word, int(counts[number]), int(firsts[number]))
    return renewed, numbers


def rank_words(table: WordTable, selection: Selection) -> tuple[Vocabulary, np.ndarray]:
    """Return the vocabulary that is chosen from a table, and each word's place in it, -1 where it has none.

    Raises
    ------
    ValueError
        If no word is left.
    """
    counts, firsts = table.counts(), table.first_places()
    order = _choose(table, selection, counts, firsts)
    if len(order) == 0:
        raise ValueError(_nothing_kept(table, counts, firsts, selection))
    ranks = np.full(len(table), -1, np.int32)
    ranks[order] = np.arange(len(order), dtype=np.int32)
    packed, offsets = table.pack(order)
    return Vocabulary(packed, offsets, counts[order]), ranks


def _choose(table: WordTable, selection: Selection, counts: np.ndarray, firsts: np.ndarray) -> np.ndarray:
    return selection.choose(counts, lambda number: table.word(number).decode("utf-8", "surrogateescape"), firsts)


def _nothing_kept(table: WordTable, counts: np.ndarray, firsts: np.ndarray, selection: Selection) -> str:
    best = int(np.lexsort((firsts, -counts))[0])
    word = table.word(best).decode("utf-8", "replace")
    times = "once" if counts[best] == 1 else f"{counts[best]:,} times"
    min_count = selection.effective_min_count(counts)
    if counts[best] >= min_count:
        return f"trim_rule discards all of {len(table):,} words"
    if min_count > selection.min_count:
        return (
            f"no word is left with max_final_vocab={selection.max_final_vocab:,}: more words occur {times}, "
            f"like the most frequent one, {word!r}"
        )
    return (
        f"no word occurs min_count={min_count:,} times: the most frequent of {len(table):,} words, {word!r}, occurs "
        f"{times}; a min_count of at most {counts[best]:,} keeps words"
    )


def find_words(table: WordTable, vocabulary: Vocabulary) -> np.ndarray:
    """Return the place in a given vocabulary of each word of a table, -1 where it has none.

    Raises
    ------
    ValueError
        If no word is in the vocabulary.
    """
    places = _places(table, vocabulary)
    if not np.any(places >= 0):
        raise ValueError(f"none of the {len(table):,} words read is in the vocabulary of {len(vocabulary):,} words")
    return places


def _places(table: WordTable, vocabulary: Vocabulary) -> np.ndarray:
    known = WordTable()
    numbers = known.add_packed(vocabulary.packed, vocabulary.offsets)
    places_of_known = np.empty(len(known) + 1, np.int32)
    # Backwards, so that of equal words the first one counts.
    places_of_known[numbers[::-1]] = np.arange(len(vocabulary), dtype=np.int32)[::-1]
    places_of_known[-1] = -1
    return places_of_known[known.find_all(table)]


def extend_vocabulary(table: WordTable, vocabulary: Vocabulary, selection: Selection) -> tuple[Vocabulary, np.ndarray]:
    """Return a vocabulary with the occurrences in a table counted too and the words that are new, and all places in it.

    The old words keep their places and new ones follow. What is selected is decided by the table's counts alone.

    Raises
    ------
    ValueError
        If no word is in the vocabulary, old or new.
    """
    counts, firsts = table.counts(), table.first_places()
    places = _places(table, vocabulary)
    known = places >= 0
    order = _choose(table, selection, counts, firsts)
    order = order[~known[order]]
    if len(order) == 0 and not known.any():
        raise ValueError(_nothing_kept(table, counts, firsts, selection))
    old_counts = np.zeros(len(vocabulary), np.int64) if vocabulary.counts is None else vocabulary.counts.copy()
    old_counts[places[known]] += counts[known]  # the words of a table differ, so that no place is there twice
    places[order] = np.arange(len(vocabulary), len(vocabulary) + len(order), dtype=np.int32)
    packed, offsets = table.pack(order)
    extended = Vocabulary(
        np.concatenate([vocabulary.packed, packed]),
        np.concatenate([vocabulary.offsets, vocabulary.offsets[-1] + offsets[1:]]),
        np.concatenate([old_counts, counts[order]]),
    )
    return extended, places


def choose_vocabulary(words: Vocabulary, selection: Selection, known: Vocabulary | None = None) -> Vocabulary:
    """Return the vocabulary that is chosen from counted words, or `known` extended by it.

    Raises
    ------
    ValueError
        If no word is left.
    """
    assert words.counts is not None
    table = WordTable()
    for place, (word, count) in enumerate(zip(words.as_bytes(), words.counts.tolist(), strict=True)):
        if word and count:
            table.add(word, count, place)
    if len(table) == 0:
        raise ValueError("there are no words to choose from: all counts are 0")
    return (rank_words(table, selection) if known is None else extend_vocabulary(table, known, selection))[0]


def places_of(words: Vocabulary, vocabulary: Vocabulary) -> np.ndarray:
    """Return the place in `vocabulary` of each of some words, int32, -1 where it has none."""
    table = WordTable()
    numbers = table.add_packed(words.packed, words.offsets)
    return _places(table, vocabulary)[numbers]


def all_words(table: WordTable) -> Vocabulary:
    """Return the words of a table and their counts, in the order of their first places."""
    order = np.argsort(table.first_places(), kind="stable")
    return Vocabulary(*table.pack(order), table.counts()[order])
