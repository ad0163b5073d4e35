import numpy as np

from fastemb.corpus._table import WordTable

PADDING: int

class BadWord(ValueError):
    problem: str
    position: int
    word: bytes
    def __init__(self, problem: str, position: int, word: bytes) -> None: ...

class Scanner:
    table: WordTable
    def __init__(self, strict: bool = False) -> None: ...
    def scan_text(
        self, text: np.ndarray, size: int, base: int, lowercase: bool
    ) -> tuple[np.ndarray, int, int, int]: ...
    def scan_tokens(
        self, text: np.ndarray, edges: np.ndarray, lines: np.ndarray, base: int, lowercase: bool
    ) -> tuple[np.ndarray, int, int]: ...

def classes_of(text: bytes | np.ndarray, portable: bool) -> tuple[int, int, int]: ...
def last_cut(text: np.ndarray, size: int) -> int: ...
