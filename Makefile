# AUNet-on-Ray. `make help` lists what there is; demo, test, check and bench set up what they need, once.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
OPS_SOURCES := $(shell find ops -path ops/build -prune -o -type f \
	\( -name '*.toml' -o -name 'setup.py' -o -name 'build.py' -o -name '*.cpp' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh' \) -print 2>/dev/null)
BENCHMARKS := benchmarks/roi_upsample.py benchmarks/fusion.py benchmarks/train_step.py benchmarks/ingest.py benchmarks/damage.py
TEST_ARGS ?=

.PHONY: help demo test test-slow check check-format check-lint check-types check-spelling check-imports bench format clean lock setup

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY)  ## the main job on generated scenes: data, training, evaluation, registered model, pictures
	@$(BIN)/python -m jobs run shapes_smoke

test: $(READY)  ## the test suite, in two processes (TEST_ARGS="tests/aunet -k fusion" narrows it)
	@$(BIN)/python -m pytest -q -n 2 $(TEST_ARGS)

test-slow: $(READY)  ## the tests that train for minutes; AUNET_SAMPLE_DATA names the real images
	@$(BIN)/python -m pytest -q -m slow $(TEST_ARGS)

check: check-format check-lint check-types check-spelling check-imports  ## format, lint, types, spelling, import direction, file sizes

check-format: $(READY)
	@$(BIN)/ruff format --check .

check-lint: $(READY)
	@$(BIN)/ruff check .

check-types: $(READY)
	@$(BIN)/pyright

check-spelling: $(READY)
	@$(BIN)/codespell

check-imports: $(READY)
	@$(BIN)/python -m pytest -q tests/test_architecture.py

bench: $(READY)  ## measurements side by side with peers; each prints ratios
	@for file in $(BENCHMARKS); do echo "== $$file"; $(BIN)/python $$file; done

format: $(READY)  ## let ruff format and mend what it can
	@$(BIN)/ruff check --fix-only --quiet . ; $(BIN)/ruff format .

clean:  ## remove caches and build products; .venv and the store stay
	@rm -rf build dist *.egg-info ops/build .pytest_cache .ruff_cache .hypothesis
	@find . -path ./.venv -prune -o -name __pycache__ -type d -print0 | xargs -0 rm -rf

lock: $(READY)  ## resolve constraints.txt anew, to the newest versions that fit together
	@{ sed '/^[^#]/,$$d' constraints.txt; printf 'setuptools\nuv\n' | $(BIN)/uv pip compile -q --upgrade --all-extras \
		--fork-strategy fewest --excludes <(echo aunet-ops) --universal --python-version 3.11 --no-annotate --no-header pyproject.toml -; } > constraints.new
	@mv constraints.new constraints.txt

setup: $(READY)  ## the virtual environment, pinned dependencies and the compiled operator, nothing else

# One rule sets up everything. torch comes first, because the operator is compiled against it.
$(READY): pyproject.toml constraints.txt $(OPS_SOURCES)
	@{ $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; name one: make PYTHON=python3.12 …"; exit 1; }; \
	echo "set-up: virtual environment in .venv"; \
	[ -x $(BIN)/python ] || $(PYTHON) -m venv .venv; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv; \
	echo "set-up: dependencies at pinned versions"; \
	$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt \
		--excludes <(echo aunet-ops) -r pyproject.toml --all-extras setuptools; \
	if [ -f ops/pyproject.toml ]; then echo "set-up: operator"; \
		$(BIN)/uv pip install --quiet --python $(BIN)/python --no-build-isolation --no-deps -e ./ops; fi; \
	echo "set-up: done in $$SECONDS s"; } >&2
	@touch $@
