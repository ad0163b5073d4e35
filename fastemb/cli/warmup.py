"""`fastemb warmup`: compile ahead, so that no later start has to wait."""

import time

from fastemb.cli.console import Console
from fastemb.cli.options import JsonOption, QuietOption

EXAMPLE = "fastemb warmup"


def warmup(json: JsonOption = False, quiet: QuietOption = False) -> None:
    """Compile everything that training needs, once a machine; later starts take it from the cache."""
    console = Console(quiet=quiet, json=json)
    console.say("Compiling for this processor: about 15 seconds the first time, none after that.")
    start = time.perf_counter()
    from fastemb.trainers.word2vec import Word2Vec

    text = [["to", "be", "or", "not", "to", "be"], ["that", "is", "the", "question"]]
    for shared in (True, False):
        model = Word2Vec(text, vector_size=16, min_count=1, sample=0, epochs=1, shared_negatives=shared)
        model.wv.most_similar("be")
    seconds = time.perf_counter() - start
    console.say(f"Ready, after {seconds:.1f} s")
    if json:
        console.result({"seconds": seconds}, "")
