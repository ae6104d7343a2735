# `make demo` and `make test` work in a fresh clone: each prepares its own virtual environment.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/pip install --quiet --constraint constraints.txt
DEMO_OUT ?= demo

.PHONY: demo test lint clean

demo: $(VENV)/installed-demo
	$(BIN)/python tools/demo.py --out $(DEMO_OUT) $(if $(PHOTOS),--photos "$(PHOTOS)")

test: $(VENV)/installed-test lint
	$(BIN)/python -m pytest $(PYTEST_ARGS)

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed-demo: $(BIN)/python pyproject.toml constraints.txt
	$(INSTALL) --editable '.[tensorboard]'
	@touch $@

$(VENV)/installed-test: $(BIN)/python pyproject.toml constraints.txt
	$(INSTALL) --editable '.[test]'
	@touch $@ $(VENV)/installed-demo

clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
