"""The house rules that a program can check: who imports whom, what is exported, kernels that match their reference."""

import ast
import dataclasses
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastemb

ROOT = Path(__file__).parent.parent
PACKAGE = Path(fastemb.__file__).parent
SOURCES = sorted(path for path in PACKAGE.rglob("*.py") if "__cache__" not in path.parts)

# Each row may import the rows below it, and no other name of its own row.
ROWS = [
    {"__main__"},
    {"cli"},
    {"bench"},
    {"keras"},  # Keras 3 runs on torch
    {"torch", "sklearn", "fasttext"},
    {"pipeline"},
    {"trainers", "layers"},
    {"optim", "functional"},
    {"vectors"},
    {"formats"},
    {"corpus"},
    {"engine"},
    {"kernels"},
]
HEAVY = {"numpy", "numba", "scipy", "matplotlib", "rich", "typer", "gensim", "torch", "safetensors"}


def layer_of(module):
    """The name in `ROWS` that `module` belongs to, None for fastemb itself."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else None


def row_of(layer):
    return next(number for number, row in enumerate(ROWS) if layer in row)


def module_of(path, root=PACKAGE):
    parts = path.relative_to(root.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports_of(source, module, is_package=False):
    """All modules that `source` imports at any depth: inside functions, and for type checking, too."""
    package = module.split(".") if is_package else module.split(".")[:-1]
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                found.append(resolve(origin, alias.name))
    return found


def resolve(origin, name):
    """The module that `from origin import name` reaches: a name that fastemb lends is looked up where it lives."""
    if origin == "fastemb":
        return fastemb._HOME.get(name, "fastemb" if name.startswith("__") else f"fastemb.{name}")
    return f"{origin}.{name}" if is_module(f"{origin}.{name}") else origin


def is_module(name):
    if name.split(".")[0] != "fastemb":
        return False
    path = PACKAGE.parent.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file() or bool(list(path.parent.glob(f"{path.name}.*pyx")))


def broken_layers(module, imported):
    """The imports of `module` that go up or sideways."""
    mine = layer_of(module)
    if mine is None:  # fastemb/__init__.py lends names of all layers
        return []
    broken = []
    for name in imported:
        theirs = layer_of(name) if name.split(".")[0] == "fastemb" else None
        if theirs is not None and theirs != mine and row_of(theirs) <= row_of(mine):
            broken.append(f"{module} imports {name}")
    return broken


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_go_down(path):
    module = module_of(path)
    imported = imports_of(path.read_text(encoding="utf-8"), module, path.name == "__init__.py")
    assert broken_layers(module, imported) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("fastemb.corpus.reader", "from fastemb.formats.registry import read"),
        ("fastemb.engine.parallel", "def f():\n    import fastemb.trainers.word2vec"),
        ("fastemb.formats.npy", "from ..vectors import keyed_vectors"),
        ("fastemb.vectors.evaluate", "from fastemb import Word2Vec"),
        ("fastemb.trainers.word2vec", "from fastemb.layers import bag"),
    ],
)
def test_that_an_import_upwards_is_found(module, source):
    assert len(broken_layers(module, imports_of(source, module))) == 1


def test_that_an_import_downwards_is_not():
    source = "import numpy\nfrom fastemb import get_num_threads\nfrom ..corpus.reader import read_corpus"
    assert broken_layers("fastemb.trainers.word2vec", imports_of(source, "fastemb.trainers.word2vec")) == []


def test_only_the_backend_imports_kernels():
    offenders = [
        module_of(path)
        for path in SOURCES
        if layer_of(module_of(path)) != "kernels"
        and any(
            name.startswith("fastemb.kernels") for name in imports_of(path.read_text(encoding="utf-8"), module_of(path))
        )
    ]
    assert offenders in ([], ["fastemb.engine.backend"])


def test_reference_kernels_need_numpy_only():
    for path in (PACKAGE / "kernels" / "reference").glob("*.py"):
        for name in imports_of(path.read_text(encoding="utf-8"), module_of(path)):
            assert name.split(".")[0] in {"numpy", "math"} or name.startswith("fastemb.kernels.reference"), (path, name)


def test_cpu_kernels_need_numba_only():
    allowed = {"numpy", "numba", "llvmlite", "math"} | {
        "collections",
        "functools",
        "hashlib",
        "os",
        "pathlib",
        "typing",
    }
    for path in (PACKAGE / "kernels" / "cpu").glob("*.py"):
        for name in imports_of(path.read_text(encoding="utf-8"), module_of(path)):
            is_own = name.startswith(("fastemb.kernels.cpu", "fastemb.kernels.caching"))
            assert name.split(".")[0] in allowed or is_own, (path, name)


def test_cuda_kernels_need_numba_only():
    allowed = {"numpy", "numba", "llvmlite", "math", "typing", "threading"}
    for path in (PACKAGE / "kernels" / "cuda").glob("*.py"):
        for name in imports_of(path.read_text(encoding="utf-8"), module_of(path)):
            is_twin = path.stem == "simulated" and name.startswith("fastemb.kernels.reference")
            is_own = name.startswith("fastemb.kernels.cuda")
            assert name.split(".")[0] in allowed or is_own or is_twin, (path, name)


@pytest.mark.parametrize("code", ["import fastemb", "import fastemb.cli", "import fastemb; dir(fastemb)"])
def test_import_is_light(code):
    heavy = sorted(HEAVY)
    check = f"{code}\nimport sys\nprint(sorted(set(sys.modules) & set({heavy})))"
    ran = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["functional.embedding", "optim.Adam", "torch.Embedding"])
def test_parts_need_no_import_of_their_own(name):
    if name.startswith("torch"):
        pytest.importorskip("torch", reason="PyTorch is not installed")
    ran = subprocess.run([sys.executable, "-c", f"import fastemb; fastemb.{name}"], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def test_exports():
    assert sorted(fastemb.__all__) == sorted([*fastemb._HOME, "__version__", "functional", "optim"])
    assert dir(fastemb) == sorted(fastemb.__all__)
    for name in fastemb.__all__:
        assert getattr(fastemb, name) is not None
    with pytest.raises(AttributeError, match="has no attribute 'Wrod2Vec'"):
        _ = fastemb.Wrod2Vec


def test_version_is_the_installed_one():
    from importlib.metadata import version

    assert version("fastemb") == fastemb.__version__


def test_package_is_typed():
    assert (PACKAGE / "py.typed").is_file()


def kernel_modules(device):
    folder = PACKAGE / "kernels" / device
    return {path.stem for path in folder.glob("*.py") if path.stem != "__init__"}


def kernels_of(device, stem):
    """The public functions of a kernel module, as Python functions."""
    module = importlib.import_module(f"fastemb.kernels.{device}.{stem}")
    public = {name: getattr(module, name) for name in module.__all__}
    functions = {name: getattr(value, "py_func", value) for name, value in public.items()}
    return {name: value for name, value in functions.items() if inspect.isfunction(value)}


SHARED = sorted(kernel_modules("reference") & kernel_modules("cpu"))
# What a backend needs besides: vectors, how kernels are compiled, memory that a caller lends.
TOOLS = {"blocks", "choices", "codes", "compress", "counting", "lending", "options", "outputs", "pieces", "rows"}
TOOLS |= {"inlining", "layout", "lines", "prefetching", "rules", "scratch", "sentences", "simd"}
HELPERS = {"allocate_scratch"}
CUDA_TOOLS = {"blocks", "groups", "indices", "lending", "near", "pieces", "rows"}
CUDA_TOOLS |= {"sentences", "simulated", "sorting", "vector"}


def test_every_kernel_file_has_a_reference():
    assert kernel_modules("cpu") - TOOLS == kernel_modules("reference")


@pytest.mark.parametrize("stem", SHARED)
def test_kernels_match_their_reference(stem):
    reference, cpu = kernels_of("reference", stem), kernels_of("cpu", stem)
    twins = {name for name in cpu if name.startswith("parallel_")}
    assert set(cpu) - HELPERS - twins == set(reference)
    for name in twins:  # a range kernel handed out to Numba's threads
        wanted = list(inspect.signature(cpu[name.removeprefix("parallel_")]).parameters)
        assert list(inspect.signature(cpu[name]).parameters) == [*wanted, "chunks"]
    for name, specification in reference.items():
        wanted = list(inspect.signature(specification).parameters)
        found = list(inspect.signature(cpu[name]).parameters)
        assert found[: len(wanted)] == wanted, f"{stem}.{name}: leading arguments must be the reference's"


@pytest.mark.gpu
@pytest.mark.parametrize("stem", sorted(kernel_modules("cuda") - CUDA_TOOLS))
def test_cuda_kernels_match_their_reference(stem):
    """Each is in the reference, with the same leading arguments; what only a GPU needs comes after them."""
    pytest.importorskip("numba.cuda", reason="Numba has no CUDA target and no simulator")
    reference, cuda = kernels_of("reference", stem), kernels_of("cuda", stem)
    assert set(cuda) <= set(reference) and cuda
    for name, kernel in cuda.items():
        wanted = list(inspect.signature(reference[name]).parameters)
        assert list(inspect.signature(kernel).parameters)[: len(wanted)] == wanted, f"{stem}.{name}"


def test_all_modules_import():
    for module in pkgutil.walk_packages(fastemb.__path__, "fastemb."):
        if not module.name.endswith("__main__"):
            try:
                importlib.import_module(module.name)
            except ImportError as error:  # the package that a foreign world is for may be missing
                assert "pip install 'fastemb[" in str(error) or "KERAS_BACKEND" in str(error)


def reference_names():
    """What the documentation's reference shows."""
    pages = sorted((ROOT / "docs" / "reference").glob("*.md"))
    return [
        name for page in pages for name in re.findall(r"^::: (\S+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    ]


@pytest.mark.parametrize("name", reference_names())
def test_reference_has_examples(name):
    """A name that users import has a docstring with an example that runs; plain records need none."""
    module, _, attribute = name.rpartition(".")
    value = getattr(importlib.import_module(module), attribute)
    assert inspect.getdoc(value)
    assert dataclasses.is_dataclass(value) or not callable(value) or ">>> " in inspect.getdoc(value)
    if inspect.isclass(value):
        methods = [member for key, member in vars(value).items() if not key.startswith("_")]
        undocumented = [member.__name__ for member in methods if inspect.isfunction(member) and not member.__doc__]
        assert undocumented == []


def test_reference_shows_what_fastemb_exports():
    shown = {name.rpartition(".")[2] for name in reference_names()}
    assert set(fastemb._HOME) <= shown
