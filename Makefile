# `make` alone lists the targets.  The environment is made by the first target that needs it.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help demo run test lint format bench chaos kafka kafka-stop clean
.DEFAULT_GOAL := help

help: ## List the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-12s%s\n", $$1, $$2 }'

demo: .venv/.installed ## Everything in one terminal on an embedded broker; DATA=file.csv replays your log
	@$(BIN)/freshet demo $(if $(DATA),--data "$(DATA)")

run: .venv/.installed ## One serving worker (start `make kafka` and `freshet topics` first)
	@$(BIN)/freshet worker $(ARGS)

test: .venv/.installed ## All tests, in two processes; ARGS="-k kafka" picks some, ARGS="-n 0" runs them one by one
	@$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

lint: .venv/.installed ## ruff, mypy and the floors of the rooms (import-linter)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache --no-logo

format: .venv/.installed ## Let ruff write the code's layout and fix what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

bench: .venv/.installed ## Measure this machine; ARGS=--help lists what can be measured
	@$(BIN)/python -m tests.bench $(ARGS)

chaos: .venv/.installed ## Play faults on a real Kafka, and judge by an oracle of its own; ARGS=--help
	@$(BIN)/python -m tests.chaos $(ARGS)

kafka: ## Start a real Apache Kafka on loopback (Java 17 or later, and Maven); ARGS="--port 9093"
	@$(PYTHON) deploy/kafka.py start $(ARGS)

kafka-stop: ## Stop it; its data stays in .kafka/
	@$(PYTHON) deploy/kafka.py stop

clean: ## Remove caches and builds; .venv, .kafka and data stay
	@rm -rf build *.egg-info .mypy_cache .pytest_cache .ruff_cache
	@find . \( -name .venv -o -name .git \) -prune -o -name __pycache__ -type d -exec rm -rf {} +

.venv/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "make: Python 3.11 or later is needed; name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || \
	  { echo "make: Python has no venv module; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "Setting up .venv, once: torch with its libraries is some gigabytes, so this takes a few minutes"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@
