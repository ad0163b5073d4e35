"""The safetensors format: read as a memory map behind a checked header, written one tensor after another.

The file is a little-endian uint64 header length, a JSON header that gives each tensor's dtype, shape and place, and the
tensors' bytes without holes. The `safetensors` package reads what is written here, and the other way around.
"""

import json
import math
import mmap
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fastemb.corpus.vocabulary import Vocabulary
from fastemb.formats import subword_tensors
from fastemb.formats.compact import CompactVectors
from fastemb.formats.files import PathLike, replacing, require_file, write_array
from fastemb.formats.subwords import SubwordTable
from fastemb.formats.table import Table, as_float32
from fastemb.formats.words import decoded

_DTYPES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "|u1",
    "BF16": "<u2",
}  # fmt: skip
_NAMES = {np.dtype(code).newbyteorder("="): name for name, code in _DTYPES.items() if name != "BF16"}
# How a compact table is told, and what else is known about words.
_KIND, _SIZE, _ATTRIBUTE = "fastemb.kind", "fastemb.vector_size", "attribute."
# What the safetensors package allows; a header is read whole, so a lie about its length must not cost memory.
_MAX_HEADER = 100_000_000
# The data start at a multiple of a cache line; the header is padded with spaces, which JSON ignores.
_ALIGNMENT = 64


def write_tensors(
    path: PathLike, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, str], bfloat16: Collection[str] = ()
) -> None:
    """Write arrays and text to a safetensors file, without a copy of any contiguous array.

    Parameters
    ----------
    path : str or PathLike
        The file; replaced as a whole when all is written, left as it was when anything fails.
    tensors : mapping of str to array
        Arrays of float16, float32, float64 or an integer dtype, of any shape.
    metadata : mapping of str to str
        Text kept in the header.
    bfloat16 : collection of str
        Names of uint16 arrays that hold the bits of bfloat16.

    Raises
    ------
    TypeError
        If a name or the metadata are not text, or a dtype cannot be stored.
    ValueError
        If a tensor is called ``__metadata__``.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_tensors(folder + "/a.safetensors", {"x": np.arange(3)}, {"made by": "me"})
    ...     tensors, metadata = read_tensors(folder + "/a.safetensors")
    >>> tensors["x"], metadata
    (array([0, 1, 2]), {'made by': 'me'})
    """
    header: dict[str, Any] = {}
    if metadata:
        header["__metadata__"] = _checked_metadata(metadata)
    arrays = {name: np.asarray(value) for name, value in tensors.items()}
    # Wide items first, so that every tensor is aligned to its items.
    order = sorted(arrays, key=lambda name: -arrays[name].dtype.itemsize)
    start = 0
    for name in order:
        header[name] = _entry(name, arrays[name], start) | ({"dtype": "BF16"} if name in bfloat16 else {})
        start += arrays[name].nbytes
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-(8 + len(text)) % _ALIGNMENT)
    with replacing(path) as file:
        file.write(len(text).to_bytes(8, "little"))
        file.write(text)
        for name in order:
            write_array(file, arrays[name])


def _checked_metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    for key, value in metadata.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise TypeError(f"metadata must map str to str, got {key!r}: {value!r}")
    return dict(metadata)


def _entry(name: str, array: np.ndarray, start: int) -> dict[str, Any]:
    if not isinstance(name, str):
        raise TypeError(f"a tensor's name must be a str, got {name!r}")
    if name == "__metadata__":
        raise ValueError("a tensor cannot be called '__metadata__'")
    code = _NAMES.get(array.dtype.newbyteorder("="))
    if code is None:
        raise TypeError(f"tensor {name!r} has dtype {array.dtype}, must be one of {', '.join(map(str, _NAMES))}")
    return {"dtype": code, "shape": list(array.shape), "data_offsets": [start, start + array.nbytes]}


