from collections.abc import Callable
from types import ModuleType
from typing import Any

from numpy.typing import NDArray

def lookup(launch: Callable[..., int], module: ModuleType, indices: Any, weight: Any, out: Any) -> NDArray | None: ...
def reduce(
    launch: Callable[..., int], module: ModuleType, indices: Any, weight: Any, offsets: Any, factors: Any, mode: int
) -> NDArray | None: ...
