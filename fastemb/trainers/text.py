"""The text that a trainer learns from."""

import os
from collections.abc import Iterable, Sequence

__all__ = ["PathLike", "Sentences", "one_source"]

PathLike = str | os.PathLike[str]
Sentences = Iterable[Sequence[str]]


def one_source(sentences: Sentences | None, corpus_file: PathLike | None) -> Sentences | PathLike:
    """Return the text that was given, as `sentences` or as `corpus_file`.

    Raises
    ------
    TypeError
        If none or both were given, or something else than sentences, or than a path.
    """
    if (sentences is None) == (corpus_file is None):
        given = "neither" if sentences is None else "both"
        raise TypeError(f"one of sentences and corpus_file must be given, got {given}")
    if corpus_file is not None:
        if not isinstance(corpus_file, str | os.PathLike):
            raise TypeError(f"corpus_file must be a path or '-', got {corpus_file!r:.80}")
        return corpus_file
    assert sentences is not None
    if isinstance(sentences, str | bytes | os.PathLike):
        raise TypeError(
            f"sentences must be an iterable of lists of words, got {str(sentences)!r:.80}; "
            "a file's name goes into corpus_file="
        )
    if not isinstance(sentences, Iterable):
        raise TypeError(f"sentences must be an iterable of lists of words, got {sentences!r:.80}")
    return sentences
