"""How good vectors are: analogies, and the similarity of pairs of words, as gensim measures them."""

import io
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from fastemb.engine.validate import choice, integer
from fastemb.formats.files import PathLike
from fastemb.vectors.search import best, part_of, similarities, top_k, units

if TYPE_CHECKING:
    from fastemb.vectors.keyed_vectors import KeyedVectors

# Bytes of similarities held at a time.
_BUDGET = 1 << 25
# gensim looks at no more answers than this for one that is no other spelling of a word of the question.
_ANSWERS = 5

Question = tuple[str, str, str, str]


def cosine(first: np.ndarray, second: np.ndarray) -> float:
    """Return the cosine of the angle between two vectors; 0 where one of them is zero.

    Examples
    --------
    >>> cosine(np.array([3.0, 4.0]), np.array([4.0, 3.0]))
    0.96
    """
    a, b = first.astype(np.float64), second.astype(np.float64)
    length = np.sqrt((a @ a) * (b @ b))
    return float(a @ b / length) if length > 0 else 0.0


def word_analogies(
    kv: "KeyedVectors",
    analogies: PathLike,
    restrict_vocab: int | None = 300000,
    case_insensitive: bool = True,
    dummy4unknown: bool = False,
    similarity_function: str = "most_similar",
) -> tuple[float, list[dict[str, Any]]]:
    r"""Return the share of the questions "a is to b as c is to ?" that the nearest word answers.

    Parameters
    ----------
    kv : KeyedVectors
        The vectors.
    analogies : str or PathLike
        A text file of four words a line, in sections that begin with a line ``: name``. Other lines are left out.
    restrict_vocab : int, optional
        Use only the first this many words; questions with another are unknown. None means all.
    case_insensitive : bool
        Compare words in upper case; of several spellings the first in the vocabulary counts.
    dummy4unknown : bool
        Count unknown questions as answered wrong, rather than leave them out.
    similarity_function : {"most_similar", "most_similar_cosmul"}
        How the nearest word is found: by the sum of the vectors, or by products of similarities.

    Returns
    -------
    score : float
        In [0, 1]; 0 where no question was asked.
    sections : list of dict
        For each section its name as "section", and its questions as lists of four words in "correct" and "incorrect".
        The last one, "Total accuracy", has all.

    Raises
    ------
    ValueError
        If the file is not UTF-8 text, or has no question, or one before the first section.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from fastemb import KeyedVectors
    >>> rows = np.array([[1, 0, 0], [1, 1, 0], [1, 0, 1], [1, 1, 1]], np.float32)
    >>> kv = KeyedVectors.from_words(["man", "king", "woman", "queen"], rows)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     questions = pathlib.Path(folder, "questions.txt")
    ...     _ = questions.write_text(": royal\nman king woman queen\n")
    ...     score, sections = word_analogies(kv, questions)
    >>> score, sections[0]["correct"]
    (1.0, [('MAN', 'KING', 'WOMAN', 'QUEEN')])
    """
    choice("similarity_function", similarity_function, ("most_similar", "most_similar_cosmul"))
    ok_vocab = _known_words(kv, restrict_vocab, case_insensitive)
    sections: list[dict[str, Any]] = []
    asked: list[tuple[dict[str, Any], int, Question]] = []
    known: list[list[int]] = []
    for name, question in _questions(analogies, case_insensitive):
        if question is None:
            sections.append({"section": name, "correct": [], "incorrect": []})
            continue
        numbers = [ok_vocab.get(word, -1) for word in question]
        if min(numbers) >= 0:
            asked.append((sections[-1], len(known), question))
            known.append(numbers)
        elif dummy4unknown:
            asked.append((sections[-1], -1, question))
    rows = np.array(known, np.int64).reshape(-1, 4)
    right = _answered(kv, rows, ok_vocab, restrict_vocab, case_insensitive, similarity_function)
    for section, row, question in asked:
        section["correct" if row >= 0 and right[row] else "incorrect"].append(question)
    total = {key: [question for section in sections for question in section[key]] for key in ("correct", "incorrect")}
    sections.append({"section": "Total accuracy", **total})
    answers = len(total["correct"]) + len(total["incorrect"])
    return len(total["correct"]) / answers if answers else 0.0, sections


