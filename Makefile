# Two commands on a bare machine: `make setup`, `make demo`. Everything is installed into .venv; nothing needs root.

PYTHON ?= python3
UV_VERSION := 0.13.8
# How many tests run side by side: one more than there are processors, for many wait. Each process has a Postgres.
JOBS ?= $(shell expr $$(nproc 2>/dev/null || echo 2) + 1)
BIN := .venv/bin
# The Python that runs us is the one to use: uv must not fetch another.
UV := UV_PYTHON_DOWNLOADS=never UV_PROJECT_ENVIRONMENT=.venv $(BIN)/uv

# Dozens of processes are started: where bytecode must not be kept, each would compile all of its imports anew.
export PYTHONDONTWRITEBYTECODE :=

# Tests of the pages use a browser that is there, or are skipped.
CHROMIUM ?= $(firstword $(foreach name,chromium chromium-browser google-chrome,$(shell command -v $(name) 2>/dev/null)))
export CHROMIUM

FOLLOW_UPS := $(basename $(notdir $(wildcard docs/follow-ups/*.json)))

.DEFAULT_GOAL := help
.PHONY: help setup demo dev test check format bench fuzz chaos

help: ## List the targets
	@sed -n 's/^\([a-z]*\):.*## /  make \1: /p' $(MAKEFILE_LIST)

setup: .venv/.synced ## Install everything into .venv (again only when uv.lock or pyproject.toml changed)

demo: setup ## Run the stack and replay a real shop until Ctrl-C; ONCE=1 ends by itself
	@exec $(BIN)/journeys demo $(if $(ONCE),--once)

dev: setup ## Run the stack until Ctrl-C; its data is kept in .journeys/
	@exec $(BIN)/journeys dev

test: check ## Run everything that CI runs; the pages in a browser too, where there is a Chromium
	@$(if $(CHROMIUM),$(UV) sync --quiet --frozen --inexact --group browser)
	@exec $(BIN)/pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

check: setup ## Lint, format, types, import rules and journeys
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/journeys lint $(foreach name,$(FOLLOW_UPS),--plan follow-up/$(name)=docs/follow-ups/$(name).json)

bench: setup ## Measure everything (docs/performance.md); PART=router SIZE=small for one part, quickly; RUNS=3 for medians
	@exec $(BIN)/python -m bench $(PART) --size $(or $(SIZE),full) --runs $(or $(RUNS),1)

fuzz: setup ## Look for input that breaks something (docs/bad-input.md); TARGET=bounces SECONDS=60, or TARGET=api EXAMPLES=300
	@$(UV) sync --quiet --frozen --inexact --group fuzz
	@exec $(BIN)/python -m tests.fuzz $(or $(TARGET),all) --seconds $(or $(SECONDS),60) --examples $(or $(EXAMPLES),300)

chaos: setup ## Kill parts of the stack while customers live their lives (docs/chaos.md); ROUNDS=20 SEED=7 JSON=1
	@exec $(BIN)/python -m chaos --rounds $(or $(ROUNDS),100) $(if $(SEED),--seed $(SEED)) $(if $(JSON),--json)

format: setup ## Format the code and fix what can be fixed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.venv/.synced: pyproject.toml uv.lock
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 or newer is needed: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$$($(PYTHON) --version) is too old: 3.11 or newer is needed: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@test "$$($(BIN)/uv --version 2>/dev/null | cut -d' ' -f2)" = "$(UV_VERSION)" || $(BIN)/python -m pip install --quiet --disable-pip-version-check "uv==$(UV_VERSION)"
	$(UV) sync --frozen --inexact --compile-bytecode
	@touch $@
