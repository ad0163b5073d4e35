"""CBOW on one sentence, from scratch: an embedding in, a product out, softmax cross-entropy and Adam.

The classic exercise of word2vec, on fastemb's layers: each word is predicted from its two neighbours. It trains with 20
seeds, says what the loss comes to, and draws the loss of the first into cbow_loss.png.
"""

import statistics

import numpy as np
from matplotlib.figure import Figure

from fastemb import Embedding, EmbeddingBag
from fastemb.layers.initializers import Normal
from fastemb.optim import Adam

TEXT = "You say goodbye and I say hello."
HIDDEN, BATCH, EPOCHS, RATE = 5, 3, 1000, 0.001

words = TEXT.lower().replace(".", " .").split()
vocabulary = list(dict.fromkeys(words))
ids = np.array([vocabulary.index(word) for word in words])
contexts, targets = np.stack([ids[:-2], ids[2:]], axis=1), ids[1:-1]


def train(seed):
    """Return the mean loss of each epoch, and the vectors of the words."""
    generator = np.random.default_rng(seed)
    options = {"embeddings_initializer": Normal(stddev=0.01), "seed": generator, "optimizer": Adam(lr=RATE)}
    words_in = EmbeddingBag(len(vocabulary), HIDDEN, mode="mean", **options)
    words_out = Embedding(HIDDEN, len(vocabulary), **options)  # the product's matrix: all its rows are looked up
    losses = []
    for _ in range(EPOCHS):
        order, epoch = generator.permutation(len(targets)), []
        for batch in np.split(order, len(order) // BATCH):
            hidden, product = words_in(contexts[batch]), words_out(np.arange(HIDDEN))
            scores = hidden @ product
            probabilities = np.exp(scores - scores.max(axis=1, keepdims=True))
            probabilities /= probabilities.sum(axis=1, keepdims=True)
            chosen = np.arange(BATCH), targets[batch]
            epoch.append(-np.log(probabilities[chosen]).mean())
            gradient = probabilities
            gradient[chosen] -= 1
            gradient /= BATCH
            words_out.backward(hidden.T @ gradient)
            words_in.backward(gradient @ product.T)
        losses.append(statistics.fmean(epoch))
    return losses, words_in.weight


runs = [train(seed) for seed in range(20)]
losses, vectors = runs[0]
for word, vector in zip(vocabulary, vectors, strict=True):
    print(f"{word:8}", np.round(vector, 3))

figure = Figure(figsize=(6, 4))
axes = figure.subplots()
axes.plot(losses)
axes.set(xlabel="epoch", ylabel="loss", title=TEXT)
figure.savefig("cbow_loss.png")

first = statistics.fmean(run[0] for run, _ in runs)
late = statistics.median(statistics.fmean(run[880:921]) for run, _ in runs)
print(f"loss of the first epoch {first:.2f}, of epochs 880 to 920 {late:.2f}")
assert abs(first - 1.95) < 0.01
assert late <= 0.85
