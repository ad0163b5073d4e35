"""Join the phrases of a text: of lists of words, and of word numbers, which become numbers of a new vocabulary."""

from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from fastemb.corpus._joining import Joiner
from fastemb.corpus._pairs import count_words
from fastemb.corpus._spelling import render
from fastemb.corpus._terms import TermTable, prepare_words, set_connectors, set_counts
from fastemb.corpus.reader import Corpus
from fastemb.corpus.spool import Output, temporary
from fastemb.corpus.terms import connector_table, encode
from fastemb.corpus.vocabulary import Vocabulary
from fastemb.engine.parallel import get_num_threads, ordered_map

__all__ = ["Segmenter", "Token", "text_blocks"]

# Words that a thread takes at a time.
_PIECE = 1 << 17


class Token(NamedTuple):
    """A word or a phrase of a sentence, and a phrase's score."""

    text: str
    score: float | None


class Segmenter:
    """Joins words that are phrases, from left to right.

    Parameters
    ----------
    joiner : Joiner
        Knows the phrases.
    packed, offsets : uint8 and int64 arrays
        The texts of the joiner's candidates, in the order of their numbers.
    delimiter : str
        What comes between the words of a phrase.
    connectors : collection of str
        Words that may stand inside a phrase.
    known : TermTable, optional
        How often words occur in the model; needed unless the joiner's scores are stored.
    """

    def __init__(
        self,
        joiner: Joiner,
        packed: np.ndarray,
        offsets: np.ndarray,
        delimiter: str,
        connectors: Collection[str],
        known: TermTable | None = None,
    ) -> None:
        self._joiner, self._packed, self._offsets, self._known = joiner, packed, offsets, known
        self._delimiter, self._connectors = delimiter, frozenset(connectors)

    def analyze(self, sentence: Sequence[Token]) -> list[Token]:
        """Return the words and phrases of a sentence; what is no phrase keeps the score that it has."""
        texts = [token.text for token in sentence]
        spans = self._joiner.join_tokens(texts, encode(self._delimiter), self._connectors, self._known)
        found = []
        for start, stop, score in spans:
            if score is None:
                found.append(sentence[start])
            else:  # an empty word is no word, and brings no delimiter either
                found.append(Token(self._delimiter.join(filter(None, texts[start:stop])), score))
        return found

    def join(self, corpus: Corpus, *, max_memory: int | None = None, workers: int | None = None) -> Corpus:
        """Return a text with its phrases joined; they come after its words in the vocabulary, occur or not.

        Parameters
        ----------
        corpus : Corpus
            Is not changed.
        max_memory : int, optional
            Bytes: keep more word numbers than fit into them in a temporary file.
        workers : int, optional
            Threads.
        """
        workers = get_num_threads() if workers is None else workers
        vocabulary, words, numbers = self._extend(corpus.vocabulary)

        def join(piece: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
            return self._joiner.join_ids(corpus.ids, corpus.offsets, *piece, words, numbers)

        spills = max_memory is not None and corpus.ids.nbytes > max_memory
        with temporary(spills) as ids_file, temporary(spills) as offsets_file:
            ids = Output(np.int32, len(corpus.ids), ids_file)
            offsets = Output(np.int64, len(corpus.offsets), offsets_file)
            offsets.append(np.zeros(1, np.int64))
            for part, ends in ordered_map(join, self._pieces(corpus, words), workers):
                offsets.append(ends + ids.size)
                ids.append(part)
            joined = ids.finish(), offsets.finish()
        counts = np.zeros(len(vocabulary), np.int64)
        count_words(joined[0], 0, len(joined[0]), counts)
        vocabulary = Vocabulary(vocabulary.packed, vocabulary.offsets, counts)
        return Corpus(*joined, vocabulary, len(joined[0]), corpus.num_sentences_read)

    def _extend(self, vocabulary: Vocabulary) -> tuple[Vocabulary, np.ndarray, np.ndarray]:
        """Return a vocabulary with the phrases behind its words, the words prepared, and the phrases' numbers."""
        words = prepare_words(vocabulary.packed, vocabulary.offsets, encode(self._delimiter))
        set_connectors(words, connector_table(self._connectors, self._delimiter))
        if self._known is not None:
            set_counts(words, self._known.counts_of(words))
        numbers = np.arange(len(vocabulary), len(vocabulary) + len(self._offsets) - 1, dtype=np.int32)
        # A phrase may have the text of a word.
        same = self._joiner.candidates.parts_of(words)
        numbers[same[same >= 0]] = np.flatnonzero(same >= 0)
        packed = np.concatenate([vocabulary.packed, self._packed])
        offsets = np.concatenate([vocabulary.offsets, self._offsets[1:] + vocabulary.offsets[-1]])
        return Vocabulary(packed, offsets), words, numbers

    def _pieces(self, corpus: Corpus, words: np.ndarray) -> Iterator[tuple[int, int]]:
        """Cut a text where no phrase reaches over the cut: at the ends of sentences, and inside long ones."""
        start, size = 0, len(corpus.ids)
        while start < size:
            stop = min(start + _PIECE, size)
            after = int(corpus.offsets[np.searchsorted(corpus.offsets, stop)])
            before = int(corpus.offsets[np.searchsorted(corpus.offsets, stop, "right") - 1])
            if before > start:
                stop = before
            elif stop < after:
                stop = self._joiner.safe_cut(corpus.ids, stop, after, words)
            yield start, stop
            start = stop


def text_blocks(corpus: Corpus, workers: int | None = None) -> Iterator[bytes]:
    r"""Yield a text as UTF-8: words between spaces, ``\n`` after each sentence.

    Parameters
    ----------
    corpus : Corpus
    workers : int, optional
        Threads.

    Examples
    --------
    >>> from fastemb.corpus.reader import read_corpus
    >>> list(text_blocks(read_corpus([["new", "york"], ["new"]], min_count=1)))
    [b'new york\nnew\n']
    """
    vocabulary, offsets = corpus.vocabulary, corpus.offsets

    def pieces() -> Iterator[tuple[int, int]]:
        start = 0
        while start < len(offsets) - 1:
            stop = int(np.searchsorted(offsets, offsets[start] + _PIECE, "right")) - 1
            stop = min(max(stop, start + 1), len(offsets) - 1)
            yield start, stop
            start = stop

    def spell(piece: tuple[int, int]) -> bytes:
        return render(corpus.ids, offsets, *piece, vocabulary.packed, vocabulary.offsets)

    yield from ordered_map(spell, pieces(), get_num_threads() if workers is None else workers)
