"""Neighbours and sums of phrases: the entities nearest to a phrase, and what two vectors add up to.

After tables 6 and 7 of Mikolov et al. 2013, "Distributed Representations of Words and Phrases and their
Compositionality".

    python examples/phrase_neighbours.py                      # on the texts in the folder that FASTEMB_DATA names
    python examples/phrase_neighbours.py text.txt             # on a text of your own, one sentence a line
    python examples/phrase_neighbours.py text.txt 200000      # on its first words only
"""

import gzip
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from fastemb import FrozenPhrases, KeyedVectors, Phrases, Word2Vec

# What the paper asks, in the lower case of the corpus, and what it shows there.
PHRASES = ["vasco_de_gama", "lake_baikal", "alan_bean", "ionian_sea", "chess_master", "new_york", "prime_minister"]
SUMS = [
    ("czech", "currency"),  # koruna
    ("vietnam", "capital"),  # hanoi
    ("german", "airlines"),  # lufthansa
    ("russian", "river"),  # moscow, volga_river
    ("french", "actress"),  # juliette binoche
    ("king", "castle"),
]


def main(text: str | None = None, max_words: str | None = None) -> None:
    """Learn phrases in two passes, train vectors on the joined text, and look at them."""
    lines = list(read(Path(text) if text else find_text(), int(max_words) if max_words else None))
    phrases = find_phrases(lines)
    model = Word2Vec(lines, phrases=phrases, vector_size=100, epochs=5, window=8, alpha=0.05)
    vectors = model.wv
    show_neighbours(vectors)
    show_sums(vectors)
    questions = Path(os.environ.get("FASTEMB_DATA", ""), "eval", "questions-phrases.txt")
    if questions.is_file():
        show_analogies(vectors, questions)


def find_phrases(lines: list[list[str]]) -> FrozenPhrases:
    """Learn phrases of two words, then longer ones, with a lower threshold in the second pass as the paper has it."""
    first = Phrases(lines, threshold=100, scoring="word2phrase")
    second = Phrases(lines, phrases=first, threshold=50, scoring="word2phrase")
    phrases = FrozenPhrases([first, second])
    print(f"{len(phrases):,} phrases, such as {', '.join(list(phrases)[:8])}")
    return phrases


def show_neighbours(vectors: KeyedVectors) -> None:
    """Print the nearest phrases to some phrases: table 6."""
    known = [phrase for phrase in PHRASES if phrase in vectors]
    joined = [word for word in vectors.index_to_key if "_" in word]
    for phrase in known or joined[:4]:
        near = [word for word, _ in vectors.most_similar(phrase, topn=100) if "_" in word]
        print(f"{phrase:>20}: {', '.join(near[:4])}")


def show_sums(vectors: KeyedVectors) -> None:
    """Print what is nearest to the sum of two words: table 7."""
    for a, b in SUMS:
        if a in vectors and b in vectors:
            near = vectors.most_similar([a, b], topn=4)
            print(f"{a + ' + ' + b:>20}: {', '.join(word for word, _ in near)}")


def show_analogies(vectors: KeyedVectors, questions: Path) -> None:
    """Print how many of the paper's analogies of phrases come out right, of those whose words are known."""
    lowered = [line.strip().lower() for line in questions.read_text(encoding="utf-8").splitlines()]
    known = [line for line in lowered if line and not line.startswith(":") and all(w in vectors for w in line.split())]
    right = 0
    for a, b, c, wanted in map(str.split, known):
        right += vectors.most_similar(positive=[b, c], negative=[a], topn=1)[0][0] == wanted
    print(f"analogies of phrases: {right} of {len(known)} right, {len(lowered) - len(known)} with unknown words")


def find_text() -> Path:
    """Return the corpus in the folder of data, or a text.txt in this folder."""
    corpus = Path(os.environ.get("FASTEMB_DATA", ""), "text", "enwiki2015.AA.t8.txt.gz")
    return corpus if corpus.is_file() and not Path("text.txt").is_file() else Path("text.txt")


def read(path: Path, max_words: int | None) -> Iterator[list[str]]:
    """Yield the lines of a text as lists of words."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as file:
        for line in file:
            yield line.split()[:max_words]
            if max_words is not None:
                max_words -= len(line.split())
                if max_words <= 0:
                    return


if __name__ == "__main__":
    main(*sys.argv[1:3])
