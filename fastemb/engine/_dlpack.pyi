from typing import Any

VERSION: tuple[int, int]

class Taken:
    device: tuple[int, int]
    dtype: tuple[int, int, int]
    shape: tuple[int, ...]
    strides: tuple[int, ...] | None
    address: int
    read_only: bool | None

def take(capsule: Any) -> Taken: ...
def give(
    owner: Any,
    address: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    dtype: tuple[int, int],
    device: tuple[int, int],
    read_only: bool,
    versioned: bool,
) -> Any: ...
