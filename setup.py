"""Compile the Cython modules; everything else is in pyproject.toml."""

import sys
from pathlib import Path

import numpy
from Cython.Build import cythonize
from setuptools import Extension, setup

COMPILE_ARGS = [] if sys.platform == "win32" else ["-O3", "-g0"]
HEADERS = [path.as_posix() for path in Path("fastemb").rglob("*.h")]

extensions = [
    Extension(
        path.with_suffix("").as_posix().replace("/", "."),
        [path.as_posix()],
        depends=HEADERS,
        include_dirs=[numpy.get_include()],
        define_macros=[("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION")],
        extra_compile_args=COMPILE_ARGS,
    )
    for path in sorted(Path("fastemb").rglob("*.pyx"))
]

setup(
    ext_modules=cythonize(
        extensions,
        language_level=3,
        compiler_directives={"boundscheck": False, "wraparound": False, "cdivision": True},
    )
)
