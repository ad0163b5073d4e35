"""Where text may come from, and what is said about text that cannot be read."""

import bz2
import gzip
import io
import lzma
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from fastemb.corpus.reader import read_corpus

TEXT = "the cat\nthe dog and the cat\n" * 2000


def zstd_compress(data):
    zstandard = pytest.importorskip("zstandard", reason="zstandard is not installed")
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


COMPRESSIONS = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstd_compress}


def same(corpus, other):
    assert corpus.vocabulary.words == other.vocabulary.words
    assert np.array_equal(corpus.vocabulary.counts, other.vocabulary.counts)
    assert np.array_equal(corpus.ids, other.ids)
    assert np.array_equal(corpus.offsets, other.offsets)
    assert (corpus.num_words, corpus.num_sentences_read) == (other.num_words, other.num_sentences_read)


@pytest.fixture
def plain(tmp_path):
    path = tmp_path / "text.txt"
    path.write_text(TEXT)
    return read_corpus(path)


# ---- files


@pytest.mark.parametrize("suffix", COMPRESSIONS)
@pytest.mark.parametrize("name", ["text.{}", "no-suffix"])
def test_compressed_files_are_known_by_their_content(tmp_path, plain, suffix, name):
    path = tmp_path / name.format(suffix)
    path.write_bytes(COMPRESSIONS[suffix](TEXT.encode()))
    same(read_corpus(path, workers=2, _block_bytes=1000), plain)


