import numpy as np

from fastemb.corpus._table import WordTable

class LineScanner:
    table: WordTable
    def __init__(self, strict: bool = False) -> None: ...
    def scan_text(
        self, text: np.ndarray, size: int, base: int, lowercase: bool = False
    ) -> tuple[np.ndarray, int, int, int]: ...

def last_space(text: np.ndarray, size: int) -> int: ...
def have_prefix(packed: np.ndarray | bytes, offsets: np.ndarray, prefix: bytes) -> np.ndarray: ...
def split_lines(
    numbers: np.ndarray, ends: np.ndarray, places: np.ndarray, last: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]: ...
def join_features(
    words: np.ndarray,
    offsets: np.ndarray,
    rows: np.ndarray,
    row_offsets: np.ndarray,
    ngrams: np.ndarray,
    ngram_offsets: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]: ...
