"""Benchmarks of searching vectors: what ``fastemb bench vectors`` runs."""
