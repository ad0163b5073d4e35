"""The command line: one file a command, and nothing heavy imported until a command runs."""

from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code.

    Parameters
    ----------
    argv : sequence of str, optional
        The words after the program's name; default, those of the process.

    Returns
    -------
    int
        0 when all went well, 1 after an error, 2 for a wrong command line, 130 when interrupted.

    Examples
    --------
    >>> main(["--version"])
    fastemb 0.1.0
    0
    """
    from fastemb.cli.app import app
    from fastemb.cli.errors import run

    return run(app, argv)
