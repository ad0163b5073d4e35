import numpy as np

PAIR_COLUMNS: int

def count_words(
    ids: np.ndarray, start: int, stop: int, counts: np.ndarray, firsts: np.ndarray | None = None
) -> None: ...
def find_pairs(
    ids: np.ndarray,
    offsets: np.ndarray,
    start: int,
    stop: int,
    words: np.ndarray,
    across: bool,
    scratch: np.ndarray,
    pairs: np.ndarray,
    starts: np.ndarray,
) -> None: ...
