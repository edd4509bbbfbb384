# Everything runs from the repository root on a machine with Python >= 3.11 and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PORT ?= 3000

# Hundreds of processes would compile every module again where this is set, as in many containers.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install demo test suite coverage lint dev serve docs bench browser-test clean

help: ## Show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

$(INSTALLED): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@# Python 3.11 brings a pip that takes twice as long.
	$(BIN)/python -m pip install -qq --disable-pip-version-check 'pip>=26'
	$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[dev,browser]'
	@touch $@

install: $(INSTALLED) ## Make .venv and install the project

demo: $(INSTALLED) ## Six synthetic months, every model, the leaderboard
	@$(BIN)/ml-assets run --first 2023-01 --last 2023-06

test: $(INSTALLED) ## Lint, types, architecture and the whole test suite, side by side
	@$(MAKE) --no-print-directory --jobs=2 lint suite

suite: $(INSTALLED)
	$(BIN)/python -m pytest -m "not browser" -n auto --dist loadfile --no-loadscope-reorder

coverage: $(INSTALLED) ## The test suite again, with its coverage and the floor; takes up to 40 % longer
	$(BIN)/python -m pytest -m "not browser" -n auto --dist loadfile --no-loadscope-reorder \
		--cov --cov-report=html

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

dev: $(INSTALLED) ## The Dagster UI on 127.0.0.1:3000 (PORT=3001 for another)
	@$(BIN)/ml-assets dev --port $(PORT)

serve: PORT = 8000
serve: $(INSTALLED) ## The prediction service on 127.0.0.1:8000 (PORT=8001 for another)
	@$(BIN)/ml-assets serve --port $(PORT)

docs: $(INSTALLED) ## The documentation as a site in site/
	$(BIN)/python docs/draw_layers.py
	$(BIN)/python docs/benchmark_table.py
	$(BIN)/mkdocs build --strict

bench: $(INSTALLED) ## The benchmark suite; writes benchmarks/results.json
	$(BIN)/python -m benchmarks

browser-test: $(INSTALLED) ## Materialize all and the playground in a real browser (Debian's Chromium)
	$(BIN)/python -m pytest -m browser -n 2 --dist loadfile --no-loadscope-reorder

clean: ## Remove the virtual environment and all assets
	rm -rf $(VENV) .ml_assets
