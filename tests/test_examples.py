"""The examples in docstrings, in the README and in the documentation run and give what they say."""

import doctest
import importlib.util
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import fastemb

ROOT = Path(__file__).parent.parent
FENCED = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = [
    path
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if FENCED.search(path.read_text(encoding="utf-8"))
]
FOREIGN = re.compile(r"^(?:import|from) (torch|keras|pyarrow|pandas)\b", re.MULTILINE)
FOREIGN_PAGES = [
    (page, library)
    for page in PAGES
    for library in sorted(
        {name for block in FENCED.findall(page.read_text(encoding="utf-8")) for name in FOREIGN.findall(block)}
    )
]
SCRIPTS = sorted((ROOT / "examples").glob("*.py"))
# Kernels' device code has no interpreter to run examples; __main__ starts the command line when it is imported.
MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(fastemb.__path__, "fastemb.")
    if not module.name.endswith("__main__")
)


# In the GPU's simulator kernels are Python, where NumPy warns of what wraps around.
@pytest.mark.filterwarnings("ignore:overflow encountered:RuntimeWarning")
@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        if "pip install 'fastemb[" not in str(error) and "KERAS_BACKEND" not in str(error):
            raise
        pytest.skip(str(error))
    failed, _ = doctest.testmod(module, optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    assert failed == 0


def test_that_a_wrong_example_fails(tmp_path):
    wrong = tmp_path / "wrong.py"
    wrong.write_text('"""\n>>> 1 + 1\n3\n"""\n')
    ran = subprocess.run([sys.executable, "-m", "doctest", str(wrong)], capture_output=True, text=True, check=False)
    assert ran.returncode == 1 and "Expected:\n    3\nGot:\n    2" in ran.stdout


def test_that_pages_and_modules_are_found():
    assert len(MODULES) > 20 and len(PAGES) > 3 and SCRIPTS


def test_the_readme_begins_with_two_commands():
    """They are what .ci/run runs."""
    block = re.search(
        r"^```bash\n(.*?)^```", (ROOT / "README.md").read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL
    )
    assert block and block[1].splitlines() == [
        "pip install . && fastemb quickstart",
        "pip install '.[test]' && pytest",
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_page(page, text_folder):
    """The Python blocks of a page run one after the other, as a reader would run them."""
    blocks = [block for block in FENCED.findall(page.read_text(encoding="utf-8")) if not FOREIGN.search(block)]
    run_script("\n".join(blocks), text_folder)


@pytest.mark.parametrize(("page", "library"), FOREIGN_PAGES, ids=lambda value: Path(value).name)
def test_page_of_a_foreign_world(page, library, text_folder):
    for needed in {library, "torch"} if library == "keras" else {library}:
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"{needed} is not installed")
    blocks = [block for block in FENCED.findall(page.read_text(encoding="utf-8")) if library in FOREIGN.findall(block)]
    run_script("\n".join(blocks), text_folder)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_script(script, text_folder):
    code = script.read_text(encoding="utf-8")
    if "import torch" in code:
        pytest.importorskip("torch", reason="PyTorch is not installed")
    run_script(code, text_folder)


@pytest.fixture
def text_folder(tmp_path):
    """A folder with the text.txt that the examples name: small, but with words that recur."""
    subjects, verbs = ["king", "queen", "man", "woman", "prince", "princess"], ["rules", "sees", "knows"]
    places = ["castle", "city", "river", "forest"]
    lines = []
    for number in range(3000):
        subject, verb = subjects[number % 6], verbs[number // 6 % 3]
        lines.append(f"the {subject} {verb} the {places[number // 24 % 4]} and the {subjects[number * 7 % 6]}")
    (tmp_path / "text.txt").write_text("\n".join(lines) + "\n")
    return tmp_path


def run_script(code, folder):
    environment = {**os.environ, "PYTHONWARNINGS": "error", "MPLBACKEND": "Agg"}
    environment.pop("NUMBA_ENABLE_CUDASIM", None)  # a reader has no simulator, which is far too slow for an example
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, f"{ran.stdout}\n{ran.stderr}"
