"""The arithmetic: range kernels on plain arrays, one package a backend."""
