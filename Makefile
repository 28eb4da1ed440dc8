# Needs Python 3.11 or newer and make. Every target sets up its own .venv.
PYTHON ?= python3
VENV   ?= .venv

BIN   := $(VENV)/bin
LOCAL := $(VENV)/.has-local
DEV   := $(VENV)/.has-dev

# Imports from source each time are two to five times slower.
unexport PYTHONDONTWRITEBYTECODE
.DEFAULT_GOAL := help
.PHONY: help demo weights test proofs histories soak conformance bench check format docs clean

help: ## list the targets
	@printf '\n  \033[1mSegue\033[0m: durable flows over one journal\n\n'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  \033[36mmake %-12s\033[0m %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@printf '\n  Another interpreter: make test PYTHON=python3.12\n\n'

demo: weights ## run the support desk on the local model; DEMO_ARGS="..."
	$(BIN)/python -m examples.support_desk $(DEMO_ARGS)

weights: $(LOCAL) ## fetch the local model's weights, once; SEGUE_CACHE=~/.cache/segue
	$(BIN)/python -m segue.models.weights

test: $(DEV) ## run the tests; ARGS="-k name"
	$(BIN)/pytest -n 4 $(ARGS)

proofs: $(DEV) ## run the long proofs: crashes at every write of every scene, long outages, long threads
	$(BIN)/pytest -n 4 -m proof $(ARGS)

histories: $(DEV) ## fit 100,000 random histories and 5,000 threads, and hold what must be true of each
	SEGUE_HISTORIES=100000 $(BIN)/pytest -n 2 -m "" tests/context/test_invariants.py tests/agent/test_wired_histories.py $(ARGS)

soak: $(DEV) ## run the long randomised tests
	$(BIN)/pytest -n 2 -m soak -o faulthandler_timeout=0 $(ARGS)

conformance: $(DEV) ## hold every runtime to the same behaviour
	$(BIN)/pytest -m conformance -o faulthandler_timeout=0 $(ARGS)

bench: $(DEV) ## measure; BENCH_ARGS="..."
	$(BIN)/python -m bench $(BENCH_ARGS)

check: $(DEV) ## lint, formatting, types, and the direction of imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports --no-logo

format: $(DEV) ## put the formatting right
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

docs: $(DEV) ## write docs/reference anew from the code
	$(BIN)/python -m tools.reference && $(BIN)/python -m tools.events_reference && $(BIN)/python -m tools.api_reference

clean: ## remove builds and caches; .venv and the weights stay
	rm -rf build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache .grimp_cache
	find src tests examples bench tools -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit("Segue needs Python 3.11 or newer: make PYTHON=python3.12 ..." if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.has-%: pyproject.toml | $(BIN)/python
	@echo 'Installing segue[$*] into $(VENV): a few minutes at first, never again until pyproject.toml changes.'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@
