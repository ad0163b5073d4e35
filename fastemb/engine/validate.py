"""Checks of what a user passes: each raises a built-in exception that names the argument, the bound and the value."""

import math
import numbers
from collections.abc import Collection
from typing import TypeVar

T = TypeVar("T")


def integer(name: str, value: object, low: int, high: int | None = None) -> int:
    """Return `value` as an int in ``[low, high]``.

    Raises
    ------
    TypeError
        If `value` is not an integer; a bool is not one.
    ValueError
        If `value` is out of bounds.

    Examples
    --------
    >>> integer("window", 0, 1, 100)
    Traceback (most recent call last):
        ...
    ValueError: window must be an integer in [1, 100], got 0
    """
    bound = f"an integer in [{low}, {high}]" if high is not None else f"an integer >= {low}"
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be {bound}, got {value!r}")
    number = int(value)
    if number < low or (high is not None and number > high):
        raise ValueError(f"{name} must be {bound}, got {value}")
    return number


def real(name: str, value: object, low: float, high: float | None = None, *, low_open: bool = False) -> float:
    """Return `value` as a finite float in ``[low, high]``, or ``(low, high]`` with `low_open`.

    Raises
    ------
    TypeError
        If `value` is not a number; a bool is not one.
    ValueError
        If `value` is out of bounds, NaN or infinite.

    Examples
    --------
    >>> real("alpha", -1, 0, low_open=True)
    Traceback (most recent call last):
        ...
    ValueError: alpha must be a finite number > 0, got -1
    """
    if high is None:
        bound = f"a finite number {'>' if low_open else '>='} {low}"
    else:
        bound = f"a number in {'(' if low_open else '['}{low}, {high}]"
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be {bound}, got {value!r}")
    try:
        number = float(value)
    except OverflowError:  # an integer that no float can hold
        number = math.inf
    too_low = number <= low if low_open else number < low
    if not math.isfinite(number) or too_low or (high is not None and number > high):
        raise ValueError(f"{name} must be {bound}, got {value}")
    return number


def boolean(name: str, value: object) -> bool:
    """Return `value` as a bool; 0, 1 and NumPy's booleans are taken for one.

    Raises
    ------
    TypeError
        If `value` is something else.

    Examples
    --------
    >>> boolean("lowercase", "no")
    Traceback (most recent call last):
        ...
    TypeError: lowercase must be True or False, got 'no'
    """
    if getattr(value, "shape", ()) == () and value in (False, True):
        return bool(value)
    raise TypeError(f"{name} must be True or False, got {value!r}")


def choice(name: str, value: T, options: Collection[T]) -> T:
    """Return `value` if it is among `options`.

    Raises
    ------
    ValueError
        If it is not.

    Examples
    --------
    >>> choice("format", "csv", ("glove", "npy"))
    Traceback (most recent call last):
        ...
    ValueError: format must be one of 'glove', 'npy', got 'csv'
    """
    if value not in options:
        raise ValueError(f"{name} must be one of {', '.join(map(repr, options))}, got {value!r}")
    return value
