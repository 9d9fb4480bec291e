# `make run` on a bare machine: Python >= 3.11, pip and make are all it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RAW ?= data/raw
LAKE ?= data/lake
# More words for `itememb run`: make run ARGS='--set seed=1'.
ARGS ?=
EVENTS ?= 1000000 10000000
# pip takes torch, as its own settings have it (a mirror's small CPU build, say); uv is three times
# as fast with all that is left, but knows nothing of those settings: where it finds no index, pip
# goes on. Compiling what is never imported takes half of pip's time; Python compiles the rest.
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --no-compile -c constraints.txt
UV := $(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt
# Files go to the two processes in the order that conftest gives them: the longest first.
SIDE_BY_SIDE := -n 2 --dist loadfile --no-loadscope-reorder
export DAGSTER_HOME ?= $(CURDIR)/.dagster
# Without bytecode every process compiles Dagster anew, which takes seconds; the folder is ours.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: run test test-all ui lint docs bench bench-scale clean

$(BIN)/itememb: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch uv
	$(UV) -e '.[demo]' || $(PIP) -e '.[demo]'
	@touch $@

$(VENV)/dev: $(BIN)/itememb
	$(UV) -e '.[demo,dev]' || $(PIP) -e '.[demo,dev]'
	@touch $@

$(VENV)/all: $(VENV)/dev
	$(UV) -e '.[demo,dev,browser,spark,docs,dg,text]' || $(PIP) -e '.[demo,dev,browser,spark,docs,dg,text]'
	@touch $@

$(RAW)/users.pq: | $(BIN)/itememb
	$(BIN)/itememb demo $(RAW)

run: $(BIN)/itememb $(RAW)/users.pq
	$(BIN)/itememb run --raw $(RAW) --lake $(LAKE) $(ARGS)

test: $(VENV)/dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not slow" tests

test-all: $(VENV)/all test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(SIDE_BY_SIDE) -m slow tests

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

ui: $(BIN)/itememb
	ITEMEMB_RAW=$(RAW) ITEMEMB_LAKE=$(LAKE) $(BIN)/itememb ui

$(VENV)/docs: $(BIN)/itememb
	$(UV) -e '.[docs]' || $(PIP) -e '.[docs]'
	@touch $@

# docs/tables.md, docs/graph.svg and .png from the code, and the API reference in docs/api.
docs: $(VENV)/docs
	$(BIN)/python -m docs.make

$(VENV)/bench: $(BIN)/itememb
	$(UV) -e '.[demo,bench]' || $(PIP) -e '.[demo,bench]'
	@touch $@

bench: $(VENV)/bench run
	$(BIN)/python -m tests.bench.demo_truth $(LAKE) $(RAW)_truth.parquet
	$(BIN)/python -m tests.bench.item_peers $(LAKE)
	$(BIN)/python -m tests.bench.item_rate
	$(BIN)/python -m tests.bench.copurchase
	$(BIN)/python -m tests.bench.days $(RAW) data/bench

bench-scale: $(BIN)/itememb
	$(BIN)/python -m tests.bench.scale data/bench $(EVENTS)

clean:
	rm -rf data .dagster
