"""gensim's functions for files of Facebook's fastText."""

from fastemb.trainers.fasttext import FastText
from fastemb.trainers.text import PathLike
from fastemb.vectors.fasttext_vectors import FastTextKeyedVectors

__all__ = ["load_facebook_model", "load_facebook_vectors", "save_facebook_model"]


def load_facebook_model(path: PathLike) -> FastText:
    """Read a model of Facebook's program to train it further: ``FastText.load(path)`` under gensim's name.

    Parameters
    ----------
    path : path
        A ``.bin``.

    Raises
    ------
    ValueError
        If the file is no such model, or cannot be trained: a classifier, or quantized.

    Examples
    --------
    See `save_facebook_model`; a file is the same:

    >>> load_facebook_model("model.bin")
    Traceback (most recent call last):
        ...
    FileNotFoundError: [Errno 2] No such file or directory: 'model.bin'
    """
    return FastText.load(path)


def load_facebook_vectors(path: PathLike) -> FastTextKeyedVectors:
    """Read the vectors of a model of Facebook's program: ``FastTextKeyedVectors.load(path)`` under gensim's name.

    Parameters
    ----------
    path : path
        A ``.bin`` or ``.ftz``.

    Raises
    ------
    ValueError
        If the file holds no n-grams.

    Examples
    --------
    >>> load_facebook_vectors("model.bin")
    Traceback (most recent call last):
        ...
    FileNotFoundError: no such file: 'model.bin'
    """
    return FastTextKeyedVectors.load(path, format="fasttext")


def save_facebook_model(model: FastText, path: PathLike) -> None:
    """Write a model as Facebook's program does, whatever the name: ``model.save("x.bin")`` under gensim's name.

    Parameters
    ----------
    model : FastText
        Not of floret's mode.
    path : path

    Examples
    --------
    >>> import pathlib, tempfile
    >>> model = FastText([["to", "be"]] * 5, vector_size=4, bucket=10, epochs=1, sample=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_facebook_model(model, pathlib.Path(folder, "model.bin"))
    ...     load_facebook_model(pathlib.Path(folder, "model.bin")).wv.index_to_key
    ['to', 'be']
    """
    model.save_fasttext(path)
