"""The specification of every kernel, in NumPy."""
