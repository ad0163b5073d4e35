"""Analogies and pairs of words: gensim's figures on the same vectors."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastemb.vectors.keyed_vectors import KeyedVectors

ANALOGIES = """: first part
a b c d
A b c d
b a D c
a b c missing
not four words here at all
: second part
d c b a
a a b c
"""


def as_gensim(kv: KeyedVectors) -> Any:
    gensim = pytest.importorskip("gensim.models", reason="needs gensim")
    theirs = gensim.KeyedVectors(kv.vector_size)
    theirs.add_vectors(kv.index_to_key, np.array(kv.vectors))
    return theirs


def words_of(path: Path, delimiter: str | None, width: int) -> list[str]:
    words: dict[str, None] = {}
    for line in path.read_text().splitlines():
        if not line.startswith(":"):
            words |= dict.fromkeys(line.split(delimiter)[:width])
    return list(words)


def planted(words: list[str], dim: int, seed: int = 0) -> KeyedVectors:
    """Return vectors in which some analogies hold: pairs of words differ by one of a few directions, and noise."""
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((len(words), dim)).astype(np.float32)
    vectors[1::2] = vectors[: len(words) // 2 * 2 : 2] * 0.5 + 2 * rng.standard_normal(dim) + vectors[1::2] * 0.3
    return KeyedVectors.from_words(words, vectors)


OPTIONS = [
    {"case_insensitive": case, "dummy4unknown": dummy, "restrict_vocab": restrict}
    for case in (True, False)
    for dummy in (True, False)
    for restrict in (4, 6, 300000, None)
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("seed", range(5))
def test_analogies_are_gensims(tmp_path: Path, options: dict[str, Any], seed: int) -> None:
    (tmp_path / "questions").write_text(ANALOGIES)
    kv = planted(["a", "b", "c", "d", "A", "B", "D", "x", "Ä", "C"], 4, seed)
    ours = kv.evaluate_word_analogies(tmp_path / "questions", **options)
    assert ours == as_gensim(kv).evaluate_word_analogies(str(tmp_path / "questions"), **options)


@pytest.mark.parametrize("seed", range(20))
def test_other_spellings_of_the_questions_words_are_passed_over(tmp_path: Path, seed: int) -> None:
    (tmp_path / "questions").write_text(": part\na b c d\nd c b a\nb d a c\n")
    rng = np.random.default_rng(seed)
    base = rng.standard_normal((4, 3))
    # Eight spellings a word, all near each other, so that gensim's five answers can all be such.
    words = [
        prefix + word
        for prefix in ("", "ß", "ss", "sS", "Ss", "SS", "\N{LATIN SMALL LETTER LONG S}s", "x")
        for word in "abcd"
    ]
    vectors = np.concatenate([base + 0.2 * rng.standard_normal((4, 3)) for _ in range(8)])
    for words_now in (words, [word[-1].upper() if i % 3 else word[-1] + "\u200b" * i for i, word in enumerate(words)]):
        kv = KeyedVectors.from_words(list(dict.fromkeys(words_now)), vectors[: len(dict.fromkeys(words_now))])
        ours = kv.evaluate_word_analogies(tmp_path / "questions")
        assert ours == as_gensim(kv).evaluate_word_analogies(str(tmp_path / "questions"))


def test_many_spellings_hide_the_answer_as_in_gensim(tmp_path: Path) -> None:
    (tmp_path / "questions").write_text(": part\naaa bbb ccc ddd\n")
    spellings = ["".join(letters) for letters in itertools.product("bB", repeat=3)]
    words = ["aaa", "ccc", *spellings, "ddd"]
    vectors = np.array([[0, 0, 1], [0, 0.1, 1], *[[1, 0.01 * i, 0] for i in range(8)], [1, 1, 0]], np.float32)
    kv = KeyedVectors.from_words(words, vectors)
    ours = kv.evaluate_word_analogies(tmp_path / "questions")
    assert ours == as_gensim(kv).evaluate_word_analogies(str(tmp_path / "questions"))
    assert ours[0] == 0


def test_real_analogies_are_gensims(data: Path) -> None:
    path = data / "eval/questions-words.txt"
    words = words_of(path, None, 4)
    kv = planted([word.upper() if i % 7 == 0 else word for i, word in enumerate(words[:-100])], 25)
    ours = kv.evaluate_word_analogies(path, dummy4unknown=True)
    theirs = as_gensim(kv).evaluate_word_analogies(str(path), dummy4unknown=True)
    assert ours == theirs
    assert 0 < ours[0] < 1 and len(ours[1]) == 15


@pytest.mark.parametrize("budget", [1, 1 << 12])
def test_analogies_in_small_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, budget: int) -> None:
    (tmp_path / "questions").write_text(ANALOGIES * 20)
    kv = planted(["a", "b", "c", "d", "A", "B", "D", "x", "Ä", "C"], 4)
    whole = kv.evaluate_word_analogies(tmp_path / "questions")
    monkeypatch.setattr("fastemb.vectors.evaluate._BUDGET", budget)
    assert kv.evaluate_word_analogies(tmp_path / "questions") == whole


def test_no_known_analogies(tmp_path: Path) -> None:
    kv = planted(["a", "b", "c", "d"], 4)
    (tmp_path / "questions").write_text(": part\nx y z w\n")
    assert kv.evaluate_word_analogies(tmp_path / "questions") == (
        0.0,
        [
            {"section": "part", "correct": [], "incorrect": []},
            {"section": "Total accuracy", "correct": [], "incorrect": []},
        ],
    )


def test_bad_analogies(tmp_path: Path) -> None:
    kv = planted(["a", "b", "c", "d"], 4)
    (tmp_path / "questions").write_text("a b c d\n")
    with pytest.raises(ValueError, match=r"questions', line 1: must be a section, ': name', got 'a b c d"):
        kv.evaluate_word_analogies(tmp_path / "questions")
    for text in ("", ": part\n", ": part\na b c\n"):
        (tmp_path / "questions").write_text(text)
        with pytest.raises(ValueError, match=r"questions' has no line of four words"):
            kv.evaluate_word_analogies(tmp_path / "questions")
    with pytest.raises(FileNotFoundError):
        kv.evaluate_word_analogies(tmp_path / "missing")
    with pytest.raises(ValueError, match="restrict_vocab must be an integer >= 1, got 0"):
        kv.evaluate_word_analogies(tmp_path / "questions", restrict_vocab=0)


@pytest.mark.parametrize("name", ["EN-WS-353-ALL.txt", "EN-SIMLEX-999.txt", "EN-RG-65.txt", "EN-MEN-TR-3k.txt"])
@pytest.mark.parametrize(
    "options", [options | {"restrict_vocab": size} for options, size in zip(OPTIONS, [200, None] * 8, strict=True)]
)
def test_real_pairs_are_gensims(data: Path, name: str, options: dict[str, Any]) -> None:
    path = data / "eval" / name
    words = words_of(path, "\t", 2)
    words = list(dict.fromkeys([word.title() if i % 7 == 0 else word for i, word in enumerate(words)]))[::-1]
    words = words[: len(words) * 9 // 10]
    kv = planted(words, 25)
    ours = kv.evaluate_word_pairs(path, **options)
    theirs = as_gensim(kv).evaluate_word_pairs(str(path), **options)
    np.testing.assert_allclose(ours[0], theirs[0], atol=1e-6)
    np.testing.assert_allclose(ours[1], theirs[1], atol=1e-3 if options["dummy4unknown"] else 1e-6)
    assert ours[2] == theirs[2]


def test_pairs_with_comments_other_delimiters_and_encodings(tmp_path: Path) -> None:
    text = "# no pair\n\nä,b,1\nb,c,2.5\nx y,c,3\nc,d,four\nc,d\nA,C,2\nb,missing,1\n"
    (tmp_path / "pairs").write_bytes(text.encode("latin-1"))
    kv = planted(["ä", "b", "c", "x y", "a"], 5)
    ours = kv.evaluate_word_pairs(tmp_path / "pairs", delimiter=",", encoding="latin-1")
    theirs = as_gensim(kv).evaluate_word_pairs(str(tmp_path / "pairs"), delimiter=",", encoding="latin-1")
    np.testing.assert_allclose(np.concatenate(ours[:2]), np.concatenate(theirs[:2]), atol=1e-6)
    assert ours[2] == theirs[2] == 20.0


@pytest.mark.parametrize("text", ["", "a\tb\t1\n", "a b 1\nb c 2\n", "x\ty\t1\nz\tw\t2\n"])
def test_too_few_pairs(tmp_path: Path, text: str) -> None:
    (tmp_path / "pairs").write_text(text)
    with pytest.raises(ValueError, match=r"pairs' has [01] pairs of known words between '\\t', must have at least 2"):
        planted(["a", "b", "c", "d"], 4).evaluate_word_pairs(tmp_path / "pairs")


def test_files_that_are_no_text_are_named(tmp_path: Path) -> None:
    kv = planted(["a", "b", "c", "d"], 4)
    (tmp_path / "latin").write_bytes(b": part\n" + b"a b c d\n" * 5000 + "a é c d\n".encode("latin-1"))
    for evaluate in (kv.evaluate_word_analogies, kv.evaluate_word_pairs):
        with pytest.raises(ValueError, match=r"latin', line 5002: not UTF-?8 text: .* at byte 40009") as raised:
            evaluate(tmp_path / "latin")
        assert raised.type is ValueError
