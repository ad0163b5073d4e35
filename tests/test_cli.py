"""The frame of the command line: help, version, errors, output, and what a start imports."""

import json
import subprocess
import sys

import pytest

from fastemb.cli import app as app_module
from fastemb.cli import errors, main
from fastemb.cli.console import Console, columns, short, to_json, visible

COMMANDS = [
    "analogy",
    "bench",
    "cluster",
    "convert",
    "cooccur",
    "dump",
    "evaluate",
    "info",
    "neighbors",
    "phrases",
    "plot",
    "quickstart",
    "train",
    "vectors",
    "warmup",
]


def imported_after(code):
    """Return the modules that a fresh interpreter holds after `code`."""
    code = f"{code}\nimport sys; print('\\n' + '\\n'.join(sys.modules))"
    lines = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    return set(lines.split("\n"))


def test_import_brings_nothing_heavy():
    modules = imported_after("import fastemb")
    assert "fastemb" in modules
    assert not modules & {"numpy", "numba", "scipy", "matplotlib", "typer", "rich"}


@pytest.mark.parametrize("argv", [["--help"], ["--version"], ["train", "--help"]])
def test_help_brings_nothing_heavy(argv):
    modules = imported_after(f"from fastemb.cli import main; assert main({argv}) == 0")
    assert "typer" in modules
    assert not modules & {"numpy", "numba", "scipy", "matplotlib"}


def test_version(capsys):
    from fastemb import __version__

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"fastemb {__version__}\n"


def test_help_names_every_command(capsys):
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(command in text for command in COMMANDS)
    assert sorted(command.name for command in app_module.app.registered_commands) == sorted(set(COMMANDS) - {"bench"})


@pytest.mark.parametrize(
    "command", [*([name] for name in COMMANDS), ["bench", "training"], ["bench", "layers"]], ids=" ".join
)
def test_every_command_has_help_with_an_example(command, capsys):
    assert main([*command, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"Example: fastemb {command[0]}" in text


def test_no_arguments_prints_help(capsys):
    code = main([])
    captured = capsys.readouterr()
    assert code in (0, 2)
    assert "quickstart" in captured.out + captured.err
    assert "(see" not in captured.err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["nosuch"], "No such command 'nosuch'"),
        (["train"], "Missing argument"),
        (["train", "x", "-o", "y", "--window", "many"], "'--window'"),
        (["info", "--nosuch"], "No such option: --nosuch"),
        (["evaluate", "x"], "nothing to measure"),
    ],
)
def test_a_wrong_command_line_is_one_line_and_code_2(argv, message, capsys):
    assert main(argv) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("fastemb: ")
    assert message in captured.err
    assert "--help)" in captured.err


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (ValueError("window must be an integer in [1, 100], got 0"), "window must be an integer in [1, 100], got 0"),
        (KeyError("no such word"), "no such word"),
        (OSError(28, "No space left on device", "out.txt"), "out.txt: No space left on device"),
        (OSError("plain"), "plain"),
        (MemoryError(), "not enough memory"),
        (FloatingPointError("lower alpha"), "lower alpha"),
        (ModuleNotFoundError("No module named 'zstandard'"), "No module named 'zstandard'"),
        (ValueError("two\nlines"), "two lines"),
        (ValueError(), "ValueError"),
    ],
)
def test_every_error_becomes_one_line(error, line, monkeypatch, capsys):
    monkeypatch.delenv(errors.TRACEBACK_VARIABLE, raising=False)
    assert errors.run(raising(error), ["go"]) == 1
    captured = capsys.readouterr()
    assert captured.err == f"fastemb: {line}\n"


def test_a_defect_is_told_as_one(monkeypatch, capsys):
    monkeypatch.delenv(errors.TRACEBACK_VARIABLE, raising=False)
    assert errors.run(raising(AttributeError("no such attribute")), ["go"]) == 1
    assert "defect of fastemb" in capsys.readouterr().err


def test_developers_get_the_traceback(monkeypatch):
    monkeypatch.setenv(errors.TRACEBACK_VARIABLE, "1")
    with pytest.raises(ValueError, match="here"):
        errors.run(raising(ValueError("here")), ["go"])


def test_interrupt_is_code_130(capsys):
    assert errors.run(raising(KeyboardInterrupt()), ["go"]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_warnings_are_one_line():
    code = "import warnings; from fastemb.cli import errors\nimport typer\napp = typer.Typer(cls=errors.Commands)\n" + (
        "@app.command()\ndef go(): warnings.warn('mind\\nthe gap', RuntimeWarning)\nerrors.run(app, [])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr == "fastemb: warning: mind the gap\n"


def raising(error):
    """Return an application whose only command raises `error`."""
    import typer

    app = typer.Typer(cls=errors.Commands)

    @app.callback()
    def group():
        pass

    @app.command()
    def go():
        raise error

    return app


def test_console_keeps_messages_and_results_apart(capsys):
    console = Console()
    console.say("message")
    console.result({"a": 1}, ["one", "two"])
    Console(quiet=True).say("nothing")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("one\ntwo\n", "message\n")


def test_json_is_json(capsys):
    import numpy as np

    value = {"a": np.float32(0.5), "b": [np.int64(3), True, None], "c": float("nan"), "d": "é", "e": float("inf")}
    Console(json=True).result(value, "text")
    assert json.loads(capsys.readouterr().out) == {"a": 0.5, "b": [3, True, None], "c": None, "d": "é", "e": None}
    assert to_json("a") == '"a"'


def test_columns_align_wide_letters():
    assert columns([["東京", "1"], ["a", "22"]], right=[1]) == ["東京   1", "a     22"]
    assert columns([]) == []


@pytest.mark.parametrize(("number", "text"), [(0, "0"), (999, "999"), (1000, "1 k"), (12_345_678, "12.3 M")])
def test_short_numbers(number, text):
    assert short(number) == text


def test_control_characters_are_shown_not_sent():
    assert visible("a\x1b[2Jb\udc80") == "a\\x1b[2Jb\\udc80"
    assert visible("naïve 東京") == "naïve 東京"
