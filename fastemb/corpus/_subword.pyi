import numpy as np

FLORET_SEED: int

def hash_words(packed: np.ndarray | bytes, offsets: np.ndarray) -> np.ndarray: ...
def subword_rows(
    packed: np.ndarray,
    offsets: np.ndarray,
    start: int,
    stop: int,
    min_n: int,
    max_n: int,
    bucket: int,
    hash_count: int,
    first_row: int,
    own: bool,
) -> tuple[np.ndarray, np.ndarray]: ...
def word_ngram_rows(
    hashes: np.ndarray, offsets: np.ndarray, n: int, bucket: int, first_row: int = 0
) -> tuple[np.ndarray, np.ndarray]: ...
