"""What every kind of measurement is given."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from fastemb.bench.layers.cases import Case, Inputs

PEERS = ("torch", "fbgemm")
SPARE_BYTES = 2_000_000_000


@dataclass
class Setup:
    """Peers, inputs, and what could not be measured.

    Attributes
    ----------
    peers
        Of ``"torch"`` and ``"fbgemm"``.
    quick
        Whether one small case of each variant is enough.
    log
        Called with a line for each case.
    threads
        Of each side.

    Examples
    --------
    >>> from fastemb.bench.layers.setup import Setup
    >>> Setup().peers
    ('torch', 'fbgemm')
    """

    peers: tuple[str, ...] = PEERS
    quick: bool = False
    log: Callable[[str], None] = print
    threads: int = 2
    inputs: Inputs = field(default_factory=Inputs)
    skipped: list[str] = field(default_factory=list)

    def has_room(self, case: Case, needed: int) -> bool:
        """Return whether `needed` bytes are free, and note the case where they are not."""
        if needed + SPARE_BYTES <= available_bytes():
            return True
        self.skipped.append(f"{case}: needs {needed / 1e9:.1f} GB of memory")
        self.log(f"left out {self.skipped[-1]}")
        return False


def available_bytes() -> int:
    """Return how much memory programs can still take.

    Examples
    --------
    >>> from fastemb.bench.layers.setup import available_bytes
    >>> available_bytes() > 0
    True
    """
    try:
        for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
