"""What a command prints: results on standard output, messages on standard error."""

import json as _json
import sys
import warnings
from collections.abc import Iterable, Sequence
from typing import Any


class Console:
    """Printer of one command.

    Parameters
    ----------
    quiet : bool
        Print no messages and no warnings. Results and errors are printed all the same.
    json : bool
        Print results as JSON.

    Examples
    --------
    >>> Console(json=True).result({"words": 3}, "3 words")
    {"words": 3}
    >>> Console().result({"words": 3}, "3 words")
    3 words
    """

    def __init__(self, *, quiet: bool = False, json: bool = False) -> None:
        self.quiet = quiet
        if quiet:
            warnings.simplefilter("ignore")
        self.json = json

    def say(self, message: str = "") -> None:
        """Print a message, unless quiet."""
        if not self.quiet:
            print(message, file=sys.stderr, flush=True)

    def result(self, value: Any, text: str | Iterable[str] = ()) -> None:
        """Print `value` as JSON, or `text`, its lines; nothing where there is no text."""
        lines = [to_json(value)] if self.json else [text] if isinstance(text, str) else text
        for line in lines:
            print(line)
        sys.stdout.flush()  # so that results and messages keep their order where they go to one place


def to_json(value: Any) -> str:
    r"""Return `value` as JSON; not-a-number becomes null, and only a UTF-8 output gets letters beyond ASCII.

    Examples
    --------
    >>> to_json({"loss": float("nan")})
    '{"loss": null}'
    """
    ascii_only = (sys.stdout.encoding or "ascii").lower().replace("-", "") != "utf8"
    return _json.dumps(_plain(value), ensure_ascii=ascii_only, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, str | bool | int | None):
        return value
    if hasattr(value, "item"):  # a NumPy scalar
        return _plain(value.item())
    if isinstance(value, float):
        return value if value - value == 0 else None
    return str(value)


def visible(word: str) -> str:
    r"""Return `word` with what a terminal would obey or not show (control characters, stray bytes) as escapes.

    Examples
    --------
    >>> visible("caf\u00e9\x1b[31m")
    'café\\x1b[31m'
    """
    if word.isprintable():
        return word
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in word)


def columns(rows: Iterable[Sequence[str]], right: Sequence[int] = ()) -> list[str]:
    """Return the lines of a table, two spaces between columns; the columns in `right` are aligned at their right end.

    Examples
    --------
    >>> columns([["red", "0.71"], ["purple", "10.70"]], right=[1])
    ['red      0.71', 'purple  10.70']
    """
    from rich.cells import cell_len

    table = [list(row) for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(*table, strict=True)]
    lines = []
    for row in table:
        cells = []
        for number, (cell, width) in enumerate(zip(row, widths, strict=True)):
            space = " " * (width - cell_len(cell))
            cells.append(space + cell if number in right else cell + space)
        lines.append("  ".join(cells).rstrip())
    return lines


def count(number: float) -> str:
    """Return a whole number with its thousands apart.

    Examples
    --------
    >>> count(71290)
    '71,290'
    """
    return f"{number:,.0f}"


def short(number: float) -> str:
    """Return a number in at most five characters.

    Examples
    --------
    >>> short(2_345_678), short(950), short(17_400)
    ('2.35 M', '950', '17.4 k')
    """
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {letter}"
    return f"{number:.0f}"