def _known_words(kv: "KeyedVectors", restrict_vocab: int | None, case_insensitive: bool) -> dict[str, int]:
    """Return the rows of the first words, by their spelling in upper case where that does not matter."""
    if restrict_vocab is not None:
        integer("restrict_vocab", restrict_vocab, 1)
    rows: dict[str, int] = {}
    for row, word in enumerate(kv.index_to_key[:restrict_vocab]):
        rows.setdefault(word.upper() if case_insensitive else word, row)
    return rows


def read_lines(path: PathLike, encoding: str = "utf-8") -> list[str]:
    """Return the lines of a small text file, with their ends.

    Raises
    ------
    OSError
        If the file cannot be read.
    ValueError
        If it is not text in this encoding; the message names the line.
    """
    with open(path, "rb") as file:
        data = file.read()
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"{os.fspath(path)!r}, line {line}: not {encoding.upper()} text: {error.reason} at byte {error.start}"
        ) from None
    return io.StringIO(text, newline=None).readlines()


def _questions(path: PathLike, case_insensitive: bool) -> Iterator[tuple[str, Question | None]]:
    """Yield each section's name with None, and each question with its section's name."""
    section, found = None, False
    for number, line in enumerate(read_lines(path), 1):
        if line.startswith(": "):
            section = line.lstrip(": ").strip()
            yield section, None
            continue
        if section is None:
            raise ValueError(f"{os.fspath(path)!r}, line {number}: must be a section, ': name', got {line!r:.80}")
        words = (line.upper() if case_insensitive else line).split()
        if len(words) == 4:
            found = True
            yield section, (words[0], words[1], words[2], words[3])
    if not found:
        raise ValueError(f"{os.fspath(path)!r} has no line of four words")


def known_questions(
    kv: "KeyedVectors", analogies: PathLike, restrict_vocab: int | None = 300000, case_insensitive: bool = True
) -> tuple[int, int]:
    r"""Return how many questions of a file have known words only, and how many there are; see `word_analogies`.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from fastemb import KeyedVectors
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     questions = pathlib.Path(folder, "questions.txt")
    ...     _ = questions.write_text(": royal\na b a b\na b c d\n")
    ...     known_questions(KeyedVectors.from_words(["a", "b"], np.eye(2)), questions)
    (1, 2)
    """
    ok_vocab = _known_words(kv, restrict_vocab, case_insensitive)
    questions = [question for _, question in _questions(analogies, case_insensitive) if question is not None]
    return sum(all(word in ok_vocab for word in question) for question in questions), len(questions)


def _answered(
    kv: "KeyedVectors",
    rows: np.ndarray,
    ok_vocab: dict[str, int],
    restrict_vocab: int | None,
    case_insensitive: bool,
    similarity_function: str,
) -> np.ndarray:
    """Return for each question (a, b, c, expected), as rows, whether the nearest word to b - a + c is the expected."""
    stop = len(kv) if restrict_vocab is None else min(restrict_vocab, len(kv))
    vectors, norms = part_of(kv.vectors, 0, stop), kv.norms[:stop]
    words = kv.index_to_key[:stop]
    first = np.array([ok_vocab[word.upper() if case_insensitive else word] for word in words], np.int64)
    if similarity_function == "most_similar":
        a, b, c = (units(vectors[rows[:, i]]) for i in range(3))
        found, _ = top_k(vectors, norms, units(b - a + c), _ANSWERS, rows[:, :3].tolist())
    else:
        found = _by_products(vectors, norms, rows)
    # The first answer that is no spelling of a word of the question, or the last one where all are.
    spelled = np.where(found >= 0, first[found], -1) if len(first) else found
    other = (found >= 0) & (spelled[:, :, None] != rows[:, None, :3]).all(axis=2)
    place = np.where(other.any(axis=1), other.argmax(axis=1), np.maximum((found >= 0).sum(axis=1) - 1, 0))
    return spelled[np.arange(len(rows)), place] == rows[:, 3] if found.size else np.zeros(len(rows), bool)


