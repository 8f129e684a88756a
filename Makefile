# Two commands set everything up on a fresh machine: `make demo` runs the main job, `make test` passes the tests.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# As many processes as there are cores, but networks in more than four would want a large memory.
PYTEST := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4

.PHONY: demo test quick lint format clean

demo: $(VENV)/installed
	$(BIN)/segue train scenes

test: $(VENV)/installed-test
	$(PYTEST)

quick: $(VENV)/installed-test
	$(PYTEST) -m "not slow"

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Installed anew when pyproject.toml changes; the package itself is linked, so its code need not be.
$(VENV)/installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable .
	touch $@

$(VENV)/installed-test: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable ".[test]"
	touch $@ $(VENV)/installed

$(VENV)/installed-dev: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --editable ".[dev]"
	touch $@ $(VENV)/installed-test $(VENV)/installed

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache
