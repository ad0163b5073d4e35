"""What all tests share: that the fastemb under test is the installed one, and where real data lies."""

import os
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# `python -m pytest` puts the current folder first on the path: its fastemb/ would hide the installed package, and has
# compiled modules only where it is the installed one. Child processes get the same treatment through the variable.
if Path(sys.path[0]).resolve() == ROOT:
    del sys.path[0]
os.environ["PYTHONSAFEPATH"] = "1"


@pytest.fixture(scope="session")
def data() -> Path:
    """Return the folder of real texts, evaluation sets and other programs' files, or skip the test."""
    folder = os.environ.get("FASTEMB_DATA")
    if not folder:
        pytest.skip("FASTEMB_DATA names no folder of real data")
    return Path(folder)
