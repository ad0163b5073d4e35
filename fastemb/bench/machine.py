"""What machine a benchmark ran on: processor, caches, versions, and how near its cores are to each other."""

import os
import platform
import statistics
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

NEAR_NANOSECONDS = 160.0
"""Two cores with a shorter round trip are taken to share a cache: 40 to 120 ns where they do, over 250 where not."""

PACKAGES = ("fastemb", "numpy", "numba", "llvmlite", "scipy", "gensim", "fasttext", "torch", "fbgemm_gpu-cpu")


def describe() -> dict[str, Any]:
    """Describe this machine and the packages that are installed.

    Returns
    -------
    dict
        ``date``, ``processor``, ``cores`` (that this process may use), ``memory_bytes``, ``caches`` (one string for
        each level), ``system``, ``python`` and ``versions``.

    Examples
    --------
    >>> from fastemb.bench.machine import describe
    >>> describe()["cores"] >= 1
    True
    """
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "cores": len(usable_cores()),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "caches": _caches(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "versions": {name: version for name in PACKAGES if (version := _version(name))},
    }


def usable_cores() -> list[int]:
    """Return the numbers of the cores that this process may use.

    Examples
    --------
    >>> from fastemb.bench.machine import usable_cores
    >>> len(usable_cores()) >= 1
    True
    """
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def core_round_trip(batches: int = 40, trips: int = 500) -> float | None:
    """Measure how long a cache line takes from one core to another and back.

    Two threads, each pinned to a core of its own, hand a counter to and fro in one cache line. The median of `batches`
    averages is given, of which the slower half, in which something else ran on a core, is left out.

    Returns
    -------
    float or None
        Nanoseconds for a round trip between the first two cores that this process may use. None where there is one
        core only, or where threads cannot be pinned (macOS).

    Examples
    --------
    >>> from fastemb.bench.machine import core_round_trip
    >>> round_trip = core_round_trip(batches=4, trips=50)
    >>> round_trip is None or round_trip > 0
    True
    """
    cores = usable_cores()
    if len(cores) < 2 or not hasattr(os, "sched_setaffinity"):
        return None
    from fastemb.bench.ping_pong import round_trips

    seconds = sorted(s for s in round_trips(cores[0], cores[1], batches, trips) if s > 0)
    return statistics.median(seconds[: len(seconds) // 2 + 1]) * 1e9 if seconds else None


def placement(round_trip: float | None) -> str:
    """Name the placement of two cores from `round_trip` in nanoseconds: ``"near"``, ``"far"`` or ``"unknown"``.

    Examples
    --------
    >>> from fastemb.bench.machine import placement
    >>> placement(60.0), placement(400.0), placement(None)
    ('near', 'far', 'unknown')
    """
    if round_trip is None:
        return "unknown"
    return "near" if round_trip < NEAR_NANOSECONDS else "far"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    if sys.platform == "darwin":
        out = subprocess.run(["sysctl", "-n", "machdep.cpu.brand_string"], capture_output=True, text=True, check=False)
        return out.stdout.strip() or platform.processor()
    wanted = ("model name", "cpu family", "model", "stepping")
    found: dict[str, str] = {}
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in wanted:
                found.setdefault(key.strip(), value.strip())
    except OSError:
        return platform.processor() or platform.machine()
    if "model name" not in found:
        return platform.machine()
    numbers = " ".join(f"{key} {found[key]}" for key in wanted[1:] if key in found)
    return f"{found['model name']} ({numbers})" if numbers else found["model name"]


def _caches() -> list[str]:
    caches = []
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            level, kind, size, shared = (
                (folder / name).read_text(encoding="ascii").strip()
                for name in ("level", "type", "size", "shared_cpu_list")
            )
        except OSError:
            continue
        caches.append(f"L{level} {kind.lower()} {size}, shared by cores {shared}")
    return caches
