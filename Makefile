# Verbs only: some folders have the names of likely targets, so every target is phony.
.PHONY: bench all-methods bench-self test test-page setup lint types check cards docs lock clean

PYTHON ?= python3
VENV := .venv
DEVICE ?= cpu
BIN := $(VENV)/bin

bench: setup
	$(BIN)/mixbench run configs/suite/quickstart.yaml

bench-self: setup
	$(BIN)/python tools/bench_self.py --device $(DEVICE)

all-methods: setup
	$(BIN)/mixbench run configs/suite/all-methods.yaml

test: setup
	$(BIN)/python -m pytest -n 2

test-page: setup
	$(BIN)/python -m pytest tests/browser

setup:
	@$(PYTHON) tools/setup.py $(VENV)

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python tools/method_cards.py --check
	$(BIN)/python tools/methods_page.py --check
	$(BIN)/python tools/readme_board.py --check
	$(BIN)/lint-imports --no-cache

types: setup
	$(BIN)/pyright

check: setup
	$(BIN)/mixbench check

cards: setup
	$(BIN)/python tools/method_cards.py
	$(BIN)/python tools/methods_page.py
	$(BIN)/python tools/readme_board.py

docs: setup
	$(BIN)/python tools/docs_site.py

lock:
	uv pip compile --quiet --universal --python-version 3.11 --extra dev --extra docs --generate-hashes --no-header -o requirements.lock pyproject.toml

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis build dist
