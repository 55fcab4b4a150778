PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
ARGS   ?=
CORES  ?= 2

.PHONY: help run test test-slow lint bench paper-in-miniature clean

help:  ## Show what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: $(VENV)/.installed  ## Set up, and run the default job (or: make run ARGS="seed=1 dataset.sentences=50")
	$(BIN)/python -m lf_experiments $(ARGS)

test: $(VENV)/.installed  ## Set up, and run the tests, except the slow ones, on so many cores (make test CORES=4)
	$(BIN)/python -m pytest -n $(CORES) --dist loadfile

test-slow: $(VENV)/.installed  ## Run the slow tests: they grow whole models and build environments
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/.installed  ## Check format and style
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

bench: $(VENV)/.installed  ## Measure what is claimed about speed and memory
	$(BIN)/python -m benchmarks

paper-in-miniature: $(VENV)/.installed  ## Every figure and table of the paper on the grown models, with one report of all
	$(BIN)/python -m lf_experiments experiment=paper_nano $(ARGS)

clean:  ## Remove the environment; grown models and captures stay in the cache
	rm -rf $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	PIP_CONSTRAINT=constraints.txt $(BIN)/pip install -qq -e '.[dev]'
	touch $@
