import numpy as np

def parse_entries(
    data: np.ndarray | bytes, start: int, count: int, number: int = 0
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, int]: ...
