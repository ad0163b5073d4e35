"""Progress of training: bars on a terminal, a line a stage elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from fastemb.cli.console import Console, short

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

    from fastemb.trainers.schedule import Progress

COMPILING = "Compiling for this processor: some seconds, the first time only; what is made is kept in a cache."
COMPILING_AGAIN = "Compiling for this processor: some seconds, each time, as there is no folder for a cache."

# Where there is no bar: a line this often at most in a long stage, and for each epoch unless they are many.
LINE_SECONDS = 30.0
MANY_EPOCHS = 20

_LABELS = {"scanning": "Reading", "counting": "Counting", "compiling": "Compiling", "training": "Training"}


class TrainingProgress:
    """A trainer's callback that shows how far it is, and remembers the last thing it heard of each stage.

    Parameters
    ----------
    console : Console
        Where messages go; a quiet one is shown nothing.

    Attributes
    ----------
    last : dict of str to fastemb.trainers.schedule.Progress
        The latest tick of each stage.
    """

    def __init__(self, console: Console) -> None:
        self.console = console
        self.last: dict[str, Progress] = {}
        self._bars: Bars | None = None
        self._tasks: dict[str, Any] = {}
        self._began = self._told = time.perf_counter()
        self._epochs_done = 0

    @property
    def words_trained(self) -> int:
        """Raw words trained on so far, all epochs together, as the last tick or the last epoch's end told it."""
        if "training" not in self.last:
            return 0
        tick = self.last["training"]
        return max(tick.words, (tick.total_words or 0) * self._epochs_done // tick.epochs)

    @contextmanager
    def shown(self) -> Iterator["TrainingProgress"]:
        """Show progress while the block runs."""
        if self.console.quiet or not sys.stderr.isatty():
            yield self
            return
        bars = _bars()
        if not bars.console.is_interactive:  # a terminal that cannot go back a line
            yield self
            return
        with bars:
            self._bars = bars
            yield self
        self._bars = None

    def on_progress(self, model: Any, progress: "Progress") -> None:
        """Show one tick."""
        if progress.stage not in self.last:
            self._began = time.perf_counter() - progress.seconds
            self._epochs_done = 0
            if progress.stage == "compiling":
                self.console.say(compiling())
        self.last[progress.stage] = progress
        if self._bars is not None:
            self._draw(progress)
        elif time.perf_counter() - self._told > LINE_SECONDS and progress.stage != "compiling":
            self._tell(f"{_LABELS[progress.stage]}: {_share(progress)}{_detail(progress)}")

    def on_epoch_end(self, model: Any) -> None:
        """Say how an epoch went, where there is no bar to show it."""
        tick = self.last["training"]
        self._epochs_done += 1
        many = tick.epochs > MANY_EPOCHS and 1 < self._epochs_done < tick.epochs
        if self._bars is None and not (many and time.perf_counter() - self._told < LINE_SECONDS):
            words = (tick.total_words or 0) * self._epochs_done / tick.epochs
            speed = words / max(time.perf_counter() - self._began, 1e-9)
            self._tell(
                f"Epoch {self._epochs_done} of {tick.epochs}: {short(speed)} {tick.unit}/s, loss {model.losses[-1]:.4f}"
            )

    def _tell(self, line: str) -> None:
        self._told = time.perf_counter()
        self.console.say(line)

    def _draw(self, progress: "Progress") -> None:
        assert self._bars is not None
        stage = progress.stage
        if stage not in self._tasks:
            for earlier in self._tasks.values():
                self._bars.update(earlier, total=1, completed=1)
                self._bars.stop_task(earlier)
            self._tasks[stage] = self._bars.add_task(_LABELS[stage], total=None, detail="")
        self._bars.update(
            self._tasks[stage],
            total=progress.total_words or None,
            completed=progress.words,
            detail=_detail(progress),
        )


def compiling() -> str:
    """Return the sentence that tells of a compilation."""
    from fastemb.engine.backend import has_cache

    return COMPILING if has_cache() else COMPILING_AGAIN


def _share(progress: "Progress") -> str:
    return f"{progress.words / progress.total_words:.0%}  " if progress.total_words else ""


def _detail(progress: "Progress") -> str:
    if progress.stage == "compiling":
        return "some seconds"
    parts = []
    if progress.stage == "training":
        parts.append(f"epoch {progress.epoch + 1}/{progress.epochs}")
    parts.append(f"{short(progress.words_per_second)} {progress.unit}/s")
    if progress.loss == progress.loss:
        parts.append(f"loss {progress.loss:.4f}")
    return "  ".join(parts)


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
