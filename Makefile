# make demo and make test are all the set-up there is: each makes its own .venv, neither needs the other.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SOURCES := setup.py pyproject.toml $(wildcard csrc/*.h xep419/_core/*.pyx xep419/_core/*.pxd)

.PHONY: help demo test interop lint bench bench-guard bench-guard-instructions bench-guard-ratios bench-guard-record \
	bench-report bench-soak fuzz sanitize sdist clean

help:
	@echo "make demo                build, then upgrade and encrypt a recorded XMPP stream and show what changed"
	@echo "make test                build, then run the tests on every instruction set and in pure Python"
	@echo "make interop             the tests against real servers, as root, where these are installed"
	@echo "make lint                ruff and mypy --strict"
	@echo "make bench               every operation beside its peers, on every instruction set: tables"
	@echo "make bench-guard         the guards: ratios to peers, scaling, instructions per byte"
	@echo "make bench-guard-record  write down this build's instructions per byte, which the guard compares with"
	@echo "make bench-report        measure for benchmarks/results: JSON, tables, plots"
	@echo "make bench-soak          ten thousand streams: memory of each, percentiles of one stanza's time"
	@echo "make fuzz                the fuzz targets, SECONDS=60 in all"
	@echo "make sanitize            the tests under AddressSanitizer and UndefinedBehaviorSanitizer"
	@echo "make sdist               sdist and wheel, and the tests against the wheel outside this tree"

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

# Stamps say which dependencies the environment has and that the build is newer than its sources.
$(VENV)/built: $(BIN)/python $(SOURCES)
	$(BIN)/python -m pip install --quiet --editable '.[cli]'
	@touch $@

$(VENV)/test-tools: $(VENV)/built pyproject.toml
	$(BIN)/python -m pip install --quiet --group test --group lint
	@touch $@

$(VENV)/bench-tools: $(VENV)/test-tools
	$(BIN)/python -m pip install --quiet --group bench
	@touch $@

demo: $(VENV)/built
	@$(BIN)/python examples/demo.py

test: $(VENV)/built $(VENV)/test-tools
	$(BIN)/python -m pytest
	XEP419_ISA=python $(BIN)/python -m pytest --quiet -m 'not outer' --ignore=tests/test_native.py

interop: $(VENV)/built $(VENV)/test-tools
	$(BIN)/python -m pytest -m interop tests/interop

lint: $(VENV)/built $(VENV)/test-tools
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/built $(VENV)/bench-tools
	$(BIN)/python -m pytest benchmarks --quiet --benchmark-quiet

# Two guards: instructions are exact but need valgrind and a known compiler, ratios wander but hold anywhere.
bench-guard: bench-guard-instructions bench-guard-ratios

bench-guard-instructions: $(VENV)/built $(VENV)/bench-tools
	$(BIN)/python benchmarks/instructions.py

bench-guard-ratios: $(VENV)/built $(VENV)/bench-tools
	$(BIN)/python -m pytest benchmarks/guard_*.py --quiet

bench-guard-record: $(VENV)/built $(VENV)/bench-tools
	$(BIN)/python benchmarks/instructions.py --record

bench-report: $(VENV)/built $(VENV)/bench-tools
	$(BIN)/python benchmarks/report.py

bench-soak: $(VENV)/built $(VENV)/bench-tools
	$(BIN)/python benchmarks/soak.py

fuzz: $(VENV)/built
	$(BIN)/python -m pip install --quiet --group fuzz
	$(BIN)/python tests/fuzz/run.py --seconds $(or $(SECONDS),60)

sanitize: $(VENV)/built $(VENV)/test-tools
	PYTHON=$(CURDIR)/$(BIN)/python sh tests/sanitize.sh

sdist: $(VENV)/test-tools
	$(BIN)/python -m pip install --quiet build
	PYTHON=$(CURDIR)/$(BIN)/python sh tests/outside.sh

clean:
	rm -rf build dist *.egg-info .nox $(VENV)
	find xep419 -name '*.so' -delete
