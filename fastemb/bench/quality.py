"""How good vectors are: similarity judgements and analogies, scored by one evaluator for all programs."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

NAMES = {"EN-WS-353-ALL": "WS-353", "EN-MEN-TR-3k": "MEN", "EN-SIMLEX-999": "SimLex", "questions-words": "analogies"}
RESTRICT = 30_000


def find_sets() -> tuple[Path | None, list[Path]]:
    """Return the evaluation sets in the folder ``eval`` of the folder that FASTEMB_DATA names.

    Returns
    -------
    analogies
        The file of analogies, None if it is not there.
    pairs
        The files of pairs of words that are there.

    Examples
    --------
    >>> from fastemb.bench.quality import find_sets
    >>> analogies, pairs = find_sets()
    >>> isinstance(pairs, list)
    True
    """
    folder = Path(os.environ.get("FASTEMB_DATA", "")) / "eval"
    if "FASTEMB_DATA" not in os.environ:
        return None, []
    files = {name: folder / f"{stem}.txt" for stem, name in NAMES.items()}
    found = {name: file for name, file in files.items() if file.is_file()}
    return found.pop("analogies", None), list(found.values())


def score(
    folder: str | os.PathLike[str],
    analogies: str | os.PathLike[str] | None,
    pairs: Sequence[str | os.PathLike[str]] = (),
    evaluator: str = "fastemb",
) -> dict[str, float]:
    """Score the vectors that a run exported into `folder`.

    Parameters
    ----------
    folder
        Holds ``vectors.npy`` and ``words.txt``.
    analogies
        A file of analogies, or None; scored among the 30,000 most frequent words.
    pairs
        Files of pairs of words with a human's score.
    evaluator
        Whose ``KeyedVectors`` scores: ``"fastemb"`` or ``"gensim"``.

    Returns
    -------
    dict
        Spearman's correlation times 100 for each file of pairs, percent right for analogies.

    Raises
    ------
    ValueError
        If the vectors are not finite, or all alike: a run that failed has no speed worth reporting.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> from fastemb.bench.peers import Config, export
    >>> from fastemb.bench.quality import score
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     export(Config(corpus="text.txt", folder=folder), ["a", "b"], np.full((2, 3), np.nan))
    ...     score(folder, None)
    Traceback (most recent call last):
        ...
    ValueError: vectors must be finite, got nan at row 0
    """
    vectors = np.load(Path(folder) / "vectors.npy")
    words = Path(folder, "words.txt").read_text(encoding="utf-8").split("\n")
    _check(vectors)
    if analogies is None and not pairs:
        return {}
    table = _keyed_vectors(words, vectors, evaluator)
    scores = {}
    for file in pairs:
        _, spearman, _ = table.evaluate_word_pairs(str(file))
        scores[name_of(file)] = 100 * float(spearman[0])
    if analogies is not None:
        right, _ = table.evaluate_word_analogies(str(analogies), restrict_vocab=RESTRICT)
        scores[name_of(analogies)] = 100 * float(right)
    return scores


def name_of(file: str | os.PathLike[str]) -> str:
    """Return the short name of an evaluation set: the field's where it is known, the file's otherwise.

    Examples
    --------
    >>> from fastemb.bench.quality import name_of
    >>> name_of("EN-MEN-TR-3k.txt"), name_of("mine.txt")
    ('MEN', 'mine')
    """
    return NAMES.get(Path(file).stem, Path(file).stem)


def _check(vectors: np.ndarray) -> None:
    finite = np.isfinite(vectors).all(axis=1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise ValueError(f"vectors must be finite, got {vectors[row][~np.isfinite(vectors[row])][0]} at row {row}")
    if len(vectors) > 1 and np.ptp(vectors[:1000], axis=0).max() == 0:
        raise ValueError(f"vectors must differ, got {len(vectors)} rows alike")


def _keyed_vectors(words: list[str], vectors: np.ndarray, evaluator: str) -> Any:
    if evaluator == "fastemb":
        from fastemb import KeyedVectors

        return KeyedVectors.from_words(words, vectors)
    from gensim.models import KeyedVectors as GensimVectors

    table = GensimVectors(vectors.shape[1])
    table.add_vectors(words, vectors)
    return table