@pytest.mark.parametrize("suffix", COMPRESSIONS)
def test_members_one_after_the_other_are_one_text(tmp_path, plain, suffix):
    compress = COMPRESSIONS[suffix]
    half = TEXT.encode()[: len(TEXT) // 2 + 3]
    path = tmp_path / "text"
    path.write_bytes(compress(half) + compress(b"") + compress(TEXT.encode()[len(half) :]))
    same(read_corpus(path), plain)


def test_zeros_may_pad_a_gzip_file(tmp_path, plain):
    path = tmp_path / "text.gz"
    path.write_bytes(gzip.compress(TEXT.encode()) + bytes(1 << 18))
    same(read_corpus(path), plain)


@pytest.mark.parametrize("suffix", COMPRESSIONS)
@pytest.mark.parametrize("kept", [0.3, 0.999])
def test_a_truncated_compressed_file_is_named(tmp_path, suffix, kept):
    random = np.random.default_rng(1).integers(97, 123, 50_000, dtype=np.uint8)
    random[::7] = 32
    data = COMPRESSIONS[suffix](random.tobytes())
    path = tmp_path / f"text.{suffix}"
    path.write_bytes(data[: int(kept * len(data))])
    with pytest.raises(ValueError, match=rf"text\.{suffix} is cut off: its .* data end too soon"):
        read_corpus(path)


@pytest.mark.parametrize("suffix", COMPRESSIONS)
def test_a_damaged_compressed_file_is_named(tmp_path, suffix):
    random = np.random.default_rng(1).integers(97, 123, 50_000, dtype=np.uint8)
    data = bytearray(COMPRESSIONS[suffix](random.tobytes()))
    data[len(data) // 2 : len(data) // 2 + 50] = bytes(50)
    path = tmp_path / f"text.{suffix}"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=rf"text\.{suffix} is damaged: its .* data are invalid"):
        read_corpus(path, errors="replace")


def test_garbage_after_compressed_data(tmp_path):
    path = tmp_path / "text.gz"
    path.write_bytes(gzip.compress(b"the cat") + b"and the dog, not compressed")
    with pytest.raises(ValueError, match=r"text\.gz is damaged: gzip data are followed by something else"):
        read_corpus(path)


def test_zst_without_its_package_names_the_extra(tmp_path, monkeypatch):
    path = tmp_path / "text.zst"
    path.write_bytes(bytes.fromhex("28b52ffd00000000"))
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(ImportError, match=r"pip install 'fastemb\[zstd\]'"):
        read_corpus(path)


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_a_byte_order_mark_is_skipped(tmp_path, compress):
    path = tmp_path / "text"
    path.write_bytes(compress(b"\xef\xbb\xbfthe cat \xef\xbb\xbfthe\n"))
    assert read_corpus(path, min_count=1).vocabulary.words == ["the", "cat", "\ufeffthe"]
    path.write_bytes(compress(b"\xef\xbb\xbf"))
    with pytest.raises(ValueError, match=r"is empty|holds no words"):
        read_corpus(path)


def test_windows_line_ends(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(b"the cat\r\nthe dog\r\n")
    corpus = read_corpus(path, min_count=1)
    assert corpus.vocabulary.words == ["the", "cat", "dog"] and corpus.offsets.tolist() == [0, 2, 4]


def test_a_folder_is_read_in_the_order_of_paths(tmp_path):
    (tmp_path / "b").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "b" / "2.txt").write_text("three")
    (tmp_path / "b" / "10.txt.gz").write_bytes(gzip.compress(b"two"))
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone ")
    (tmp_path / "c.txt").write_text("four\nfive")
    (tmp_path / "empty").write_text("")
    (tmp_path / ".hidden" / "text").write_text("hidden")
    (tmp_path / "b" / ".hidden").write_text("hidden")
    for block_bytes in (1, 4, 1 << 20):
        corpus = read_corpus(str(tmp_path), min_count=1, _block_bytes=block_bytes, workers=2)
        assert corpus.vocabulary.words == ["one", "two", "three", "four", "five"]
        assert corpus.offsets.tolist() == [0, 1, 2, 3, 4, 5]
        assert corpus.num_sentences_read == 5


def test_an_error_in_a_folder_names_the_file_and_the_byte(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfthe cat")
    (tmp_path / "b.txt").write_bytes(b"the dog\nthe caf\xe9s and more")
    for block_bytes in (1, 13, 1 << 20):
        with pytest.raises(ValueError, match=r"b\.txt: invalid UTF-8 at byte 15: b'caf.xe9s'.*surrogateescape"):
            read_corpus(tmp_path, _block_bytes=block_bytes, workers=2)


def test_folders_without_text(tmp_path):
    with pytest.raises(ValueError, match="holds no files"):
        read_corpus(tmp_path)
    (tmp_path / "empty").write_text("")
    with pytest.raises(ValueError, match="is empty"):
        read_corpus(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"text is empty"),
        (b"\n \n\t\r\n", r"text holds no words, only white space"),
        (b"a b a", r"no word occurs min_count=5 times: .* 2 words, 'a', occurs 2 times; a min_count of at most 2"),
        ("the cat".encode("utf-16"), r"text: looks like UTF-16, not UTF-8 text"),
        ("the cat".encode("utf-16-le"), r"text: looks like a binary file or UTF-16, .* at byte 0"),
        (b"the cat\n\x7fELF\0\1\2 ", r"looks like a binary file or UTF-16, .*: b'.x7fELF.x00.x01.x02' at byte 8"),
        (b"a caf\xe9\n", r"text: invalid UTF-8 at byte 5: b'caf.xe9'; pass errors='surrogateescape' or 'replace'"),
        (b"the " + b"x" * ((1 << 20) + 1), r"text: no white space in the 1,048,576 bytes from byte 4 on"),
        (b"the " + b"x" * (5 << 20), r"text: no white space in the 1,048,576 bytes from byte 4 on"),
    ],
)
def test_text_that_cannot_be_read(tmp_path, content, message):
    path = tmp_path / "text"
    path.write_bytes(content)
    for options in ({}, {"_block_bytes": 64, "workers": 2}):
        with pytest.raises(ValueError, match=message):
            read_corpus(path, **options)


