import numpy as np

def spell(
    parts: np.ndarray,
    packed: np.ndarray,
    offsets: np.ndarray,
    delimiter: bytes,
    values: np.ndarray,
    ends: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]: ...
def render(
    ids: np.ndarray, offsets: np.ndarray, start: int, stop: int, packed: np.ndarray, word_offsets: np.ndarray
) -> bytes: ...
