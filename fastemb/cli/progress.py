"""Progress of training: bars on a terminal, a line a stage elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fastemb.cli.console import Console, count, short

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

    from fastemb.trainers.schedule import Progress

_LABELS = {"scanning": "Reading", "compiling": "Compiling", "training": "Training"}


class TrainingProgress:
    """A trainer's callback that shows how far it is, and remembers the last thing it heard of each stage.

    Parameters
    ----------
    console : Console
        Where messages go; a quiet one is shown nothing.

    Attributes
    ----------
    model : object or None
        The model in training, from the first tick on.
    last : dict of str to fastemb.trainers.schedule.Progress
        The latest tick of each stage.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.model: Any = None
        self.last: dict[str, Progress] = {}
        self._bars: Bars | None = None
        self._tasks: dict[str, Any] = {}

    @property
    def words_trained(self) -> int:
        """Raw words trained on so far, all epochs together."""
        return self.last["training"].words if "training" in self.last else 0

    @contextmanager
    def shown(self) -> Iterator["TrainingProgress"]:
        """Show progress while the block runs."""
        if self.console.quiet or not sys.stderr.isatty():
            yield self
            return
        self._bars = _bars()
        with self._bars:
            yield self
        self._bars = None

    def on_progress(self, model: Any, progress: "Progress") -> None:
        """Show one tick."""
        new = progress.stage not in self.last
        before = self.last.get(progress.stage, progress)
        self.model = model
        self.last[progress.stage] = progress
        if new and progress.stage == "compiling":
            self.console.say(
                "Compiling for this processor: only the first time, about 15 seconds; what is made is kept in a cache."
            )
        if self._bars is not None:
            self._draw(progress)
        elif progress.stage == "training" and progress.epoch != before.epoch:
            self.console.say(_sentence(before))

    def finish(self) -> None:
        """Say how training ended where there is no bar to show it."""
        if self._bars is None and "training" in self.last and not sys.stderr.isatty():
            self.console.say(_sentence(self.last["training"]))

    def _draw(self, progress: "Progress") -> None:
        assert self._bars is not None
        stage = progress.stage
        if stage not in self._tasks:
            for earlier in self._tasks.values():
                self._bars.stop_task(earlier)
            self._tasks[stage] = self._bars.add_task(_LABELS[stage], total=None, detail="")
        self._bars.update(
            self._tasks[stage],
            total=progress.total_words or None,
            completed=progress.words,
            detail=_detail(progress),
        )


def _detail(progress: "Progress") -> str:
    if progress.stage == "compiling":
        return "first time only"
    parts = []
    if progress.stage == "training":
        parts.append(f"epoch {progress.epoch + 1}/{progress.epochs}")
    parts.append(f"{short(progress.words_per_second)} words/s")
    if progress.loss == progress.loss:
        parts.append(f"loss {progress.loss:.4f}")
    return "  ".join(parts)


def _sentence(progress: "Progress") -> str:
    return (
        f"epoch {progress.epoch + 1} of {progress.epochs}: {count(progress.words)} words,"
        f" {short(progress.words_per_second)} words/s, loss {progress.loss:.4f}"
    )


def _bars() -> "Bars":
    from rich.console import Console as RichConsole
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

    return Progress(
        TextColumn("{task.description:<9}"),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[detail]}"),
        console=RichConsole(stderr=True, highlight=False),
    )
