# Needs Python 3.11 and GNU make, nothing else. `make demo` is the place to start.

VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# the interpreter that makes the environment; `make demo PYTHON=/path/to/python3.11` overrides the search
PYTHON ?= $(shell for name in python3.11 python3 python; do \
	$$name -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null && echo $$name && break; done)

# tests run side by side, each file in one process; a process that computes with one thread leaves room for the others
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -rs --numprocesses auto --maxprocesses 4 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast check format docs clean

help:
	@echo "make demo       install into .venv, run the whole loop on a virtual rig, print where the report is"
	@echo "make test       every test"
	@echo "make test-fast  the tests that take seconds"
	@echo "make check      what CI runs: format, lint, types, tests"
	@echo "make format     let ruff mend format and imports"
	@echo "make docs       build docs/ into build/docs"
	@echo "make clean      remove .venv and everything that was built"

# installing is repeated only when a dependency changes
$(VENV)/installed: pyproject.toml constraints.txt
	@$(or $(PYTHON),false) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || { \
		echo "error: no Python 3.11 found (looked for: $(or $(PYTHON),python3.11, python3, python))" >&2; \
		echo "  do: install Python 3.11, or name it: make demo PYTHON=/path/to/python3.11" >&2; exit 3; }
	@echo "installing into $(VENV) (once, a few minutes)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP_INSTALL) --editable .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	@echo "installing what the tests need (once)"
	@$(PIP_INSTALL) --editable ".[dev,capture,corpus,release,batch,animation]"
	@touch $@

demo: $(VENV)/installed
	@$(BIN)/mmface4d demo -o demo-output

test: $(VENV)/installed-dev
	$(PYTEST)

test-fast: $(VENV)/installed-dev
	$(PYTEST) -m "not slow"

check: $(VENV)/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(PYTEST)

format: $(VENV)/installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/installed-dev
	@$(PIP_INSTALL) --editable ".[dev,capture,corpus,release,batch,animation,docs]"
	$(BIN)/sphinx-build -W --keep-going -q -b html docs build/docs
	@echo "open build/docs/index.html"

clean:
	rm -rf $(VENV) build dist demo-output .pytest_cache .ruff_cache .hypothesis
