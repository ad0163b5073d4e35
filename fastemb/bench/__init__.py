"""Benchmarks beside the peers: what ``fastemb bench`` runs."""
