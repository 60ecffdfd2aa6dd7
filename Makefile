# The doors to the project. `make demo` and `make test` work on a fresh machine with Python 3.11 and make.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Processes that run tests.
TESTERS := 2

.PHONY: demo test check contract slow perf docs clean

$(VENV)/.base: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	touch $@

$(VENV)/.dev: $(VENV)/.base constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all,dev]'
	touch $@

demo: $(VENV)/.base ## two real models read six real filings; a table and a page
	$(BIN)/modelyard demo

test: $(VENV)/.dev ## all tests but the slow ones, with the small model
	$(BIN)/python -m pytest -m 'not slow' -n $(TESTERS) --dist loadfile

contract: $(VENV)/.dev ## what each engine promises: a matrix
	$(BIN)/python -m pytest tests/contract --matrix

check: $(VENV)/.dev ## lint, types, the one-way path
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

slow: $(VENV)/.dev ## the larger model, the browser, long kills; properties on new examples
	$(BIN)/python -m pytest -m slow
	HYPOTHESIS_PROFILE=search $(BIN)/python -m pytest -m 'hypothesis and not slow' -n $(TESTERS) --dist loadfile

perf: $(VENV)/.dev ## ours against peers, one run, ratios; run it alone
	$(BIN)/python perf/engine.py
	$(BIN)/python perf/llamacpp.py
	$(BIN)/python perf/torch_engine.py
	$(BIN)/python perf/export.py
	$(BIN)/python perf/worker.py
	$(BIN)/python perf/endpoint.py
	$(BIN)/python perf/serving.py
	$(BIN)/python perf/bench.py
	$(BIN)/python perf/extraction.py
	$(BIN)/python perf/cluster.py
	$(BIN)/python perf/startup.py

docs: $(VENV)/.dev ## the site, warnings as errors: build/site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
