"""The files that keep kernels' machine code."""

import os
import subprocess
import sys

import pytest

from fastemb.kernels.cpu.options import MachineCode

MODULE = """
from fastemb.kernels.cpu.options import kernel

@kernel
def double(x):
    return x + x
"""
CALL = "import doubles; print(doubles.double({}), sum(doubles.double.stats.cache_hits.values()))"


def test_two_processes_cannot_take_each_others_code(tmp_path):
    """Numba's own numbers could: both begin with the same empty index."""
    one, other = (MachineCode(str(tmp_path), "kernel") for _ in range(2))
    assert one.load("float32") is other.load("float64") is None
    other.save("float64", "code for float64")
    one.save("float32", "code for float32")
    assert (one.load("float64"), other.load("float32")) == ("code for float64", "code for float32")


@pytest.mark.parametrize("left", [b"", b"\x80", "half"])
def test_a_file_that_was_cut_off_is_none(left, tmp_path):
    files = MachineCode(str(tmp_path), "kernel")
    files.save("key", list(range(1000)))
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:500] if left == "half" else left)
    assert files.load("key") is None
    files.save("key", "anew")
    assert files.load("key") == "anew"


def test_a_file_of_another_key_is_none(tmp_path):
    files = MachineCode(str(tmp_path), "kernel")
    files.save("key", "code")
    (path,) = tmp_path.iterdir()
    path.rename(tmp_path / os.path.basename(files._data_path(files._file_of("other"))))
    assert files.load("other") is None


def test_machine_code_comes_back(tmp_path):
    (tmp_path / "doubles.py").write_text(MODULE)
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    environment = {**os.environ, "FASTEMB_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": path}

    def told(number):
        command = [sys.executable, "-c", CALL.format(number)]
        return subprocess.check_output(command, env=environment, text=True).split()

    assert [told("2"), told("2.5"), told("2")] == [["4", "0"], ["5.0", "0"], ["4", "1"]]
