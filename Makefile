# Everything runs in .venv, made from the pinned versions in constraints.txt.
# PYTHON        the Python to use; else the first from 3.11 up that is here and can make environments
# TORCH_INDEX_URL  a package index handed to pip for torch alone, such as that of torch's CPU builds
#               (https://pytorch.org/get-started/locally names it); else torch comes as all others do
PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3.14 python3; do \
    $$python -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
    && echo $$python && break; done)
# TEST_JOBS     tests that run at a time; auto: one for each core
TEST_JOBS ?= auto
BIN := .venv/bin
# Tests that are run on PostgreSQL, too.
ON_POSTGRES := tests/monitor/record tests/monitor/test_pipeline.py tests/monitor/commands/test_on_postgres.py
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# The program with what it needs to run, and that with what tests and lint need.
BASE := .venv/.base
STAMP := .venv/.development
# Opentrons' own package, which runs protocols in the tests; it needs other versions than ours.
SIMULATORS := .venv-opentrons/.installed

.PHONY: help setup demo simulators test lint check installed pins licences dist docs sbom hashes vulnerabilities bench bench-accuracy soak bench-alerts bench-removal bench-finetuning bench-scale bench-pixel-size bench-mosaics bench-daemon bench-pages accessibility fuzz bench-start bench-training clean

help:  ## what can be made
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/'

setup: $(STAMP)  ## make .venv and install the pinned dependencies

$(BASE): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "no Python from 3.11 up with venv here: apt install python3 python3-venv, or make PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(if $(TORCH_INDEX_URL),$(PIP) --no-deps --index-url "$(TORCH_INDEX_URL)" torch)
	$(PIP) --editable .
	@touch $@

$(STAMP): $(BASE)
	$(PIP) --editable ".[dev]"
	@touch $@

demo: $(BASE)  ## a virtual incubator, watched by the real daemon
	$(BIN)/colonywatch demo --dir demo

# Without it the tests that need it say so and are skipped.
simulators: $(SIMULATORS)  ## make .venv-opentrons, where Opentrons' package runs protocols for the tests

$(SIMULATORS): tests/opentrons.txt
	-$(PYTHON) -m venv .venv-opentrons \
	    && .venv-opentrons/bin/python -m pip install --quiet --disable-pip-version-check --requirement tests/opentrons.txt \
	    && touch $@

test: $(STAMP) $(SIMULATORS)  ## run the tests, as many at a time as there are cores; what keeps the record once more on PostgreSQL
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(TEST_JOBS) --dist loadfile
	OMP_NUM_THREADS=1 $(BIN)/python -m tools.postgres --if-there $(BIN)/python -m pytest -n $(TEST_JOBS) --dist loadfile $(ON_POSTGRES)

lint: $(STAMP)  ## ruff, mypy, import contracts, declared and pinned dependencies, bandit
	$(BIN)/ruff check monitor model tests tools
	$(BIN)/ruff format --check monitor model tests tools
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/deptry monitor model
	$(BIN)/bandit --quiet --configfile pyproject.toml --recursive monitor model 2>/dev/null
	$(BIN)/python -m tools.dependencies

check: lint test  ## lint, then the tests

# twine has an environment of its own: nobody needs it to work on the program.
DIST ?= dist
dist:  ## the source archive, the wheel made from it, and what an index would say of both
	$(PYTHON) -m venv .venv-dist
	.venv-dist/bin/python -m pip install --quiet --disable-pip-version-check "build==1.6.1" "twine==7.0.0"
	.venv-dist/bin/python -m build --outdir "$(DIST)" . >/dev/null
	.venv-dist/bin/python -m twine check --strict "$(DIST)"/colonywatch-*

installed: $(STAMP)  ## the wheel alone, in an empty environment: every command's --help, a demo to its alert
	PYTHON="$(PYTHON)" TORCH_INDEX_URL="$(TORCH_INDEX_URL)" .ci/installed

pins: $(STAMP)  ## do the pinned versions resolve for each Python that is promised? asks the package index
	$(BIN)/python -m pytest -m pins

licences: $(STAMP)  ## what every package that a plain installation brings is licensed under
	$(BIN)/python -m tools.licences

docs: $(STAMP)  ## the documentation as pages, for `colonywatch serve` and for the wheel; warnings are errors
	OMP_NUM_THREADS=1 $(BIN)/python -m tools.help

sbom: $(STAMP)  ## the software bill of materials of a plain installation (CycloneDX): dist/sbom.cdx.json
	$(BIN)/python -m tools.sbom dist/sbom.cdx.json

# uv and pip-audit have an environment of their own: neither is needed to work on the program.
AUDIT := .venv-audit/.installed
$(AUDIT):
	$(PYTHON) -m venv .venv-audit
	.venv-audit/bin/python -m pip install --quiet --disable-pip-version-check "uv==0.13.9" "pip-audit==2.10.1"
	@touch $@

