"""Asking vectors for similar words, and showing the answer."""

from typing import TYPE_CHECKING, cast

from fastemb.cli.console import columns, visible

if TYPE_CHECKING:
    from fastemb.vectors.keyed_vectors import KeyedVectors

Similar = list[tuple[str, float]]


def similar_words(
    vectors: "KeyedVectors",
    positive: str | list[str],
    negative: list[str] | None = None,
    *,
    topn: int = 10,
    restrict_vocab: int | None = None,
) -> Similar:
    """Return the words nearest to the sum of `positive` less `negative`, with their cosines."""
    return cast(Similar, vectors.most_similar(positive, negative, topn=topn, restrict_vocab=restrict_vocab))


def as_objects(similar: Similar) -> list[dict[str, str | float]]:
    """Return similar words as JSON shows them.

    Examples
    --------
    >>> as_objects([("red", 0.71)])
    [{'word': 'red', 'similarity': 0.71}]
    """
    return [{"word": word, "similarity": cosine} for word, cosine in similar]


def as_lines(similar: Similar) -> list[str]:
    """Return similar words as lines of text.

    Examples
    --------
    >>> as_lines([("red", 0.71), ("purple", 0.7)])
    ['red     0.7100', 'purple  0.7000']
    """
    return columns([[visible(word), f"{cosine:.4f}"] for word, cosine in similar], right=[1])
