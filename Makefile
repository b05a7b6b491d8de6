# Every step a person or a machine takes. Needs: Python >= 3.11 with venv and pip, make, a package index.
# `make` alone lists the steps; those that take a while say what they wait for.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CONFIG ?= config.example.toml
SEEDS ?= 100
# Handed on to every pytest below, e.g. ARGS='-k escalation -x'.
ARGS ?=
PYTEST := $(BIN)/pytest $(ARGS)
CODE := rules connectors daemon tests

# uv must never fetch an interpreter of its own or follow another environment than ours.
export UV_PYTHON_DOWNLOADS := never
export UV_PROJECT_ENVIRONMENT := $(VENV)
unexport VIRTUAL_ENV
# Without compiled files pytest alone takes five seconds to start.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup run test unit lint format types imports peers faults simulation bench packaging packaging-tools wheel image-check lock docs clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY)  ## create .venv with everything in uv.lock, checked by hash

$(READY): pyproject.toml uv.lock .ci/bootstrap.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "make: $(PYTHON) is older than 3.11; name a newer one: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@test -x $(BIN)/python || { echo "make: creating $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@cmp -s .ci/bootstrap.txt $(VENV)/.bootstrap || { \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: -r .ci/bootstrap.txt; \
	  cp .ci/bootstrap.txt $(VENV)/.bootstrap; }
	@echo "make: installing what uv.lock names"
	@$(BIN)/uv sync --locked --quiet
	@touch $@

run: setup  ## the daemon on its embedded store, on 127.0.0.1:9876
	@exec $(BIN)/ticketd run --config $(CONFIG)

test: setup lint types imports unit  ## the whole suite, but what needs real programs: see peers, faults, simulation

unit: setup  ## the unit suite alone
	$(PYTEST) -q -n auto --dist worksteal tests --ignore=tests/peers --ignore=tests/faults --ignore=tests/simulation --ignore=tests/bench --ignore=tests/packaging

lint: setup  ## ruff: style and bans
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: setup  ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: setup  ## mypy --strict
	$(BIN)/mypy $(CODE)

imports: setup  ## daemon -> connectors -> rules, never back
	$(BIN)/lint-imports --no-logo

peers: setup  ## against real programs (install: tests/peers/NAME.sh install); absent ones are skipped by name
	$(PYTEST) -v --durations=8 --timeout=600 tests/peers

faults: setup  ## kill -9, full disks and locked stores, against the real daemon
	$(PYTEST) -v --durations=8 --timeout=900 tests/faults

simulation: setup  ## days of the daemon's life in virtual time: SEEDS=100
	TICKETD_SEEDS=$(SEEDS) $(PYTEST) -v --durations=8 --timeout=1200 tests/simulation

bench: setup  ## durable webhooks a second, beside bare handlers, as ratios
	$(BIN)/python -m tests.bench $(ARGS)

packaging-tools: setup  ## hadolint and shellcheck, into .venv
	$(BIN)/uv sync --locked --quiet --group packaging

packaging: setup  ## the wheel, the unit file, the image's steps and what .ci/run relies on
	$(PYTEST) -v --durations=8 --timeout=600 tests/packaging

wheel: setup  ## dist/ticketd-VERSION-py3-none-any.whl
	@rm -rf dist
	$(BIN)/hatchling build --target wheel

image-check: setup  ## the Dockerfile's install steps, without a container engine
	tests/packaging/image_steps.sh

lock: setup  ## renew uv.lock after a change in pyproject.toml
	$(BIN)/uv lock

docs: setup  ## write the language reference in docs/rules.md anew, from the code
	@$(BIN)/python -c 'from pathlib import Path; from connectors.kinds import load; \
	  from rules.language import LanguageKinds; from rules.language.reference import rewritten; \
	  kinds = LanguageKinds(probes=load().probes, discoveries=load().discoveries); \
	  file = Path("docs/rules.md"); file.write_text(rewritten(file.read_text("utf-8"), kinds), "utf-8")'

clean:  ## remove what make made (stores are yours and stay)
	rm -rf $(VENV) build dist .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
