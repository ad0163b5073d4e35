PYTHON ?= python

.PHONY: install test lint bench tables docs wheel

install:  ## fastemb as an editable install, with everything a developer needs
	$(PYTHON) -m pip install --editable '.[test,bench,lint,docs]'

test:  ## the tests, of the fastemb that is installed
	$(PYTHON) -m pytest

lint:  ## style, formatting and types
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy

bench:  ## our own kernels, each result checked before it is timed
	$(PYTHON) -m pytest bench -n 0 --benchmark-only

tables:  ## the benchmark's tables and chart, from bench/results
	$(PYTHON) -m fastemb.bench.tables README.md docs/benchmark.md bench/results/*.json
	$(PYTHON) bench/chart.py bench/results/*.json docs/images/speed.png

docs:  ## the documentation, into site/
	$(PYTHON) -m mkdocs build --strict

wheel:  ## an sdist and a wheel, into dist/
	$(PYTHON) -m build
