# Every recipe is one ordinary command that also works alone. Set-up happens once, in .venv.
PYTHON ?= python3
VENV ?= .venv
JOBS ?= 2
VIDEO ?=
CLIPS ?= demo/clip.mkv
RECIPE ?= intra-small
DATA ?= data
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install -c constraints.txt

.PHONY: demo test test-all lint types check bench train conformance clean

demo: $(VENV)/.bench  ## encode, verify, decode, compare with x264 and x265; VIDEO=path for a video of yours
	$(BIN)/python benchmarks/demo.py $(if $(VIDEO),"$(VIDEO)")

test: $(VENV)/.dev  ## the tests that need no more than a minute or two
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -n $(JOBS) -m "not slow"

test-all: $(VENV)/.dev  ## the slow ones too
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m pytest -n $(JOBS)

lint: $(VENV)/.dev  ## style, format, import rules between rooms, spelling
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports --no-cache && $(BIN)/codespell -L ans src tests benchmarks conformance docs *.md

types: $(VENV)/.dev  ## mypy, strict
	$(BIN)/mypy

check: lint types  ## everything that needs no run

bench: $(VENV)/.bench  ## CLIPS="a.mp4 b.mkv": ours against x264 and x265, with a plot
	mkdir -p out && $(BIN)/kinema bench $(CLIPS) --json out/bench.json --plot out/bench.png

train: $(VENV)/.bench  ## DATA=folder of videos or frames, RECIPE=name
	$(BIN)/kinema train $(RECIPE) --data $(DATA)

conformance: $(VENV)/.dev  ## the vectors that every version must decode alike
	$(BIN)/python conformance/count.py && $(BIN)/python -m pytest tests/test_conformance_*.py

clean:  ## remove what the other recipes made, the environment included
	rm -rf .venv demo out build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

$(VENV)/.made:
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV); touch $@

$(VENV)/.bench: $(VENV)/.made pyproject.toml constraints.txt
	$(INSTALL) -e '.[bench]' && touch $@

$(VENV)/.dev: $(VENV)/.made pyproject.toml constraints.txt
	$(INSTALL) -e '.[bench,dev]' && touch $@ $(VENV)/.bench
