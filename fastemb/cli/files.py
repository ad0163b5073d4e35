"""Files named on the command line: vectors to read, and places to write to, checked before any work is done."""

import errno
import os
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from fastemb.vectors.keyed_vectors import KeyedVectors


def load_vectors(path: str, *, errors: str = "strict", limit: int | None = None) -> "KeyedVectors":
    """Read the vectors of the file `path`."""
    from fastemb.vectors.keyed_vectors import KeyedVectors

    return KeyedVectors.load(path, errors=errors, limit=limit)


def check_output(path: str) -> None:
    """Check that a file could be written at `path`, so that a long run does not end in an error.

    Raises
    ------
    OSError
        If `path` is a folder, or its folder is missing or may not be written to.
    """
    folder = os.path.dirname(os.path.abspath(path))
    if os.path.isdir(path):
        raise IsADirectoryError(errno.EISDIR, "is a folder, a file name is needed", path)
    if not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, "the folder to write to does not exist", folder)
    if not os.access(folder, os.W_OK):
        raise PermissionError(errno.EACCES, "the folder may not be written to", folder)


def check_beside(option: str, file: str, text: str) -> None:
    """Check that the file of an option is not the text, nor in the folder of the text.

    Raises
    ------
    typer.BadParameter
    """
    if os.path.exists(file) and os.path.exists(text) and os.path.samefile(file, text):
        raise typer.BadParameter(f"{option} {file} would overwrite the text")
    if os.path.isdir(text) and os.path.realpath(file).startswith(os.path.join(os.path.realpath(text), "")):
        raise typer.BadParameter(f"{option} {file} lies in the folder of the text, and would be read as text next time")


def check_vectors_output(path: str, format: str | None = None) -> None:
    """Check that vectors could be written at `path`: what `check_output` does, and that the name tells a format.

    Raises
    ------
    OSError
        As `check_output`.
    ValueError
        If the suffix tells no format and `format` is not given either.
    """
    from fastemb.formats.registry import format_for

    check_output(path)
    format_for(path, format)
