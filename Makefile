# The verbs of this project. `make quickstart` and `make test` are all that a fresh machine needs.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: help setup lint type test test-long test-sizes test-export quickstart docs golden readme

help:  ## Show the verbs
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(VENV)/.core: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.core
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

setup: $(VENV)/.dev  ## Make .venv with everything that the tests need
	$(BIN)/pre-commit install

quickstart: $(VENV)/.core  ## Install, train a small ShuffleNet on real pictures, predict a few (about 3 minutes of training)
	$(BIN)/shufflenet quickstart

test: $(VENV)/.dev  ## Run all tests, one process a core
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal tests

test-long: $(VENV)/.dev  ## Train what takes long: large networks, a detector by heart (some minutes)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m long tests

test-sizes: $(VENV)/.dev  ## Compile every network at every picture size of the paper (ten minutes or more)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m every_size tests/compiler

# An environment of its own: litert-torch pins older versions of packages that the others share.
test-export:  ## Test the exports whose converters weigh gigabytes: LiteRT and ExecuTorch
	$(PYTHON) -m venv $(VENV)-export
	$(VENV)-export/bin/python -m pip install --quiet --editable '.[dev,litert,executorch]'
	OMP_NUM_THREADS=1 $(VENV)-export/bin/python -m pytest -p no:anyio -m heavy_export tests/deploy

golden: $(VENV)/.dev  ## Rewrite the golden C files after a meant change of the compiler; read the difference before committing
	$(BIN)/python -m pytest tests/compiler/c/test_golden.py --update-golden

readme: $(VENV)/.dev  ## Write README.md and README.zh-CN.md from docs/readme
	$(BIN)/python docs/readme/write.py

lint: $(VENV)/.dev  ## Check style and formatting
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: $(VENV)/.dev  ## Check types
	$(BIN)/pyright --pythonpath $(BIN)/python

$(VENV)/.docs: $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	@touch $@

docs: $(VENV)/.docs  ## Build the documentation site into site/
	$(BIN)/python docs/live/write.py
	$(BIN)/zensical build --strict
