"""GloVe's text: a row a word and no header. Tokens may hold spaces, so numbers are counted from the right."""

from collections import Counter
from typing import BinaryIO

from fastemb.formats.files import PathLike, reading
from fastemb.formats.rows import count_lines, is_number, parse_rows, write_rows
from fastemb.formats.table import Table, finished

SAMPLE = 1 << 20
_SAMPLE_LINES = 100
_BLOCK = 1 << 12


def read_text(path: PathLike, errors: str = "strict", limit: int | None = None) -> Table:
    """Read text without a header; parameters as in `fastemb.formats.word2vec.read_text`.

    Raises
    ------
    ValueError
        If the file is not such a file; the message names the line.
    """
    with reading(path) as (file, _):
        dim = vector_size(file.read(SAMPLE))
        if dim is None:
            raise ValueError(f"{str(path)!r}, line 1: must be a word and its numbers")
        file.seek(0)
        num_rows = count_lines(file, limit)
        file.seek(0)
        num_rows = num_rows if limit is None else min(num_rows, limit)
        collector, vectors, _ = parse_rows(path, file, dim, num_rows, first_line=1)
    return finished(collector, vectors, errors, repr(str(path)))


def vector_size(sample: bytes) -> int | None:
    r"""Return how many numbers most of a sample's rows end with, or None where there is no such row.

    Examples
    --------
    >>> vector_size(b". . . 0.1 0.2\nthe 0.3 0.4\n95 0.5 0.6\n")
    2
    """
    lines = sample.split(b"\n")
    if len(lines) > 1 and len(sample) >= SAMPLE:
        lines.pop()  # cut
    sizes: Counter[int] = Counter()
    for line in lines[:_SAMPLE_LINES]:
        fields = line.rstrip().replace(b"\t", b" ").split(b" ")
        numbers = 0
        for field in reversed(fields[1:]):
            if not is_number(field):
                break
            numbers += 1
        if numbers:
            sizes[numbers] += 1
    return min(sizes, key=lambda size: (-sizes[size], size)) if sizes else None


def write_text(file: BinaryIO, table: Table) -> None:
    """Write text without a header to an open file.

    Raises
    ------
    ValueError
        If a word could not be read back: it holds a newline, or ends with a space and a number, or makes the first row
        look like word2vec's header.
    """
    if table.vectors.shape[1] == 1 and next(iter(table.vocabulary.as_bytes(0, 1)), b"").isdigit():
        raise ValueError(
            "a first row of one whole number and one value is word2vec's header, so GloVe text cannot store it; "
            "safetensors and npy can"
        )
    for start in range(0, len(table.vocabulary), _BLOCK):
        for row, word in enumerate(table.vocabulary.as_bytes(start, start + _BLOCK)):
            if b" " in word and is_number(word.rsplit(b" ", 1)[1]):
                raise ValueError(
                    f"word {start + row}, {word.decode('utf-8', 'backslashreplace')!r:.80}, ends with a space and a "
                    "number, which GloVe text cannot store; safetensors and npy can"
                )
    write_rows(file, table, (b"\n",), "GloVe text")
