PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
ARGS   ?=
CORES  ?= 2

COMMAND_LINE_TESTS := $(addprefix tests/,test_config.py test_checkpoints_of_hydra.py test_main.py test_mode.py test_multirun.py test_reference.py)

.PHONY: help run test test-slow test-gpu test-hydra-pre lint docs bench paper-in-miniature dist site version clean

help:  ## Show what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 22

run: $(VENV)/.installed  ## Set up, and run the default job (or: make run ARGS="seed=1 dataset.sentences=50")
	$(BIN)/python -m lf_experiments $(ARGS)

test: $(VENV)/.installed  ## Set up, and run the tests, except the slow ones, on so many cores (make test CORES=4)
	$(BIN)/python -m pytest -n $(CORES) --dist loadfile

test-slow: $(VENV)/.installed  ## Run the slow tests, on so many cores: they grow whole models and build environments
	$(BIN)/python -m pytest -m slow -n $(CORES) --dist loadfile --no-loadscope-reorder

test-gpu: $(VENV)/.installed  ## Run the tests that need a GPU
	LF_EXPERIMENTS_TEST_GPU=1 $(BIN)/python -m pytest -m gpu

test-hydra-pre:  ## Run the tests of the command line with the next Hydra, in an environment of its own; they may fail
	$(PYTHON) -m venv $(VENV)-hydra-pre
	PIP_CONSTRAINT=constraints.txt $(VENV)-hydra-pre/bin/pip install -qq -e '.[dev]'
	$(VENV)-hydra-pre/bin/pip install -qq --pre --upgrade hydra-core
	$(VENV)-hydra-pre/bin/python -m pytest -n $(CORES) --dist loadfile $(COMMAND_LINE_TESTS)

lint: $(VENV)/.installed  ## Check format, style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

docs: $(VENV)/.installed  ## Write docs/configuration.md from the schema
	$(BIN)/python -m lf_experiments.config.reference > docs/configuration.md

bench: $(VENV)/.installed  ## Measure what is claimed about speed and memory
	$(BIN)/python -m benchmarks

paper-in-miniature: $(VENV)/.installed  ## Every figure and table of the paper on the grown models, with one report of all
	$(BIN)/python -m lf_experiments experiment=paper_nano $(ARGS)

dist: $(VENV)/.installed  ## Build the wheel and the source archive into dist/
	$(BIN)/pip install -qq build
	$(BIN)/python -m build --outdir dist

site: $(VENV)/.site-installed  ## Build the documentation site from docs/ into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

version:  ## Print the version of the package
	@sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml

clean:  ## Remove the environment and the site; grown models and captures stay in the cache
	rm -rf $(VENV) $(VENV)-hydra-pre site

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	PIP_CONSTRAINT=constraints.txt $(BIN)/pip install -qq -e '.[dev]'
	touch $@

$(VENV)/.site-installed: $(VENV)/.installed
	PIP_CONSTRAINT=constraints.txt $(BIN)/pip install -qq -e '.[docs]'
	touch $@
