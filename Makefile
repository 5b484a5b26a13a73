# One virtual environment, two main targets. torch is pinned in the same pip run; on a GPU machine: make TORCH=torch demo
PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV := .venv
BIN := $(VENV)/bin
CONSTRAINTS ?= constraints.txt
export OMP_NUM_THREADS ?= 1
export OMP_WAIT_POLICY ?= passive

.PHONY: demo test test-all lint clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# Stamps: installed again only when the dependencies change.
$(VENV)/.core: $(BIN)/python pyproject.toml $(CONSTRAINTS)
	$(BIN)/python -m pip install -qq --disable-pip-version-check -c $(CONSTRAINTS) '$(TORCH)' -e .
	touch $@

$(VENV)/.test: $(VENV)/.core
	$(BIN)/python -m pip install -qq --disable-pip-version-check -c $(CONSTRAINTS) '$(TORCH)' -e '.[test]'
	touch $@

demo: $(VENV)/.core
	$(BIN)/forgetmi demo

test: $(VENV)/.test lint
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

test-all: $(VENV)/.test lint
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(VENV)/.test
	$(BIN)/ruff check src tests examples studies
	$(BIN)/pyright

clean:
	rm -rf $(VENV) runs build dist .pytest_cache .ruff_cache
