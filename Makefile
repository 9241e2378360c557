# Everything runs in .venv, made from the pinned versions in constraints.txt.
PYTHON ?= python3.11
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: help setup demo test lint check bench bench-accuracy soak bench-alerts bench-removal bench-finetuning bench-scale bench-mosaics bench-daemon bench-training clean

help:  ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/'

setup: $(STAMP)  ## make .venv and install the pinned dependencies

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[dev]"
	@touch $@

demo: $(STAMP)  ## a virtual incubator, watched by the real daemon
	$(BIN)/colonywatch demo --dir demo

test: $(STAMP)  ## run the tests
	$(BIN)/python -m pytest

lint: $(STAMP)  ## ruff, mypy, import contracts
	$(BIN)/ruff check monitor model tests
	$(BIN)/ruff format --check monitor model tests
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test  ## lint, then the tests

bench: $(STAMP)  ## speed, beside the machine's limit and beside others
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[bench]"
	# Cellpose pins a numpy of its own; its network alone needs none of what it pins.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps "cellpose==3.1.1.2"
	$(BIN)/colonywatch benchmark speed

bench-accuracy: $(STAMP)  ## the pmf-CNN beside its rivals; hours, resumable; writes docs/accuracy.md
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[bench]"
	$(BIN)/colonywatch benchmark accuracy --report docs

soak: $(STAMP)  ## kill the daemon, fill its disk, lock its database, take its folder away; count what is left
	$(BIN)/python -m tests.soak --kills 300

bench-alerts: $(STAMP)  ## how late and how often wrongly alerts come, on simulated series; writes docs/alerts.md
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.bench.alerts

bench-removal: $(STAMP)  ## how safely plans remove, on simulated dishes; writes docs/removal.md
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[bench]"
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.bench.removal

bench-finetuning: $(STAMP)  ## what a lab's own few fields give; half an hour; writes docs/fine-tuning.md
	$(BIN)/python -m tests.bench.finetuning

bench-scale: $(STAMP)  ## a record of five years: its size and how fast it answers; 4 GB of disk in /tmp
	OMP_NUM_THREADS=1 nice $(BIN)/python -m tests.bench.history_scale

bench-mosaics: $(STAMP)  ## how time and memory grow with a picture, up to 400 megapixels
	$(BIN)/python -m tests.bench.mosaics

bench-daemon: $(STAMP)  ## what the daemon itself costs: start, idle, captures a minute, a burst of 5,000
	$(BIN)/python -m tests.bench.daemon

bench-training: $(STAMP)  ## how long training takes, beside DynUNet
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[bench]"
	$(BIN)/python -m tests.bench.training

clean:  ## remove what was made here
	rm -rf .venv demo build dist
