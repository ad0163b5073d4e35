"""Where a model's attributes of other libraries are found here."""

from typing import TYPE_CHECKING, Any

from fastemb.vectors.fasttext_vectors import FastTextKeyedVectors

MOVED = {
    "vocabulary": "wv.key_to_index",
    "iter": "epochs",
    "size": "vector_size",
    "layer1_size": "vector_size",
    "trainables": "syn1neg and syn1",
    "running_training_loss": "get_latest_training_loss()",
}


class Moved:
    """A model that tells where what it has not is found: similar words with its `wv`, and what has another name."""

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            where = MOVED.get(name)
            if where is None and not name.startswith("_") and hasattr(FastTextKeyedVectors, name):
                where = f"wv.{name}"
            if where is not None:
                raise AttributeError(f"{type(self).__name__} has no {name}: see {where}")
            return object.__getattribute__(self, name)  # a property's own error, or Python's
