"""The error for a word that is not in the vocabulary."""

import difflib
from collections.abc import Sequence

_SEARCHED = 20_000
_SHOWN = 3
_ALIKE = 0.6


class UnknownWord(KeyError):
    """A KeyError whose message names words that are spelled alike.

    They are looked up when the message is read, so that ``try: kv[word] except KeyError`` stays fast.

    Parameters
    ----------
    word : str
        The word that is not there.
    words : sequence of str
        The vocabulary.
    """

    def __init__(self, word: object, words: Sequence[str]) -> None:
        super().__init__(word)
        self.word = word
        self._words = words

    def __str__(self) -> str:
        text = f"word {self.word!r:.80} is not in the vocabulary ({len(self._words)} words)"
        close = close_matches(self.word, self._words) if isinstance(self.word, str) else []
        return f"{text}; close matches: {', '.join(close)}" if close else text

    def __reduce__(self) -> tuple[type, tuple[object, list[str]]]:
        return type(self), (self.word, list(self._words))


def close_matches(word: str, words: Sequence[str]) -> list[str]:
    """Return up to three of the first words of a vocabulary that are spelled like `word`, the likest first.

    Other cases of the same letters come first, and of words that are as like the more frequent.

    Examples
    --------
    >>> close_matches("kng", ["king", "queen", "King", "kings"])
    ['king', 'kings']
    """
    matcher = difflib.SequenceMatcher(autojunk=False)
    matcher.set_seq2(word)
    scores = []
    for row, other in enumerate(words[:_SEARCHED]):
        if abs(len(other) - len(word)) > 2:
            continue
        if other.casefold() == word.casefold():
            scores.append((-1.0, row, other))
            continue
        matcher.set_seq1(other)
        if matcher.quick_ratio() >= _ALIKE and (ratio := matcher.ratio()) >= _ALIKE:
            scores.append((-ratio, row, other))
    return [other for _, _, other in sorted(scores)[:_SHOWN]]
