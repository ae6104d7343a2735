# Every target works in a fresh clone: each prepares its own virtual environment.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/pip install --quiet --constraint constraints.txt
DEMO_OUT ?= demo
FUZZ_CASES ?= 13000

.PHONY: demo test fuzz lint docs check-processors check-floors check-newest clean

demo: $(VENV)/installed-demo
	$(BIN)/python tools/demo.py --out $(DEMO_OUT) $(if $(PHOTOS),--photos "$(PHOTOS)")

# As many processes as there are cores, up to four, of one thread each: more would wait for each other.
test: $(VENV)/installed-test lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile $(PYTEST_ARGS)

# Damaged files of every format; always the same ones. By hand: python tools/fuzz.py --cases 100000 --seed 7
fuzz: $(VENV)/installed-test
	$(BIN)/python tools/fuzz.py --cases $(FUZZ_CASES)

lint: $(VENV)/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy --allow-untyped-calls --no-warn-unused-ignores tools docs/conf.py
	$(MAKE) docs

docs: $(VENV)/installed-test
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going docs build/docs

# As on older processors and with other numbers of threads.
check-processors: $(VENV)/installed-test
	$(BIN)/python tools/check_processors.py $(PYTEST_ARGS)

# Both ends of the ranges in pyproject.toml, each in an environment of its own.
check-floors: .venv-floors/installed
	.venv-floors/bin/pip freeze --exclude-editable
	.venv-floors/bin/python -m pytest $(PYTEST_ARGS)
	.venv-floors/bin/sphinx-build --quiet --fail-on-warning docs build/docs-floors

check-newest:
	$(PYTHON) -m venv .venv-newest
	.venv-newest/bin/pip install --quiet --upgrade --upgrade-strategy eager --editable '.[test,docs]'
	.venv-newest/bin/pip freeze --exclude-editable
	.venv-newest/bin/python -m pytest $(PYTEST_ARGS)
	.venv-newest/bin/sphinx-build --quiet --fail-on-warning docs build/docs-newest

.venv-floors/installed: pyproject.toml tools/floors.py
	$(PYTHON) -m venv --clear .venv-floors
	.venv-floors/bin/python tools/floors.py > .venv-floors/floors.txt
	.venv-floors/bin/pip install --quiet --constraint .venv-floors/floors.txt --editable '.[test,docs]'
	@touch $@

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed-demo: $(BIN)/python pyproject.toml constraints.txt
	$(INSTALL) --editable '.[tensorboard]'
	@touch $@

$(VENV)/installed-test: $(BIN)/python pyproject.toml constraints.txt
	$(INSTALL) --editable '.[test,docs]'
	@touch $@ $(VENV)/installed-demo

clean:
	rm -rf $(VENV) .venv-floors .venv-newest build *.egg-info .pytest_cache .mypy_cache .ruff_cache
