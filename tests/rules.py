"""Rules of update that several files test."""

# What each takes after clip, keep and pull, as the kernels' reference lists it.
RATES = {
    "SGD": (0.1,),
    "MOMENTUM": (0.1, 0.9, 0.7),
    "NESTEROV": (0.1, 0.9, 1.0),
    "ADAGRAD": (0.1, 1e-10, 0.3),
    "ROWWISE_ADAGRAD": (0.1, 1e-8),
    "ADAM": (0.01, 0.9, 0.1, 1e-8, 0.999, 0.001),
    "ROWWISE_ADAM": (0.01, 0.9, 0.1, 1e-8, 0.999, 0.001),
    "FTRL": (10.0, 1.0, 0.2, 0.1),
    "ADD": (0.5,),
}
