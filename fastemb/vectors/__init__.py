"""Trained vectors: look-up, similarity, evaluation, pictures."""
