# `make demo` and `make test` work on a fresh machine; everything they need is set up in .venv first.
.PHONY: help setup demo test check test-statistical test-soak test-browser lock wheel-check clean

AREA ?= engine
# Tests of families are many and mostly one process each: side by side, their figures at the end. Others use both cores.
SPREAD = $(if $(filter families,$(AREA)),-n 2 --dist worksteal -rP,-s)
PYTEST := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 .venv/bin/python -m pytest

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 18

setup:  ## make .venv; afterwards .venv/bin/mien is the program
	@sh scripts/setup

demo: setup  ## simulate a study, import, prepare, fit, report
	@.venv/bin/mien demo

test: setup check  ## the tests (under 8 minutes)
	$(PYTEST) -n 2 --dist worksteal --durations=20

check: setup  ## style, types, who may import whom
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/lint-imports --no-cache
	.venv/bin/basedpyright

test-statistical: setup  ## slow checks against known truth: AREA=engine|families|co_activation|priors|power
	$(PYTEST) --runslow -m statistical --area=$(AREA) $(SPREAD)

test-soak: setup  ## long fuzzing of the parsers (30 minutes)
	$(PYTEST) --runslow -m soak

test-browser: setup  ## report and app in a real browser, the app as a running server
	@sh scripts/debian-packages chromium
	$(PYTEST) --runslow -m browser

lock: setup  ## re-make requirements.lock from pyproject.toml
	.venv/bin/uv pip compile pyproject.toml --extra app --extra dev --universal --python-version 3.12 \
	  --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --upgrade -q -o requirements.lock

wheel-check: setup  ## the wheel in an empty environment: mien --help, mien demo --quick
	@sh scripts/wheel-check

clean:  ## remove what was made here
	rm -rf .venv .venv.partial dist demo-study .pytest_cache .ruff_cache .hypothesis