hashes: $(STAMP) $(AUDIT)  ## requirements.lock anew: the files of each pinned package; asks the package index
	$(BIN)/python -m tools.dependencies --write .venv-audit/bin/uv

vulnerabilities: $(AUDIT)  ## are weaknesses known in the pinned packages? asks the advisory database of PyPI
	.venv-audit/bin/pip-audit --requirement requirements.lock --require-hashes --disable-pip --strict

bench: $(STAMP)  ## speed, beside the machine's limit and beside others
	$(PIP) --editable ".[bench]"
	# Cellpose pins a numpy of its own; its network alone needs none of what it pins.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps "cellpose==3.1.1.2"
	$(BIN)/colonywatch benchmark speed

bench-accuracy: $(STAMP)  ## the pmf-CNN beside its rivals; hours, resumable; writes docs/accuracy.md
	$(PIP) --editable ".[bench]"
	$(BIN)/colonywatch benchmark accuracy --report docs

soak: $(STAMP)  ## kill the daemon, fill its disk, lock its database, take its folder away; count what is left
	$(BIN)/python -m tools.soak --kills 300

bench-alerts: $(STAMP)  ## how late and how often wrongly alerts come, on simulated series; writes docs/alerts.md
	OMP_NUM_THREADS=1 $(BIN)/python -m tools.bench.alerts

bench-removal: $(STAMP)  ## how safely plans remove, on simulated dishes; writes docs/removal.md
	$(PIP) --editable ".[bench]"
	OMP_NUM_THREADS=1 $(BIN)/python -m tools.bench.removal

bench-finetuning: $(STAMP)  ## what a lab's own few fields give; half an hour; writes docs/fine-tuning.md
	$(BIN)/python -m tools.bench.finetuning

bench-scale: $(STAMP)  ## a record of five years: its size and how fast it answers; 4 GB of disk in /tmp
	OMP_NUM_THREADS=1 nice $(BIN)/python -m tools.bench.history_scale

bench-pixel-size: $(STAMP)  ## what it costs not to know the pixel size, on real fields; half an hour
	OMP_NUM_THREADS=1 nice $(BIN)/python -m tools.bench.pixel_size

bench-mosaics: $(STAMP)  ## how time and memory grow with a picture, up to 400 megapixels
	$(BIN)/python -m tools.bench.mosaics

bench-daemon: $(STAMP)  ## what the daemon itself costs: start, idle, captures a minute, a burst of 5,000
	$(BIN)/python -m tools.bench.daemon

.PHONY: profile
profile: $(STAMP)  ## where the processor's time goes, of a capture of a megapixel and of a small one
	OMP_NUM_THREADS=1 $(BIN)/python -m tools.bench.profile
	OMP_NUM_THREADS=1 $(BIN)/python -m tools.bench.profile --side 96 --captures 60

bench-pages: $(STAMP)  ## how fast pages are with 400 dishes and 4 million readings, beside a checkout of another build: make bench-pages FORMER=../before
	OMP_NUM_THREADS=1 $(BIN)/python -m tools.bench.pages $(if $(FORMER),--former $(FORMER))

accessibility:  ## axe-core over each page of a running dashboard in Chromium, with pictures of them: make accessibility URL=http://127.0.0.1:8470
	cd tools/accessibility && npm ci --silent --no-audit --no-fund && node look.mjs $(or $(URL),$(error name the dashboard: make accessibility URL=http://127.0.0.1:8470)) pictures

fuzz: $(STAMP)  ## 100 random requests for each address of the API, beside its description
	API_FUZZ=100 $(BIN)/python -m pytest tests/monitor/outlets/dashboard/api -k fuzz

bench-start: $(STAMP)  ## what it costs to call a command, beside a checkout of another build: make bench-start FORMER=../before
	$(BIN)/python -m tools.bench.start $(or $(FORMER),$(error name the other build: make bench-start FORMER=FOLDER))

# FORMER        a commit; its checkout, with an environment of its own, is kept in .former
FORMER_COMMIT := $(if $(FORMER),$(FORMER),7586752)
.PHONY: bench-before
bench-before: $(STAMP)  ## what a former commit's build and this one cost, side by side; BENCH="--only network,field"
	test -d .former || git worktree add --detach .former $(FORMER_COMMIT)
	$(MAKE) -C .former setup TORCH_INDEX_URL="$(TORCH_INDEX_URL)" PYTHON="$(PYTHON)"
	OMP_NUM_THREADS=1 $(BIN)/python -m tools.bench.before .former $(BENCH)

bench-training: $(STAMP)  ## how long training takes, beside DynUNet
	$(PIP) --editable ".[bench]"
	$(BIN)/python -m tools.bench.training

clean:  ## remove what was made here
	rm -rf .venv .venv-audit .venv-dist .venv-opentrons demo build dist
