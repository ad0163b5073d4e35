from numpy.typing import NDArray

def columns(
    batch: dict, names: list[str], features: NDArray
) -> tuple[NDArray, NDArray, int, int, list[NDArray]] | None: ...
