"""`fastemb warmup`: compile ahead, so that no later start has to wait."""

import time
from typing import TYPE_CHECKING

from fastemb.cli.console import Console
from fastemb.cli.options import JsonOption, QuietOption
from fastemb.cli.progress import compiling

if TYPE_CHECKING:
    from fastemb.trainers.schedule import Progress

EXAMPLE = "fastemb warmup"


def warmup(json: JsonOption = False, quiet: QuietOption = False) -> None:
    """Compile everything that training needs, once a machine; later starts take it from the cache."""
    console = Console(quiet=quiet, json=json)
    watch = _Watch(console)
    start = time.perf_counter()
    from fastemb.trainers.word2vec import Word2Vec

    text = [["to", "be", "or", "not", "to", "be"], ["that", "is", "the", "question"]]
    for shared in (True, False):
        Word2Vec(text, vector_size=16, min_count=1, sample=0, epochs=1, shared_negatives=shared, callbacks=[watch])
    seconds = time.perf_counter() - start
    console.say(f"Ready, after {seconds:.1f} s" if watch.compiled else "Ready: everything was compiled before")
    console.result({"compiled": watch.compiled, "seconds": seconds})


class _Watch:
    """A callback that says when something is compiled."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.compiled = False

    def on_progress(self, model: object, progress: "Progress") -> None:
        if progress.stage == "compiling" and not self.compiled:
            self.compiled = True
            self.console.say(compiling())
