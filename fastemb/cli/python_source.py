"""A text that every machine with Python has: the source of the standard library, made into sentences of words."""

import os
import random
import re
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

# Installed packages differ from machine to machine; the library does not.
_NOT_LIBRARY = frozenset({"site-packages", "dist-packages", "__pycache__"})
_LETTERS = bytes(c + 32 if 65 <= c <= 90 else c if 97 <= c <= 122 or c == 10 else 32 for c in range(256))
_INNER_CAPITAL = re.compile(rb"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_BLANK_LINE = re.compile(rb"\n *\n")


def library_files(folder: str | None = None) -> list[Path]:
    """Return the Python files of the standard library, in order.

    Parameters
    ----------
    folder : str, optional
        Where the library is; default, where this interpreter's is.

    Raises
    ------
    FileNotFoundError
        If the folder holds no Python files: some Pythons come without their source.
    """
    folder = folder or sysconfig.get_paths()["stdlib"]
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _NOT_LIBRARY)
        found += [Path(place, name) for name in sorted(names) if name.endswith(".py")]
    if not found:
        raise FileNotFoundError(
            f"no Python source in {folder}: this Python comes without it. Train on a text of your own:"
            " fastemb train text.txt -o vectors.safetensors"
        )
    return found


def sentences(source: bytes) -> Iterator[bytes]:
    r"""Split a Python file into sentences of lowercase words, separated by single spaces.

    A sentence is what stands between two blank lines: a function or a paragraph, whose words belong together more
    than those of a line. Names are split at underscores and inner capitals; digits, signs and single letters, which
    are mostly names of variables, are dropped.

    Parameters
    ----------
    source : bytes
        The text of the file, in any encoding that contains ASCII.

    Examples
    --------
    >>> list(sentences(b'class HTTPServer:\n    "Serve_on x, y."\n\n\n\ndef isReady(): pass'))
    [b'class http server serve on', b'def is ready pass']
    """
    text = _INNER_CAPITAL.sub(b" ", source).translate(_LETTERS)
    for paragraph in _BLANK_LINE.split(text):
        words = [word for word in paragraph.split() if len(word) > 1]
        if words:
            yield b" ".join(words)


def corpus(files: Iterable[Path]) -> list[bytes]:
    """Return the sentences of all `files`, each once, in an order drawn at random but always the same.

    In the files' own order neighbouring sentences are nearly copies of each other (tests above all): training sees
    them one after the other, and its loss tells how well it knows the file it is in rather than what it has learned.
    A file that cannot be read is left out.
    """
    found: dict[bytes, None] = {}
    for path in files:
        try:
            source = path.read_bytes()
        except OSError:
            continue
        found |= dict.fromkeys(sentences(source))
    result = list(found)
    random.Random(1).shuffle(result)
    return result