def test_the_longest_word(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(b"x" * (1 << 20) + b" " + b"x" * (1 << 20))
    for block_bytes in (100, 1 << 20, 1 << 24):
        assert read_corpus(path, min_count=2, _block_bytes=block_bytes).vocabulary.counts.tolist() == [2]


def test_threads_read_plain_files_themselves(tmp_path, monkeypatch):
    monkeypatch.setattr("fastemb.corpus.sources._WINDOW_BYTES", 8)
    (tmp_path / "a").write_text("small")
    (tmp_path / "b").write_bytes(
        b"\xef\xbb\xbf" + TEXT.encode() + b"x" * 100 + "\u2003caf\u00e9\n".encode() * 50 + b"end"
    )
    (tmp_path / "c").write_bytes(TEXT.encode() + b" ")
    (tmp_path / "d").write_bytes(b"more\nand more")
    whole = read_corpus(tmp_path, min_count=1, workers=1, _block_bytes=1 << 20)
    assert whole.num_sentences_read == 1 + (4000 + 50 + 1) + 4001 + 2
    for block_bytes in (1, 7, 50, 1000, 30_000):
        for workers in (1, 2, 3):
            same(read_corpus(tmp_path, min_count=1, workers=workers, _block_bytes=block_bytes), whole)


def test_files_are_closed(tmp_path):
    folder = "/proc/self/fd"
    if not os.path.isdir(folder):
        pytest.skip("the system does not list open files")
    path = tmp_path / "text"
    path.write_text(TEXT)
    read_corpus(path, workers=2, _block_bytes=1000)
    assert str(path) not in {os.path.realpath(f"{folder}/{number}") for number in os.listdir(folder)}


@pytest.mark.skipif(not hasattr(os, "preadv"), reason="files are read in order here")
@pytest.mark.parametrize("workers", [1, 2])
def test_a_file_that_becomes_shorter(tmp_path, monkeypatch, workers):
    path = tmp_path / "text"
    path.write_text(TEXT)

    def cut(words, fraction):
        os.truncate(path, 20_000)

    monkeypatch.setattr("fastemb.corpus.reader._PROGRESS_SECONDS", -1)
    with pytest.raises(OSError, match=r"text became shorter .* it had 56,000 bytes and has 20,000 now"):
        read_corpus(path, workers=workers, _block_bytes=1000, progress=cut)


def test_a_file_that_becomes_longer(tmp_path, monkeypatch):
    path = tmp_path / "text"
    path.write_text(TEXT)
    grown = []

    def grow(words, fraction):
        if not grown:
            grown.append(words)
            with path.open("a") as file:
                file.write("new words\n" * 1000)

    monkeypatch.setattr("fastemb.corpus.reader._PROGRESS_SECONDS", -1)
    corpus = read_corpus(path, workers=2, _block_bytes=1000, progress=grow)
    assert corpus.num_sentences_read == 5000


def test_files_that_are_not_there_or_not_readable(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_corpus(tmp_path / "nowhere")
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(FileNotFoundError, match="link"):
        read_corpus(tmp_path)

    def denied(path, *args, **kwargs):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("builtins.open", denied)
    with pytest.raises(PermissionError, match=r"text\.txt"):
        read_corpus("text.txt")


def test_fifty_million_words_on_a_line(tmp_path):
    path = tmp_path / "text"
    line = b"a bc " * 1_000_000
    with path.open("wb") as file:
        for _ in range(25):
            file.write(line)
    corpus = read_corpus(path, workers=2)
    assert corpus.num_words == 50_000_000 and corpus.num_sentences_read == 1
    assert np.array_equal(corpus.offsets, np.arange(0, 50_000_001, 1000))
    assert corpus.ids[:4].tolist() == [0, 1, 0, 1]


# ---- pipes


class Stdin:
    def __init__(self, data):
        self.buffer = io.BytesIO(data)


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
def test_standard_input(monkeypatch, plain, compress):
    monkeypatch.setattr(sys, "stdin", Stdin(compress(TEXT.encode())))
    told = []
    same(read_corpus("-", workers=2, progress=lambda *args: told.append(args)), plain)
    assert told[-1] == (plain.num_words, 1.0)
    monkeypatch.setattr(sys, "stdin", Stdin(b"caf\xe9"))
    with pytest.raises(ValueError, match="standard input: invalid UTF-8 at byte 3"):
        read_corpus("-")
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(ValueError, match="no standard input"):
        read_corpus("-")


def test_a_named_pipe(tmp_path, plain):
    path = tmp_path / "pipe"
    os.mkfifo(path)
    writer = threading.Thread(target=path.write_text, args=(TEXT,))
    writer.start()
    corpus = read_corpus(path)
    writer.join()
    same(corpus, plain)


SLOW_READ = """
import os, signal, sys, threading, time
from fastemb.corpus.reader import read_corpus
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would ignore it
began = []
def interrupt():
    began.append(time.process_time())
    os.kill(os.getpid(), signal.SIGINT)
thread = threading.Timer(0.3, interrupt)
def told(words, fraction):  # before half of the file is read
    if not thread.ident:
        thread.start()
try:
    if sys.argv[1] == "-":
        thread.start()
    read_corpus(sys.argv[1], workers=2, max_memory=0, progress=told, _block_bytes=1000)
except KeyboardInterrupt:
    print(time.process_time() - began[0])
"""


@pytest.mark.parametrize("source", ["-", "file"])
def test_ctrl_c_ends_a_scan_and_leaves_nothing(tmp_path, source):
    """While it waits for a pipe, and in the middle of a large file, which takes many seconds by small blocks."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    path = tmp_path / "text"
    path.write_bytes(b"a b c d e f\n" * 12_000_000 if source == "file" else b"")
    process = subprocess.Popen(
        [sys.executable, "-c", SLOW_READ, "-" if source == "-" else str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=os.environ | {"TMPDIR": str(temporary)},
        text=True,
    )
    with process:
        process.stdin.write("a b c\n")
        process.stdin.flush()
        seconds = process.stdout.read()
    assert process.returncode == 0 and 0 <= float(seconds) < 1  # of the processor's time
    assert os.listdir(temporary) == []


# ---- temporary files


def test_ids_beyond_the_budget_go_to_a_file_that_leaves_nothing(tmp_path, plain, monkeypatch):
    path = tmp_path / "text"
    path.write_text(TEXT)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    for budget in (0, 20_000, "20k"):
        with read_corpus(path, max_memory=budget, workers=2, _block_bytes=1000) as corpus:
            assert isinstance(corpus.ids, np.memmap) and isinstance(corpus.offsets, np.memmap)
            assert corpus.ids.mode == corpus.offsets.mode == "c"
            same(corpus, plain)
            ids = corpus.ids
        assert len(corpus.ids) == 0
        # Whoever still holds the ids may go on using them.
        assert np.array_equal(ids, plain.ids)
    within = read_corpus(path, max_memory="1M")
    assert not isinstance(within.ids, np.memmap)
    assert os.listdir(temporary) == []


FULL_DISK = """
import resource, signal, sys
from fastemb.corpus.reader import read_corpus
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    read_corpus(sys.argv[1], max_memory=0, workers=2, _block_bytes=10_000)
except OSError as error:
    print(error)
"""


def test_a_full_disk(tmp_path):
    path = tmp_path / "text"
    path.write_text(TEXT * 3)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    result = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(path)],
        capture_output=True,
        env=os.environ | {"TMPDIR": str(temporary)},
        text=True,
        check=True,
    )
    assert f"cannot write word numbers to a temporary file in {temporary}" in result.stdout
    assert "set TMPDIR to a folder with room or raise max_memory" in result.stdout
    assert os.listdir(temporary) == []


NO_MEMORY = """
import resource, sys
from fastemb.corpus.reader import read_corpus
limit = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize() + (160 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    read_corpus(sys.argv[1], min_count=1, workers=1)
except MemoryError:
    print("no memory")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc and RLIMIT_AS")
def test_memory_that_runs_out(tmp_path):
    path = tmp_path / "text"
    path.write_text("\n".join(map(str, range(2_000_000))))
    result = subprocess.run([sys.executable, "-c", NO_MEMORY, str(path)], capture_output=True, text=True)
    assert (result.stdout, result.returncode) == ("no memory\n", 0), result.stderr


# ru_maxrss begins with the size of the parent, as which a child starts.
MEMORY = """
import re, sys
from fastemb.corpus.reader import read_corpus
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
before = peak()
corpus = read_corpus(sys.argv[1], workers=2, max_memory=sys.argv[2] if sys.argv[2:] else None)
print(peak() - before, corpus.num_words)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_memory_is_four_bytes_a_word(tmp_path):
    path = tmp_path / "text"
    path.write_bytes(b"some words in a line of text and no more\n" * 2_500_000)

    def peak(*options):
        command = [sys.executable, "-c", MEMORY, str(path), *options]
        kilobytes, words = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
        assert int(words) == 25_000_000
        return int(kilobytes) * 1024

    small = 40 << 20
    # A line end costs four bytes while scanning, and eight in the result.
    assert peak() < 4 * 25_000_000 + 12 * 2_500_000 + small
    assert peak("1M") < small
