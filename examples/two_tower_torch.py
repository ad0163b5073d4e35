"""A two-tower recommender in torch, twice: as torch trains it, and with fastemb's tables. Same losses, other times.

One tower makes a vector of what a user has seen, the other of an item; their product says how well the item goes with
the user, and the other items of a batch stand for what does not. Users are readers of a text: they have seen the last
fifty words, and the next word is what they take. The text is the first million words of Wikipedia (text8-prefix, in the
folder that FASTEMB_DATA names), or else Python's library.
"""

import copy
import gzip
import os
import re
import sysconfig
import time
from pathlib import Path

import torch
from torch import nn

import fastemb
from fastemb.optim import Adam
from fastemb.torch import replace_embeddings

DIM, SEEN, BATCH, STEPS, RATE = 128, 50, 256, 150, 0.005


def read_words():
    """Return the words of a text."""
    if folder := os.environ.get("FASTEMB_DATA"):
        with gzip.open(Path(folder) / "text" / "text8-prefix.txt.gz", "rt", encoding="utf-8") as file:
            return file.read().split()
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    return [word for path in files for word in re.findall(r"\w+", path.read_text(encoding="utf-8", errors="replace"))]


class TwoTowers(nn.Module):
    """The product of all users of a batch with all its items."""

    def __init__(self, num_items):
        super().__init__()
        self.seen = nn.EmbeddingBag(num_items, DIM, mode="mean", sparse=True)
        self.users = nn.Sequential(nn.Linear(DIM, DIM), nn.ReLU(), nn.Linear(DIM, DIM))
        self.items = nn.Embedding(num_items, DIM, sparse=True)
        nn.init.uniform_(self.seen.weight, -0.5, 0.5)
        nn.init.uniform_(self.items.weight, -0.5, 0.5)

    def forward(self, seen, items):
        return self.users(self.seen(seen)) @ self.items(items).T / DIM**0.5


class Both:
    """Several optimizers as one: torch has none for sparse and dense gradients together."""

    def __init__(self, *optimizers):
        self.optimizers = optimizers

    def zero_grad(self):
        for optimizer in self.optimizers:
            optimizer.zero_grad()

    def step(self):
        for optimizer in self.optimizers:
            optimizer.step()


def train(model, optimizer, batches):
    """Return the loss of each batch, and the seconds that they took; the first one, which compiles, is not timed."""
    losses = []
    for number, (seen, items) in enumerate(batches):
        if number == 1:
            start = time.perf_counter()
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(seen, items), torch.arange(len(items)))
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses), time.perf_counter() - start


torch.manual_seed(0)
torch.set_num_threads(1)  # both sides have one thread, so that the times do not depend on what else is running
fastemb.set_num_threads(1)
words = read_words()
numbers = {word: number for number, word in enumerate(dict.fromkeys(words))}
text = torch.tensor([numbers[word] for word in words])
batches = []
for _ in range(STEPS):
    places = torch.randint(SEEN, len(text), (BATCH,))
    batches.append((text[places[:, None] - torch.arange(SEEN, 0, -1)], text[places]))
with_torch = TwoTowers(len(numbers))
with_fastemb = copy.deepcopy(with_torch)

tables = torch.optim.SparseAdam([with_torch.seen.weight, with_torch.items.weight], lr=RATE)
losses, seconds = train(with_torch, Both(tables, torch.optim.Adam(with_torch.users.parameters(), lr=RATE)), batches)

# What a user changes: this line, and no optimizer for the tables.
replace_embeddings(with_fastemb, fused_optimizer=Adam(lr=RATE))
optimizer = torch.optim.Adam(with_fastemb.users.parameters(), lr=RATE)
same_losses, our_seconds = train(with_fastemb, optimizer, batches)

torch.testing.assert_close(same_losses, losses, rtol=1e-2, atol=1e-2)
assert losses[-20:].mean() < losses[:20].mean() - 0.05
print(f"{len(numbers)} items, {STEPS} batches of {BATCH}; two tables of {len(numbers)} x {DIM}")
print(f"loss of the first and of the last 20 batches: {losses[:20].mean():.3f}, {losses[-20:].mean():.3f}")
print(f"torch {seconds:.2f} s, with fastemb {our_seconds:.2f} s: {seconds / our_seconds:.1f} times faster")
