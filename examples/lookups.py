"""What a lookup is, in the words of three libraries: Keras, Lasagne, and linear algebra."""

import numpy as np

from fastemb import Embedding
from fastemb.functional import one_hot

# Keras' documentation: "turns positive integers into dense vectors, [[4], [20]] -> [[0.25, 0.1], [0.6, -0.2]]".
weight = np.zeros((1000, 2), np.float32)
weight[4], weight[20] = [0.25, 0.1], [0.6, -0.2]
found = Embedding(1000, 2, embeddings_initializer=weight)([[4], [20]])
print(found.reshape(2, 2))
assert found.shape == (2, 1, 2)
assert found.ravel().tolist() == np.float32([0.25, 0.1, 0.6, -0.2]).tolist()

# Lasagne's: EmbeddingLayer(l_in, input_size=3, output_size=5, W=W) of [[0, 2], [1, 2]].
W = np.arange(3 * 5, dtype=np.float32).reshape(3, 5)
found = Embedding(3, 5, W=W)(np.array([[0, 2], [1, 2]], np.int32))
print(found)
assert found.tolist() == [
    [[0, 1, 2, 3, 4], [10, 11, 12, 13, 14]],
    [[5, 6, 7, 8, 9], [10, 11, 12, 13, 14]],
]

# Linear algebra: a lookup is a product with a matrix of ones and zeros, of which all but one row are never read.
indices = np.array([2, 0, 2, 1])
product = one_hot(indices, 3).astype(np.float32) @ W
assert (Embedding(3, 5, W=W)(indices) == product).all()
print(f"one_hot(indices) @ W, {product.shape}, is W[indices]")
