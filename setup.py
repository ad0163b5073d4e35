"""Compile the Cython modules; everything else is in pyproject.toml."""

import sys

from Cython.Build import cythonize
from setuptools import Extension, setup

COMPILE_ARGS = [] if sys.platform == "win32" else ["-O3"]
MODULES = ["fastemb/corpus/_scan.pyx"]

extensions = [
    Extension(path.removesuffix(".pyx").replace("/", "."), [path], extra_compile_args=COMPILE_ARGS) for path in MODULES
]

setup(
    ext_modules=cythonize(
        extensions,
        language_level=3,
        compiler_directives={"boundscheck": False, "wraparound": False, "cdivision": True},
    )
)
