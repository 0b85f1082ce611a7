# `make demo` and `make test` need only python3 (3.11 or newer) and make; each sets up .venv by itself.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test test-threads check lint types docs docs-write site build wheels clean

demo: $(VENV)/.local-installed
	$(BIN)/sightline run studies/quickstart.yaml --out runs/quickstart
	@echo "open runs/quickstart/report.html in a browser"

# slow tests run by rotation, a part of them each day; `make test SLOW=all` runs all of them
test: $(VENV)/.dev-installed
	$(BIN)/python -m pytest -n 2 --dist loadfile $(if $(SLOW),--slow $(SLOW))

# what an assertion finds must not hang on the number of threads: the searches, on one and on two
SEARCHES := tests/attacks/test_misleading.py tests/attacks/test_image_hijack.py
test-threads: $(VENV)/.dev-installed
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist load $(SEARCHES)
	OMP_NUM_THREADS=2 $(BIN)/python -m pytest $(SEARCHES)

check: lint types docs site test-threads wheels test

lint: $(VENV)/.dev-installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev-installed
	$(BIN)/mypy

docs: $(VENV)/.dev-installed
	$(BIN)/python -m pytest tests/test_docs.py

docs-write: $(VENV)/.dev-installed
	$(BIN)/python docs/write_methods.py
	$(BIN)/python docs/write_testbed.py
	$(BIN)/python docs/write_taxonomy.py
	$(BIN)/python docs/write_study_file.py
	$(BIN)/python docs/write_results.py

# the documentation as pages, offline; any warning, such as a link or an anchor that is not there, fails
site: $(VENV)/.docs-installed
	rm -rf docs/_build
	$(BIN)/python -m sphinx -W --keep-going -q -b html -d docs/_build/doctrees docs docs/_build/site
	@echo "open docs/_build/site/index.html in a browser"

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# torch is named first, so that the pinned build is taken and not whatever a dependency asks for
$(VENV)/.local-installed: pyproject.toml packages/testbed/pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) torch
	$(PIP) --editable '.[local]' --editable packages/testbed
	@touch $@

$(VENV)/.dev-installed: $(VENV)/.local-installed
	$(PIP) --editable '.[local,ray,annotate,train,dev]'
	@touch $@

$(VENV)/.docs-installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(PIP) --editable '.[docs]'
	@touch $@

build: $(VENV)/.dev-installed
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist . ./packages/testbed

# both wheels, installed into an empty environment without the source tree; a smoke study there. Other versions:
# make wheels PYTHONS="python3.11 python3.12 python3.13" (the core on all, [local] on the first)
PYTHONS ?= $(PYTHON)
wheels:
	.ci/wheels $(PYTHONS)

clean:
	rm -rf $(VENV) dist docs/_build .pytest_cache .mypy_cache .ruff_cache
