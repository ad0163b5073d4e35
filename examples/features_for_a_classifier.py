"""Mean word vectors as features of a text: train on the texts themselves, then embed them."""

import numpy as np

from fastemb import Word2Vec

with open("text.txt", encoding="utf-8") as file:
    texts = [line.split() for line in file]

vectors = Word2Vec(texts, vector_size=32, epochs=3).wv


def embed(words: list[str]) -> np.ndarray:
    """Return the mean of the known words' vectors, of length one."""
    known = [word for word in words if word in vectors]
    mean = vectors[known].mean(axis=0) if known else np.zeros(vectors.vector_size)
    return mean / max(float(np.linalg.norm(mean)), 1e-12)


features = np.stack([embed(words) for words in texts])
print(features.shape, features.dtype)
