# make demo and make test work on a fresh clone: each first builds .venv under constraints.txt, the
# demo with what it needs itself, the others with all that tests and checks need.
# Another interpreter:            make test PYTHON=python3.12
# Further arguments for pip:      make test PIP_ARGS="--index-url ..."
# Further arguments for pytest:   make test PYTEST_ARGS="tests/photo -x"
# Test processes, 3 GiB each:     make test JOBS=4
# The tests marked slow too:      make test MARKS=

PYTHON ?= python3
VENV ?= .venv
PIP_ARGS ?=
PYTEST_ARGS ?=
WHEEL_ARGS ?=
JOBS ?= 2
MARKS ?= not slow

BIN = $(VENV)/bin
DEMO_READY = $(VENV)/installed-demo
READY = $(VENV)/installed
DEMO = $(BIN)/python examples/demo.py

.PHONY: help demo test test-app test-chain fuzz wheel-check docs lint types format clean

help:
	@echo "make demo        edit a real photo; the result goes to out/"
	@echo "make test        run the tests"
	@echo "make test-app    run the tests of the web page in Chromium"
	@echo "make test-chain  train every part for a step, on drawn faces"
	@echo "make fuzz        read 20,000 damaged files, inject faults; docs/RELIABILITY.md says what came"
	@echo "make wheel-check build the wheel, and run the demo from it in an empty environment"
	@echo "make docs        build the documentation; it goes to out/site/"
	@echo "make lint        check style and formatting"
	@echo "make types       check types"
	@echo "make format      rewrite the code in the project's format"
	@echo "make clean       remove .venv, caches and out/"

demo: $(DEMO_READY)
	$(DEMO)

test: $(READY)
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m "$(MARKS)" $(PYTEST_ARGS)

# Without Chromium these are skipped, with the command that installs it.
test-app: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) \
		-c constraints.txt playwright
	SFE_TEST_APP=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile tests/browser -rs $(PYTEST_ARGS)

# runs/tiny_cpu.sh, one step a phase: from a zip of images to an edited photo.
test-chain: $(READY)
	rm -rf out/chain && mkdir -p out/chain
	$(BIN)/python tests/drawn_faces.py out/chain/faces.zip
	COLUMN=Smiling SCALE=0 PYTHON=$(BIN)/python bash runs/tiny_cpu.sh out/chain/faces.zip out/chain/runs
	test -s out/chain/runs/edited.png && test -s out/chain/runs/strip.png

# Some minutes of one core. `make test` runs a small part of it.
fuzz: $(READY)
	$(BIN)/python tests/fuzz/run.py

# Dependencies are lent by .venv; with WHEEL_ARGS=--install pip fetches them.
wheel-check: $(READY)
	$(BIN)/python .ci/wheel_check.py --pip "$(PIP_ARGS)" $(WHEEL_ARGS)

# Builds offline; a broken link fails.
docs: $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) \
		-c constraints.txt -e '.[docs]'
	$(BIN)/python docs/site/cli_page.py docs/cli.md
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

lint: $(READY)
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .

types: $(READY)
	$(BIN)/python -m mypy

format: $(READY)
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

# The file holds a checksum of what was installed, so a newer date alone installs nothing. Python
# compiles what it imports: compiling all of torch beforehand takes a minute.
define install
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null || { \
		echo "Python 3.10 or newer is needed, and '$(PYTHON)' is not that:" \
			"name one that is, as in 'make test PYTHON=python3.12'."; exit 1; }
	@sum=$$(cat pyproject.toml constraints.txt | cksum); \
	if [ "$$(cat $@ 2>/dev/null)" != "$$sum" ]; then \
		$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || exit 1; \
		echo "Installing into $(VENV); this takes a minute or two."; \
		$(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check $(PIP_ARGS) \
			-c constraints.txt -e '.[$(1)]' || exit 1; \
		echo "$$sum" > $@; \
	fi; \
	touch $@
endef

$(DEMO_READY): pyproject.toml constraints.txt
	$(call install,demo)

$(READY): pyproject.toml constraints.txt
	$(call install,dev)
	@cp $@ $(DEMO_READY)

clean:
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist out
	find src tests -name __pycache__ -type d -prune -exec rm -rf {} +
