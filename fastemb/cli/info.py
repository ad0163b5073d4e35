"""`fastemb info`: what is in a file of vectors, or how fastemb is set up on this machine."""

import os
import platform
import sys
from importlib import metadata
from typing import Annotated, Any

import typer

from fastemb import __version__
from fastemb.cli.console import Console, columns, count, visible
from fastemb.cli.options import Errors, ErrorsOption, JsonOption, QuietOption

EXAMPLE = "fastemb info vectors.safetensors"

_PACKAGES = (
    "numpy", "numba", "numba-cuda", "llvmlite", "scipy", "matplotlib", "typer", "rich", "zstandard",
    "ml_dtypes", "pyarrow", "torch", "keras", "POT", "usearch", "faiss-cpu", "plotly",
)  # fmt: skip


def info(
    vectors: Annotated[
        str | None,
        typer.Argument(metavar="[VECTORS]", help="File of vectors; without it, versions, cores and folders are told."),
    ] = None,
    errors: ErrorsOption = Errors.STRICT,
    check_gpu: Annotated[
        bool, typer.Option("--check-gpu", help="Compute the same on the GPU and on the CPU, and tell what differs.")
    ] = False,
    json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Tell what is in a file of vectors, or how fastemb is set up on this machine."""
    console = Console(quiet=quiet, json=json)
    if check_gpu:
        _check_gpu(console)
        return
    value = _machine() if vectors is None else _file(vectors, errors.value)
    console.result(value, columns([key.replace("_", " "), _text(item)] for key, item in value.items()))


def _check_gpu(console: Console) -> None:
    from fastemb.bench.gpu_check import check
    from fastemb.engine.backend import gpu_name

    found = check(log=console.say)
    wrong = [name for name, told in found.items() if told != "ok"]
    told = f"{gpu_name()}: {len(wrong)} of {len(found)} cases differ" if wrong else f"{gpu_name()}: as on the CPU"
    console.result({"gpu": gpu_name(), "cases": found}, [told])
    if wrong:
        raise typer.Exit(1)


def _file(path: str, errors: str) -> dict[str, Any]:
    from fastemb.formats import registry
    from fastemb.formats.subwords import SubwordTable

    table = registry.read(path, errors=errors)
    value = {
        "file": path,
        "format": registry.detect(path),
        "bytes": os.path.getsize(path),
        "words": len(table.vocabulary),
        "vector_size": table.vector_size,
        "dtype": "float32"
        if isinstance(table, SubwordTable)
        else getattr(table.vectors, "kind", str(table.vectors.dtype)),
        "first_words": [word.decode("utf-8", "surrogateescape") for word in table.vocabulary.as_bytes(0, 10)],
        "total_count": None if table.counts is None else int(table.counts.sum()),
    }
    if isinstance(table, SubwordTable):  # whose vectors are not computed for this
        told = table.subwords
        value |= {"min_n": told.min_n, "max_n": told.max_n, "bucket": told.bucket, "ngram_rows": told.num_rows}
        value |= {"hash_count": told.hash_count}
        if table.origin is not None:
            value |= {"model": vars(table.origin.arguments)}
    return value | {"metadata": dict(table.metadata)}


def _machine() -> dict[str, Any]:
    from fastemb.engine.backend import gpu_name, kernels
    from fastemb.engine.parallel import get_num_threads

    cache = kernels("cpu", "options").cache_folder()
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "fastemb": __version__,
        "python": f"{platform.python_version()} ({sys.executable})",
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "threads": get_num_threads(),
        "installed_in": os.path.dirname(os.path.dirname(os.path.abspath(__file__))),
        "cache_folder": None if cache is None else str(cache),
        "gpu": gpu_name(),
        **versions,
    }


def _text(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(visible(str(item)) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{visible(str(key))}={visible(str(item))}" for key, item in value.items()) or "none"
    if value is None:
        return "none"
    return count(value) if isinstance(value, int) else visible(str(value))