def read_tensors(path: PathLike) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Open a safetensors file: every tensor is a read-only view of one memory map.

    Parameters
    ----------
    path : str or PathLike
        The file. The whole header is checked before anything is looked at, so no view reaches outside the file.

    Returns
    -------
    tensors : dict of str to array
        Read-only arrays, which touch the disk when they are looked at; of bfloat16 the bits, as uint16.
    metadata : dict of str to str
        The header's text; empty where there is none.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not a valid safetensors file; the message says what is wrong.
    """
    found = require_file(path)
    with open(found, "rb") as file:
        view = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    header, data = _read_header(found, view)
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _bad(found, "its __metadata__ must map text to text")
    plan = [_checked_entry(found, name, entry) for name, entry in header.items()]
    _check_layout(found, plan, len(view) - data)
    tensors = {}
    for name, dtype, shape, begin, _ in plan:
        try:
            flat = np.frombuffer(view, dtype, math.prod(shape), data + begin if math.prod(shape) else 0)
            tensors[name] = flat.reshape(shape)
        except (ValueError, OverflowError) as error:
            raise _bad(found, f"tensor {name!r} has an impossible shape {shape}: {error}") from error
    return tensors, metadata


def _bad(path: Path, what: str) -> ValueError:
    return ValueError(f"{str(path)!r} is not a valid safetensors file: {what}")


def _read_header(path: Path, view: mmap.mmap) -> tuple[dict[str, Any], int]:
    """Return the header and where the data start."""
    if len(view) < 8:
        raise _bad(path, f"it has {len(view)} bytes, too few for a header")
    length = int.from_bytes(view[:8], "little")
    if length > min(len(view) - 8, _MAX_HEADER):
        raise _bad(path, f"it claims a header of {length} bytes, and {len(view) - 8} bytes follow")
    try:
        header = json.loads(view[8 : 8 + length].decode(), object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError) as error:
        raise _bad(path, f"its header cannot be read: {error}") from error
    if not isinstance(header, dict):
        raise _bad(path, "its header is not a JSON object")
    return header, 8 + length


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise ValueError("a name is in the header twice")
    return result


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 63


def _is_counts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_count, value))


def _checked_entry(path: Path, name: str, entry: Any) -> tuple[str, np.dtype, tuple[int, ...], int, int]:
    """Return a tensor's name, dtype, shape, first and last byte (exclusive)."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise _bad(path, f"tensor {name!r} must have dtype, shape and data_offsets, got {entry!r:.200}")
    code, shape, place = entry["dtype"], entry["shape"], entry["data_offsets"]
    if not isinstance(code, str) or code not in _DTYPES:
        raise _bad(path, f"tensor {name!r} has dtype {code!r:.80}, must be one of {', '.join(_DTYPES)}")
    if not _is_counts(shape) or len(shape) > 32:
        raise _bad(path, f"tensor {name!r} has shape {shape!r:.200}")
    if not _is_counts(place) or len(place) != 2 or place[0] > place[1]:
        raise _bad(path, f"tensor {name!r} has data_offsets {place!r:.200}")
    dtype = np.dtype(_DTYPES[code])
    needed = math.prod(shape) * dtype.itemsize
    if needed != place[1] - place[0]:
        raise _bad(path, f"tensor {name!r} needs {needed} bytes and has {place[1] - place[0]}")
    return name, dtype, tuple(shape), place[0], place[1]


def _check_layout(path: Path, plan: list[tuple[str, np.dtype, tuple[int, ...], int, int]], size: int) -> None:
    """Check that the tensors follow each other without overlap or hole and end where the file ends."""
    end = 0
    for name, _, _, begin, stop in sorted(plan, key=lambda entry: entry[3:]):
        if begin != end:
            raise _bad(path, f"tensor {name!r} begins at byte {begin} of the data, must begin at {end}")
        end = stop
    if end != size:
        raise _bad(path, f"its tensors need {end} bytes of data and it has {size}; is it truncated?")


