"""One program of a benchmark in a process of its own: how long it took, how much memory, what it wrote."""

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

PYTHON = (sys.executable, "-P")
"""This Python, without the current folder on its path: a checkout's fastemb/ would hide the installed one."""

SAMPLE_SECONDS = 0.02
_FIELD = re.compile(rb"^(VmHWM|RssAnon|RssShmem):\s+(\d+) kB", re.MULTILINE)


@dataclass
class Outcome:
    """What became of a process.

    Attributes
    ----------
    started, seconds
        When it began (`time.monotonic`) and how long it took, starting and ending included.
    processor_seconds
        What it used of all cores together.
    peak_bytes
        The most memory that it had, mapped files included.
    peak_anonymous_bytes
        The most memory that was its own: without the pages of files, which the system takes back at need. Zero where
        the system does not tell (macOS).
    stderr
        What it wrote to standard error, each piece with the time at which it came.

    Examples
    --------
    >>> from fastemb.bench.process import Outcome
    >>> Outcome(started=0.0, stderr=[(1.5, b"read")]).time_of(b"read")
    1.5
    """

    started: float
    seconds: float = 0.0
    processor_seconds: float = 0.0
    peak_bytes: int = 0
    peak_anonymous_bytes: int = 0
    stdout: str = ""
    stderr: list[tuple[float, bytes]] = field(default_factory=list)

    def time_of(self, text: bytes) -> float:
        """Return when `text` came on standard error.

        Raises
        ------
        ValueError
            If it did not.

        Examples
        --------
        >>> from fastemb.bench.process import Outcome
        >>> Outcome(started=0.0).time_of(b"read")
        Traceback (most recent call last):
            ...
        ValueError: standard error must hold b'read', got b''
        """
        seen = b""
        for moment, piece in self.stderr:
            seen += piece
            if text in seen:
                return moment
        raise ValueError(f"standard error must hold {text!r}, got {seen[-200:]!r}")


def run_process(command: Sequence[str], env: Mapping[str, str] | None = None) -> Outcome:
    r"""Run `command` to its end.

    Parameters
    ----------
    command
        The program and its arguments.
    env
        Variables to set besides those of this process.

    Raises
    ------
    RuntimeError
        If it ends with another exit code than zero; the message holds what it wrote last.

    Examples
    --------
    >>> import sys
    >>> from fastemb.bench.process import run_process
    >>> run_process([sys.executable, "-c", "print(6 * 7)"]).stdout
    '42\n'
    """
    outcome = Outcome(started=time.monotonic())
    process = subprocess.Popen(
        command, env={**os.environ, **(env or {})}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    pieces: list[bytes] = []
    watchers = [
        threading.Thread(target=_read_stdout, args=(process, pieces)),
        threading.Thread(target=_read_stderr, args=(process, outcome)),
        threading.Thread(target=_watch_memory, args=(process, outcome)),
    ]
    for watcher in watchers:
        watcher.start()
    try:
        _, status, usage = os.wait4(process.pid, 0)  # says what it used; and Popen.wait with a time-out would poll
    except BaseException:
        process.kill()
        raise
    outcome.seconds = time.monotonic() - outcome.started
    outcome.processor_seconds = usage.ru_utime + usage.ru_stime
    process.returncode = os.waitstatus_to_exitcode(status)
    for watcher in watchers:
        watcher.join()
    if not outcome.peak_bytes:
        outcome.peak_bytes = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    outcome.stdout = b"".join(pieces).decode(errors="replace")
    if process.returncode:
        tail = b"".join(piece for _, piece in outcome.stderr)[-2000:].decode(errors="replace")
        raise RuntimeError(f"{' '.join(command[:4])} must end with exit code 0, got {process.returncode}: {tail}")
    return outcome


def _read_stdout(process: subprocess.Popen[bytes], pieces: list[bytes]) -> None:
    assert process.stdout is not None
    with process.stdout as stream:
        pieces.append(stream.read())


def _read_stderr(process: subprocess.Popen[bytes], outcome: Outcome) -> None:
    assert process.stderr is not None
    with process.stderr as stream:
        while piece := os.read(stream.fileno(), 65536):
            outcome.stderr.append((time.monotonic(), piece))


def _watch_memory(process: subprocess.Popen[bytes], outcome: Outcome) -> None:
    """Look at the process' memory until it ends: a child's ru_maxrss begins at its parent's size, so it is not used."""
    status = Path(f"/proc/{process.pid}/status")
    while process.returncode is None:
        try:
            found = {name: int(kilobytes) * 1024 for name, kilobytes in _FIELD.findall(status.read_bytes())}
        except OSError:
            return
        outcome.peak_bytes = max(outcome.peak_bytes, found.get(b"VmHWM", 0))
        own = found.get(b"RssAnon", 0) + found.get(b"RssShmem", 0)
        outcome.peak_anonymous_bytes = max(outcome.peak_anonymous_bytes, own)
        time.sleep(SAMPLE_SECONDS)
