"""Files are replaced as a whole or not at all."""

import io
import os
import resource
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from fastemb.corpus.vocabulary import Vocabulary
from fastemb.formats import Table, files, read, write
from fastemb.formats.files import replacing

NAMES = ["a.safetensors", "a.vec", "a.bin", "a.glove", "a.npy", "a.vec.gz"]


@pytest.fixture
def table() -> Table:
    vectors = np.random.default_rng(0).standard_normal((5000, 20)).astype(np.float32)
    return Table(Vocabulary.from_words([f"word{i}" for i in range(5000)]), vectors)


@pytest.fixture
def small_disk() -> Iterator[None]:
    """Let no file grow beyond 100 kB, as on a disk that is full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("name", NAMES)
def test_full_disk_leaves_the_old_file(tmp_path: Path, table: Table, small_disk: None, name: str) -> None:
    write(tmp_path / name, Table(Vocabulary.from_words(["old"]), np.ones((1, 2), np.float32)))
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(OSError, match="File too large") as raised:
        write(tmp_path / name, table)
    assert raised.value.filename == str(tmp_path / name)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert read(tmp_path / name).words == ["old"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_interrupted_write_leaves_no_debris(
    tmp_path: Path, table: Table, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(self: io.FileIO, data: bytes) -> int:
        raise error

    monkeypatch.setattr(files._FullWriter, "write", fail)
    for name in NAMES:
        with pytest.raises(type(error)):
            write(tmp_path / name, table)
    assert not list(tmp_path.iterdir())


def test_write_that_is_short_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_MOST_WRITTEN", 3)
    with replacing(tmp_path / "a") as file:
        assert file.write(np.arange(20, dtype=np.uint8).data) == 20
    assert (tmp_path / "a").read_bytes() == bytes(range(20))


@pytest.mark.parametrize("name", NAMES)
def test_folder_is_missing(tmp_path: Path, table: Table, name: str) -> None:
    with pytest.raises(FileNotFoundError, match=r"cannot write .*: the folder .*missing' does not exist"):
        write(tmp_path / "missing" / name, table)
    (tmp_path / name).mkdir()
    with pytest.raises(IsADirectoryError, match=r"cannot write .*: it is a folder"):
        write(tmp_path / name, table)


def test_folder_is_read_only(tmp_path: Path, table: Table) -> None:
    tmp_path.chmod(0o555)
    try:
        if os.access(tmp_path, os.W_OK):
            pytest.skip("this user may write anywhere")
        with pytest.raises(PermissionError):
            write(tmp_path / "a.vec", table)
    finally:
        tmp_path.chmod(0o755)


def test_devices_and_pipes_are_not_replaced(tmp_path: Path, table: Table) -> None:
    os.mkfifo(tmp_path / "a.vec")
    with pytest.raises(ValueError, match=r"cannot write .*: it is not a regular file"):
        write(tmp_path / "a.vec", table)
    assert stat.S_ISFIFO((tmp_path / "a.vec").stat().st_mode)


def test_links_are_followed_and_permissions_kept(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "real").chmod(0o640)
    (tmp_path / "link").symlink_to("real")
    with replacing(tmp_path / "link") as file:
        file.write(b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "real").stat().st_mode) == 0o640


def test_new_files_have_the_users_permissions(tmp_path: Path) -> None:
    with open(tmp_path / "plain", "wb"):
        pass
    with replacing(tmp_path / "ours") as file:
        file.write(b"x")
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_name_as_long_as_a_name_can_be(tmp_path: Path, table: Table) -> None:
    write(tmp_path / ("x" * 251 + ".vec"), table)
    assert len(read(tmp_path / ("x" * 251 + ".vec")).words) == 5000


def test_reading_imports_nothing_heavy() -> None:
    code = (
        "import sys, fastemb.formats; print([name for name in ('numba', 'scipy', 'matplotlib') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "[]\n"
