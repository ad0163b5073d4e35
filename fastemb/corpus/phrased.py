"""Sentences whose phrases are joined when they are asked for, and how a reader sees through them."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

__all__ = ["PhraseJoiner", "PhrasedSentences", "joiners_of"]


@runtime_checkable
class PhraseJoiner(Protocol):
    """What joins phrases: `Phrases` and `FrozenPhrases`."""

    def __getitem__(self, sentences: Any) -> Any:
        """Join the phrases of a sentence, a list of str."""

    def find_phrases(self, sentences: Any) -> dict[str, float]:
        """Return the phrases in some sentences."""

    def join(self, corpus: Any, *, max_memory: int | None = None, workers: int | None = None) -> Any:
        """Join the phrases of a `Corpus`."""


class PhrasedSentences:
    """Sentences with their phrases joined, each when it is asked for: what ``model[sentences]`` returns.

    Parameters
    ----------
    model : PhraseJoiner
    sentences : iterable of list of str
        May be read as often as this is.
    """

    def __init__(self, model: PhraseJoiner, sentences: Any) -> None:
        self.model, self.sentences = model, sentences

    def __iter__(self) -> Iterator[list[str]]:
        for sentence in self.sentences:
            # A list, since of no sentence at all the model could not tell what it is.
            yield self.model[sentence] if sentence else []

    def __len__(self) -> int:
        return len(self.sentences)


def joiners_of(
    source: Any, phrases: PhraseJoiner | Iterable[PhraseJoiner] | None
) -> tuple[Any, Sequence[PhraseJoiner]]:
    """Return what sentences are made from, and all that is joined in them.

    Parameters
    ----------
    source
        A source of a text; of `PhrasedSentences` their models are joined first.
    phrases
        What is joined then, one after the other.

    Raises
    ------
    TypeError
        If `phrases` holds something else.
    """
    models = [phrases] if isinstance(phrases, PhraseJoiner) else list(phrases or ())
    for model in models:
        if not isinstance(model, PhraseJoiner):
            raise TypeError(f"phrases must be Phrases, FrozenPhrases or several of them, got {model!r:.80}")
    while isinstance(source, PhrasedSentences):
        models.insert(0, source.model)
        source = source.sentences
    return source, models