def _by_products(vectors: Any, norms: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Return the answers to questions by 3CosMul: see `KeyedVectors.most_similar_cosmul`."""
    found = [np.zeros((0, min(_ANSWERS, len(vectors))), np.int64)]
    step = max(1, _BUDGET // (12 * max(1, len(vectors))))
    for start in range(0, len(rows), step):
        block = rows[start : start + step, :3]
        a, b, c = ((1 + similarities(vectors, norms, units(vectors[column]))) / 2 for column in block.T)
        found.append(best(b * c / (a + np.float32(1e-6)), _ANSWERS, block.tolist())[0])
    return np.concatenate(found)


def word_pairs(
    kv: "KeyedVectors",
    pairs: PathLike,
    delimiter: str = "\t",
    encoding: str = "utf8",
    restrict_vocab: int | None = 300000,
    case_insensitive: bool = True,
    dummy4unknown: bool = False,
) -> tuple[Any, Any, float]:
    r"""Return how the similarity of pairs of words goes with the scores that people gave them.

    Parameters
    ----------
    kv : KeyedVectors
        The vectors.
    pairs : str or PathLike
        A text file of lines of two words and a score; lines that begin with ``#`` and other lines are left out.
    delimiter : str
        What is between them.
    encoding : str
        The file's encoding.
    restrict_vocab, case_insensitive
        As in `word_analogies`.
    dummy4unknown : bool
        Take 0 as the similarity of pairs with an unknown word, rather than leave them out.

    Returns
    -------
    pearson : (float, float)
        Pearson's correlation, and its p-value.
    spearman : (float, float)
        Spearman's rank correlation, and its p-value.
    oov_ratio : float
        The pairs with an unknown word, in percent.

    Raises
    ------
    ValueError
        If the file is not text in this encoding, or fewer than two pairs can be compared.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from fastemb import KeyedVectors
    >>> kv = KeyedVectors.from_words(["tea", "mate", "rum"], np.array([[1, 0], [2, 1], [0, 1]], np.float32))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     pairs = pathlib.Path(folder, "pairs.tsv")
    ...     _ = pairs.write_text("tea\tmate\t9\ntea\trum\t1\nmate\trum\t3\n")
    ...     _, spearman, unknown_percent = word_pairs(kv, pairs)
    >>> round(float(spearman[0]), 3), unknown_percent
    (1.0, 0.0)
    """
    from scipy import stats

    ok_vocab = _known_words(kv, restrict_vocab, case_insensitive)
    gold: list[float] = []
    model: list[float] = []
    unknown = 0
    for first, second, score in _scored_pairs(pairs, delimiter, encoding, case_insensitive):
        rows = ok_vocab.get(first, -1), ok_vocab.get(second, -1)
        if min(rows) < 0:
            unknown += 1
            if not dummy4unknown:
                continue
        gold.append(score)
        model.append(kv.similarity(*rows) if min(rows) >= 0 else 0.0)
    if len(gold) < 2:
        raise ValueError(
            f"{os.fspath(pairs)!r} has {len(gold)} pairs of known words between {delimiter!r}, must have at least 2 "
            f"({unknown} have unknown words)"
        )
    ratio = unknown / (len(gold) if dummy4unknown else len(gold) + unknown) * 100
    return stats.pearsonr(gold, model), stats.spearmanr(gold, model), ratio


def _scored_pairs(
    path: PathLike, delimiter: str, encoding: str, case_insensitive: bool
) -> Iterator[tuple[str, str, float]]:
    for line in read_lines(path, encoding):
        fields = (line.upper() if case_insensitive else line).split(delimiter)
        if line.startswith("#") or len(fields) != 3:
            continue
        try:
            yield fields[0], fields[1], float(fields[2])
        except ValueError:
            continue
