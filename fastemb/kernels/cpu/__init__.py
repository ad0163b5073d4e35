"""Kernels compiled by Numba for the CPU at hand."""
