# One virtual environment, two main targets. torch is pinned in the same pip run; on a GPU machine: make TORCH=torch demo
PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV := .venv
BIN := $(VENV)/bin
CONSTRAINTS ?= constraints.txt
export OMP_NUM_THREADS ?= 1
export OMP_WAIT_POLICY ?= passive

.PHONY: demo test test-all test-shaken test-browser test-wheel docs docs-serve lint format clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# Stamps: installed again only when the dependencies change.
$(VENV)/.core: $(BIN)/python pyproject.toml $(CONSTRAINTS)
	$(BIN)/python -m pip install -qq --disable-pip-version-check -c $(CONSTRAINTS) '$(TORCH)' -e .
	touch $@

$(VENV)/.test: $(VENV)/.core
	$(BIN)/python -m pip install -qq --disable-pip-version-check -c $(CONSTRAINTS) '$(TORCH)' -e '.[test]'
	touch $@

$(VENV)/.docs: $(VENV)/.core
	$(BIN)/python -m pip install -qq --disable-pip-version-check -c $(CONSTRAINTS) '$(TORCH)' -e '.[docs]'
	touch $@

$(VENV)/.browser: $(VENV)/.test $(VENV)/.docs
	$(BIN)/python -m pip install -qq --disable-pip-version-check -c $(CONSTRAINTS) '$(TORCH)' -e '.[browser]'
	touch $@

demo: $(VENV)/.core
	$(BIN)/forgetmi demo

# Types are checked beside the tests: that keeps one core busy for a minute. Both must pass.
test: $(VENV)/.test
	@$(MAKE) --no-print-directory lint & lint=$$!; \
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"; tests=$$?; \
	wait $$lint && exit $$tests

test-all: $(VENV)/.test lint
	$(BIN)/python -m pytest -n 2 --dist worksteal --hypothesis-profile thorough

# Pages and site in the system's Chromium: sorting, filtering, both themes, barriers, requests to a network.
test-browser: $(VENV)/.browser
	$(BIN)/python -m pytest tests/report/test_pages_in_browser.py tests/benchmark/test_page_in_browser.py \
		tests/test_site_in_browser.py

# The wheel in a fresh environment, away from the checkout: the demo, then the tests.
test-wheel:
	rm -rf dist build/wheel && mkdir -p build/wheel
	$(PYTHON) -m pip wheel -q --disable-pip-version-check --no-deps -w dist .
	$(PYTHON) -m venv build/wheel/venv
	build/wheel/venv/bin/python -m pip install -q --disable-pip-version-check -c $(CONSTRAINTS) '$(TORCH)' \
		"$$(ls dist/forgetmi-*.whl)[test]"
	cp -r tests studies examples docs pyproject.toml mkdocs.yml Makefile *.md *.cff build/wheel/
	cd build/wheel && venv/bin/forgetmi demo --out demo && \
		venv/bin/python -m pytest -n 2 --dist worksteal -m "not slow" \
		$(patsubst %,--ignore=tests/test_%.py,walls words readers containers)

# The site, in site/; a warning is an error. Nothing of it is loaded from a network.
docs/command_line.md: $(VENV)/.core FORCE
	$(BIN)/python studies/command_line.py > $@.part && mv $@.part $@

docs: $(VENV)/.docs docs/command_line.md
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@! grep -rEl '<(script|img|iframe)[^>]+src="https?:|<link[^>]+rel="stylesheet"[^>]+href="https?:' site --include='*.html' \
		|| { echo "these pages load something from a network"; exit 1; }

docs-serve: $(VENV)/.docs docs/command_line.md
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

FORCE:

format: $(VENV)/.test
	$(BIN)/ruff format src tests examples studies
	$(BIN)/ruff check --fix src tests examples studies

# Rounding differs by instruction set and by number of threads; no test may hang on it. All four run, whichever fails.
PLAIN := -u ATEN_CPU_CAPABILITY -u ONEDNN_MAX_CPU_ISA
test-shaken: $(VENV)/.test
	@failed=; \
	run() { \
	    name=$$1; shift; start=$$(date +%s); echo "== $$name"; \
	    env "$$@" $(BIN)/python -m pytest -q -n 2 --dist worksteal -m "not slow" || failed="$$failed $$name"; \
	    echo "== $$name: $$(($$(date +%s) - start)) s"; \
	}; \
	run SSE4.1 OMP_NUM_THREADS=1 ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41; \
	run AVX2 OMP_NUM_THREADS=1 ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2; \
	run "this-processor" $(PLAIN) OMP_NUM_THREADS=1; \
	run "two-threads" $(PLAIN) OMP_NUM_THREADS=2 MKL_NUM_THREADS=2; \
	if [ -n "$$failed" ]; then echo "failed:$$failed"; exit 1; fi

lint: $(VENV)/.test
	$(BIN)/ruff format --check src tests examples studies
	$(BIN)/ruff check src tests examples studies
	$(BIN)/pyright

clean:
	rm -rf $(VENV) runs build dist site docs/command_line.md .pytest_cache .ruff_cache
