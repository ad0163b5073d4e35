"""How work runs: checks of arguments, threads, sampling, and which kernels."""
