"""A text classifier in torch, twice: as torch trains it, and with fastemb's table. Same losses, other times.

A text is a bag of its words and of pairs of neighbours, each hashed to a row of a large table (as fastText does); the
mean of the rows goes through a linear layer. The texts are customers' questions with 77 intents (banking77, in the
folder that FASTEMB_DATA names), or else lines of Python's library, to be told by the module that they are from.
"""

import copy
import csv
import os
import random
import sysconfig
import time
import zlib
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

import fastemb
from fastemb.optim import Adagrad
from fastemb.torch import replace_embeddings

BUCKETS, DIM, BATCH, EPOCHS, RATE = 200_000, 64, 256, 3, 0.1
MODULES = ("argparse", "ast", "datetime", "doctest", "inspect", "pathlib", "statistics", "tarfile", "turtle", "typing")


def read_texts():
    """Return texts and their labels."""
    if folder := os.environ.get("FASTEMB_DATA"):
        with (Path(folder) / "classify" / "train.csv").open(encoding="utf-8", newline="") as file:
            return [(row["text"], row["category"]) for row in csv.DictReader(file)]
    library = Path(sysconfig.get_path("stdlib"))
    files = [path for name in MODULES if (path := library / f"{name}.py").is_file()]
    lines = [(line, path.stem) for path in files for line in path.read_text(encoding="utf-8").splitlines()]
    return [(line, name) for line, name in lines if len(line.split()) > 3]


def features(text):
    """Return the rows of a text's words and pairs of neighbours."""
    words = text.lower().split()
    return [zlib.crc32(part.encode()) % BUCKETS for part in [*words, *map("_".join, pairwise(words))]]


def batches(texts):
    """Return the batches of one epoch: indices, offsets and classes."""
    classes = {label: number for number, label in enumerate(sorted({label for _, label in texts}))}
    found = []
    for start in range(0, len(texts), BATCH):
        bags = [features(text) for text, _ in texts[start : start + BATCH]]
        offsets = torch.tensor([0, *map(len, bags[:-1])]).cumsum(0)
        labels = torch.tensor([classes[label] for _, label in texts[start : start + BATCH]])
        found.append((torch.tensor([row for bag in bags for row in bag]), offsets, labels))
    return found, len(classes)


class Classifier(nn.Module):
    """The mean of a text's rows, and a linear layer."""

    def __init__(self, num_classes):
        super().__init__()
        self.words = nn.EmbeddingBag(BUCKETS, DIM, mode="mean", sparse=True)
        nn.init.uniform_(self.words.weight, -1 / DIM, 1 / DIM)
        self.classes = nn.Linear(DIM, num_classes)

    def forward(self, indices, offsets):
        return self.classes(self.words(indices, offsets))


def train(model, optimizer, epoch):
    """Return the loss of each batch, and the seconds that they took; the first one, which compiles, is not timed."""
    losses = []
    for number, (indices, offsets, labels) in enumerate(epoch * EPOCHS):
        if number == 1:
            start = time.perf_counter()
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(indices, offsets), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses), time.perf_counter() - start


torch.manual_seed(0)
torch.set_num_threads(1)  # both sides have one thread, so that the times do not depend on what else is running
fastemb.set_num_threads(1)
torch.sparse.check_sparse_tensor_invariants.disable()  # else torch's Adagrad warns
texts = read_texts()
random.Random(0).shuffle(texts)
epoch, num_classes = batches(texts)
with_torch = Classifier(num_classes)
with_fastemb = copy.deepcopy(with_torch)

losses, seconds = train(with_torch, torch.optim.Adagrad(with_torch.parameters(), lr=RATE), epoch)

# What a user changes: this line. The optimizer below passes over the table, which steps in the backward.
replace_embeddings(with_fastemb, fused_optimizer=Adagrad(lr=RATE, eps=1e-10))
same_losses, our_seconds = train(with_fastemb, torch.optim.Adagrad(with_fastemb.parameters(), lr=RATE), epoch)

torch.testing.assert_close(same_losses, losses, rtol=1e-3, atol=1e-3)
assert losses[-20:].mean() < 0.8 * losses[:20].mean()
print(f"{len(texts)} texts, {num_classes} classes, {len(losses)} batches of {BATCH}; a table of {BUCKETS} x {DIM}")
print(f"loss of the first and of the last 20 batches: {losses[:20].mean():.3f}, {losses[-20:].mean():.3f}")
print(f"torch {seconds:.2f} s, with fastemb {our_seconds:.2f} s: {seconds / our_seconds:.1f} times faster")
