from collections.abc import Callable

import numpy as np

from fastemb.corpus._terms import TermTable

DEFAULT: int
NPMI: int
WORD2PHRASE: int
STORED: int
CUSTOM: int

class Joiner:
    candidates: TermTable
    threshold: float
    def __init__(
        self,
        candidates: TermTable,
        scoring: int,
        threshold: float,
        min_count: float = 0,
        num_terms: float = 0,
        num_words: float = 0,
        scores: np.ndarray | None = None,
        splits: TermTable | None = None,
        split_scores: np.ndarray | None = None,
        function: Callable[[int, int, int], float] | None = None,
    ) -> None: ...
    def safe_cut(self, ids: np.ndarray, position: int, stop: int, words: np.ndarray) -> int: ...
    def join_ids(
        self, ids: np.ndarray, offsets: np.ndarray, start: int, stop: int, words: np.ndarray, numbers: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]: ...
    def join_tokens(
        self, tokens: list[str], delimiter: bytes, connectors: frozenset[str], known: TermTable | None
    ) -> list[tuple[int, int, float | None]]: ...

def split_table(phrases: np.ndarray, a: np.ndarray, b: np.ndarray) -> TermTable: ...
def score_all(
    scoring: int,
    a: np.ndarray,
    b: np.ndarray,
    both: np.ndarray,
    min_count: float,
    num_terms: float,
    num_words: float,
) -> np.ndarray: ...
