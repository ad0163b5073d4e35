from collections.abc import Callable
from types import ModuleType
from typing import Any

from numpy.typing import NDArray

def lookup(launch: Callable[..., int], module: ModuleType, indices: Any, weight: Any, out: Any) -> NDArray | None: ...
def reduce(
    launch: Callable[..., int], module: ModuleType, indices: Any, weight: Any, offsets: Any, factors: Any, mode: int
) -> NDArray | None: ...
def starts_of(indices: NDArray, offsets: Any, include_last_offset: bool) -> NDArray | None: ...
def fits(gradient: Any, weight: Any) -> bool: ...
def step(
    launch: Callable[..., int],
    module: ModuleType,
    weight: Any,
    first: NDArray,
    second: NDArray,
    gradient: Any,
    hyper: NDArray,
    rule: tuple[int, ...],
    num_threads: int,
) -> int | None: ...
def pays(cost: int, held: int) -> bool: ...
