"""Where every error of the command line ends: one clear line on standard error, and an exit code."""

import contextlib
import io
import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup

TRACEBACK_VARIABLE = "FASTEMB_TRACEBACK"

# What the library raises about a user's data or machine; anything else is a defect of fastemb and is told as one.
_EXPECTED = (
    ValueError,
    LookupError,
    OSError,
    TypeError,
    MemoryError,
    ArithmeticError,
    ImportError,
    EOFError,
    RuntimeError,
)

# Commands of fastText, word2vec.c and GloVe, and what they are here.
ELSEWHERE = {
    "skipgram": "train TEXT -o model.bin --model fasttext",
    "cbow": "train TEXT -o model.bin --model fasttext-cbow",
    "supervised": "classify train TEXT -o model.bin",
    "test": "classify test",
    "test-label": "classify test --labels",
    "predict": "classify predict",
    "predict-prob": "classify predict --probabilities",
    "quantize": "classify quantize",
    "print-word-vectors": "vectors",
    "print-sentence-vectors": "vectors --sentences",
    "print-ngrams": "vectors --ngrams",
    "nn": "neighbors",
    "analogies": "analogy",
    "word2vec": "train",
    "word2phrase": "phrases --scoring word2phrase",
    "distance": "neighbors",
    "word-analogy": "analogy",
    "compute-accuracy": "evaluate --analogies",
    "vocab_count": "cooccur --vocab",
    "glove": "train --model glove",
}


class Interrupted(Exception):
    """Ctrl-C, under a name that typer does not turn into a silent exit."""


class Commands(TyperGroup):
    """A group of commands that reports Ctrl-C as `Interrupted`, and knows other programs' commands."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Return the command that the command line names."""
        if args[0] in ELSEWHERE and args[0] not in self.commands:
            ctx.fail(f"No such command {args[0]!r}: it is `fastemb {ELSEWHERE[args[0]]}`.")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command that the command line names."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Interrupted from None


def run(app: typer.Typer, argv: Sequence[str] | None = None) -> int:
    """Run `app`, whose class is `Commands`, on `argv` and return the exit code; only SystemExit leaves it."""
    _escape_what_cannot_be_printed()
    try:
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            code = typer.main.get_command(app).main(
                args=None if argv is None else list(argv), prog_name="fastemb", standalone_mode=False
            )
        sys.stdout.flush()
    except (KeyboardInterrupt, Interrupted, typer.Abort):
        return _fail("interrupted", 130)
    except BrokenPipeError:
        _drop_standard_output()
        return 1
    except Exception as error:
        return _report(error)
    return int(code or 0)


def _report(error: Exception) -> int:
    usage = getattr(error, "format_message", None)  # typer's errors about the command line itself have it
    if usage is not None:
        told = " ".join(usage().split())
        if not told:  # no arguments: the help has been printed
            return 2
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "fastemb"
        return _fail(f"{told} (see {command} --help)", 2)
    if os.environ.get(TRACEBACK_VARIABLE):
        raise error
    return _fail(describe(error), 1)


def _show_warning(message: Warning | str, *rest: Any, **options: Any) -> None:
    with contextlib.suppress(OSError):
        print(f"fastemb: warning: {' '.join(str(message).split())}", file=sys.stderr)


def describe(error: BaseException) -> str:
    """Return one line that tells a user what went wrong.

    Examples
    --------
    >>> describe(KeyError("'kig' is not in the vocabulary"))
    "'kig' is not in the vocabulary"
    >>> describe(FileNotFoundError(2, "No such file or directory", "text.txt"))
    'text.txt: No such file or directory'
    """
    if not isinstance(error, _EXPECTED):
        what = f"{type(error).__name__}: {' '.join(str(error).split()):.300}"
        return f"a defect of fastemb, please report it: {what} ({TRACEBACK_VARIABLE}=1 in the environment shows where)"
    if isinstance(error, OSError) and error.strerror:
        text = f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror
    elif type(error) is KeyError and error.args:
        text = str(error.args[0])  # its str() is the repr of the message
    else:
        text = str(error)
    if isinstance(error, MemoryError):
        text = f"not enough memory{': ' + text if text else ''}"
    return " ".join(text.split()) or type(error).__name__


def _fail(message: str, code: int) -> int:
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.flush()
    with contextlib.suppress(OSError):
        print(f"fastemb: {message}", file=sys.stderr, flush=True)
    return code


def _escape_what_cannot_be_printed() -> None:
    """Print a word outside the terminal's encoding as an escape rather than fail."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _drop_standard_output() -> None:
    """Send what is still buffered nowhere: the reader of the pipe has left, and Python flushes once more at exit."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