def read_table(path: PathLike, errors: str = "strict", limit: int | None = None) -> Table:
    """Open the words, vectors and counts of a safetensors file, a whole model's file included.

    Parameters
    ----------
    path : str or PathLike
        A file with the tensors ``vectors`` (num_words, vector_size), ``words`` (uint8, all words' bytes) and
        ``words_offsets`` (int64, num_words + 1), and maybe ``counts`` (int64, num_words) and, of the words'
        attributes, ``attribute.NAME`` (num_words, any). What `CompactVectors` stores is there as ``codes`` (uint8), or
        as ``vectors`` of short floats, and the metadata tell which.
    errors : str
        What to do with words that are not UTF-8, see `fastemb.formats.read`.
    limit : int, optional
        Give only this many words, the first ones.

    Returns
    -------
    Table
        Its vectors are a read-only memory map, or a copy if they are floats that are neither float32 nor compact. A
        `SubwordTable` where the file has rows of n-grams.

    Raises
    ------
    ValueError
        If the file is not valid or has no such tensors; the message says what is wrong.
    """
    found = Path(path)
    tensors, metadata = read_tensors(found)
    missing = [name for name in ("words", "words_offsets") if name not in tensors]
    missing += ["vectors"] if not {"vectors", "codes"} & set(tensors) else []
    if missing:
        raise ValueError(f"{str(found)!r} has no tensor {missing[0]!r}, only {', '.join(sorted(tensors)) or 'none'}")
    vectors, packed, offsets = _read_vectors(found, tensors, metadata), tensors["words"], tensors["words_offsets"]
    if packed.dtype != np.uint8 or packed.ndim != 1:
        raise _bad(found, f"'words' must be uint8 of one dimension, got {packed.dtype} of shape {packed.shape}")
    num_words = len(vectors)
    if offsets.dtype != np.int64 or offsets.shape != (num_words + 1,):
        raise _bad(
            found,
            f"'words_offsets' must be int64 of shape ({num_words + 1},), got {offsets.dtype} of shape {offsets.shape}",
        )
    counts = tensors.get("counts")
    if counts is not None and (counts.dtype != np.int64 or counts.shape != (num_words,)):
        raise _bad(found, f"'counts' must be int64 of shape ({num_words},), got {counts.dtype} of shape {counts.shape}")
    try:
        words = Vocabulary(packed, offsets, counts)
    except ValueError as error:
        raise _bad(found, f"its words' {error}") from error
    stop = num_words if limit is None else min(limit, num_words)
    attributes = {name.removeprefix(_ATTRIBUTE): tensors[name] for name in tensors if name.startswith(_ATTRIBUTE)}
    for name, array in attributes.items():
        if array.shape[:1] != (num_words,):
            raise _bad(found, f"attribute {name!r:.80} must have {num_words} values, got shape {array.shape}")
    text = {key: value for key, value in metadata.items() if key not in (_KIND, _SIZE, subword_tensors.KEY)}
    rows = vectors.take(slice(stop)) if isinstance(vectors, CompactVectors) else as_float32(vectors[:stop])
    kept = {name: array[:stop] for name, array in attributes.items()}
    table = Table(decoded(words.first(stop), errors), rows, text, kept)
    if subword_tensors.KEY not in metadata:
        return table
    try:
        return subword_tensors.of_tensors(tensors, metadata[subword_tensors.KEY], table, num_words)
    except ValueError as error:
        raise _bad(found, str(error)) from error


def _read_vectors(path: Path, tensors: dict[str, np.ndarray], metadata: dict[str, str]) -> Any:
    """Return a table of floats, or a compact one."""
    stored = tensors["codes"] if "vectors" not in tensors else tensors["vectors"]
    kind = metadata.get(_KIND, "bfloat16" if stored.dtype == np.uint16 else None)
    if kind is None:
        if stored.ndim != 2 or stored.dtype.kind != "f":
            raise _bad(path, f"'vectors' must be a table of floats, got {stored.dtype} of shape {stored.shape}")
        return stored
    size = metadata.get(_SIZE, str(stored.shape[-1]) if stored.ndim else "")
    if not (size.isascii() and size.isdigit() and len(size) < 10):
        raise _bad(path, f"its {_SIZE} must be a number, got {size!r:.80}")
    try:
        return CompactVectors(stored, kind, int(size))
    except ValueError as error:
        raise _bad(path, str(error)) from error


def write_table(path: PathLike, table: Table) -> None:
    """Write words, vectors, counts and attributes as tensors that `read_table` opens."""
    words, vectors, metadata = table.vocabulary, table.vectors, dict(table.metadata)
    tensors = {"words": words.packed, "words_offsets": words.offsets}
    if isinstance(vectors, CompactVectors):
        tensors["codes" if vectors.kind in ("int8", "int4") else "vectors"] = vectors.stored
        metadata |= {_KIND: vectors.kind, _SIZE: str(vectors.shape[1])}
    else:
        tensors["vectors"] = vectors
    if words.counts is not None:
        tensors["counts"] = words.counts
    kept = {name: array for name, array in table.attributes.items() if array.dtype.newbyteorder("=") in _NAMES}
    tensors |= {_ATTRIBUTE + name: array for name, array in kept.items()}
    if isinstance(table, SubwordTable):
        parts, metadata[subword_tensors.KEY] = subword_tensors.as_tensors(table)
        tensors |= parts
    is_bfloat16 = isinstance(vectors, CompactVectors) and vectors.kind == "bfloat16"
    write_tensors(path, tensors, metadata, ("vectors",) if is_bfloat16 else ())
