# On a machine with Python 3.11 or newer and make: `make demo` shows the whole way, `make test` runs the tests.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export OMP_WAIT_POLICY ?= PASSIVE
export GOMP_SPINCOUNT ?= 0

.PHONY: setup demo test coverage lint clean

setup: $(STAMP)

# The parity oracle is the official Wan code; its own dependencies do not install everywhere and are not needed.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11) and 'Sakuga needs Python 3.11 or newer')"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test]"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps wan22==2.2.11
	touch $(STAMP)

demo: setup
	$(BIN)/sakuga demo

test: setup lint
	$(BIN)/python -m pytest -n auto

# Which lines the tests run, also in the processes that they start; of core and stages at least 90 % of all lines.
coverage: setup
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -n auto
	$(BIN)/coverage combine --quiet
	rm -f .coverage.*  # what a process wrote that was killed while it did
	$(BIN)/coverage report
	$(BIN)/coverage report --include="src/sakuga/core/*,src/sakuga/stages/*" --format=total --fail-under=90

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) demo .pytest_cache .mypy_cache .ruff_cache .hypothesis .coverage .coverage.*
