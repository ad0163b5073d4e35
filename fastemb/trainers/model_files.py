"""The safetensors file of a whole model: what every trainer's says besides its own arrays."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np

import fastemb
from fastemb.formats.files import PathLike
from fastemb.formats.safetensors import read_tensors, write_tensors

__all__ = ["reading_model", "write_model"]


def write_model(path: PathLike, format: str, tensors: Mapping[str, np.ndarray], described: Mapping[str, str]) -> None:
    """Write a model, whole or not at all.

    Parameters
    ----------
    path : path
    format : str
        What kind of model it is, and the version of its layout, such as ``"fastemb.GloVe/1"``.
    tensors : dict of str to array
    described : dict of str to str
        What else is to be known of it.
    """
    write_tensors(path, dict(tensors), {"format": format, "fastemb": fastemb.__version__, **described})


@contextmanager
def reading_model(
    path: PathLike, format: str, what: str, hint: str = "; KeyedVectors.load reads word vectors"
) -> Iterator[tuple[dict[str, np.ndarray], dict[str, str]]]:
    """Read what `write_model` wrote; a fault in making a model of it, inside the ``with`` block, is the file's.

    Parameters
    ----------
    path : path
    format : str
        As it was written.
    what : str
        What errors call such a model, such as ``"GloVe model"``.
    hint : str
        What errors add for other files.

    Yields
    ------
    tensors : dict of str to array
    described : dict of str to str

    Raises
    ------
    ValueError
        If the file is of another format, or something in it is missing or does not fit.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "model.safetensors")
    ...     write_model(path, "fastemb.Toy/1", {"x": np.ones(2)}, {"size": "2"})
    ...     with reading_model(path, "fastemb.Toy/1", "toy") as (tensors, described):
    ...         print(tensors["x"], described["size"])
    [1. 1.] 2
    """
    name = os.fspath(path)
    tensors, described = read_tensors(path)
    if described.get("format") != format:
        raise ValueError(
            f"{name}: not a {what}, which has the format {format!r}, got {described.get('format')!r}{hint}"
        )
    try:
        yield tensors, described
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{name}: a damaged {what} ({error})") from error
