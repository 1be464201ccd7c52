# Two commands do everything on a fresh machine: `make letter` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OUT ?= letter-output
SCALE ?= laptop

.PHONY: demo letter test lint types layers package docs check clean

demo: $(VENV)/installed
	$(BIN)/fieldlevel demo

letter: $(VENV)/installed
	$(BIN)/fieldlevel letter --scale $(SCALE) --out $(OUT)

test: $(VENV)/installed-dev
	$(BIN)/pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

lint: $(VENV)/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/installed-dev
	$(BIN)/mypy

layers: $(VENV)/installed-dev
	$(BIN)/lint-imports

package: $(VENV)/installed-dev
	.ci/package $(BIN)/python

docs: $(VENV)/installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

check: lint types layers test

$(VENV)/made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'fieldlevel needs Python 3.11 or newer: make PYTHON=python3.12 ...' >&2; exit 2; }
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/made
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[letter]'
	@touch $@

$(VENV)/installed-dev: pyproject.toml constraints.txt | $(VENV)/made
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@ $(VENV)/installed

$(VENV)/installed-docs: $(VENV)/installed-dev
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	@touch $@

clean:
	rm -rf $(VENV) $(OUT) site
