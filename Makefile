# make train: set up and train on the digits; make test: set up and run the tests, but for the slow ones; make test-slow:
# these; make test-gpu: what only a CUDA device can show, in one process on one card.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=
PYTEST := $(BIN)/python -m pytest
SPREAD := -n auto --maxprocesses 8 --dist worksteal

.PHONY: train test test-slow test-gpu lint setup clean

train: $(VENV)/.installed
	$(BIN)/lehr train $(ARGS)

# without the GPUs of this machine: most of these tests compare bits, which are those of a CPU
test test-slow: export CUDA_VISIBLE_DEVICES :=
test: $(VENV)/.installed-dev
	$(PYTEST) $(SPREAD) -m "not slow and not gpu" $(ARGS)

test-slow: $(VENV)/.installed-dev
	$(PYTEST) $(SPREAD) -m "slow and not gpu" $(ARGS)

test-gpu: $(VENV)/.installed-dev
	$(PYTEST) -p no:xdist -m gpu $(ARGS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

setup: $(VENV)/.installed

# torch first and alone: nothing that is installed later may choose another build of it
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'lehr needs Python 3.11 or later, this is ' + sys.version.split()[0])"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) build dist
