# AUNet-on-Ray. `make help` lists the targets; each sets up what it needs, once.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
BIN := .venv/bin
UV := $(BIN)/uv
# Compiled once, here: where PYTHONDONTWRITEBYTECODE is set, as in many CI images, every process would do it again.
INSTALL := $(UV) pip install --quiet --compile-bytecode --python $(BIN)/python -c constraints.txt
COMPILE := $(BIN)/python -m compileall -q aunet pipelines jobs ops/aunet_ops tests
READY := .venv/.ready
DOCS_READY := .venv/.docs-ready
HOOKS_READY := .venv/.hooks-ready
FUZZ_READY := .venv/.fuzz-ready
BROWSER_READY := .venv/.browser-ready
FUZZ_SECONDS ?= 60
OPS_SOURCES := $(shell find ops -path ops/build -prune -o -type f \
	\( -name '*.toml' -o -name 'setup.py' -o -name 'build.py' -o -name '*.cpp' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh' \) -print 2>/dev/null)
CPP_SOURCES := $(shell find ops/csrc tests/ops -name '*.cpp' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh')
BENCHMARKS := benchmarks/roi_upsample.py benchmarks/fusion.py benchmarks/train_step.py benchmarks/preprocess.py benchmarks/ingest.py benchmarks/damage.py benchmarks/train_loop.py benchmarks/memory.py benchmarks/timm_layers.py benchmarks/serving.py
TEST_ARGS ?=

.PHONY: help demo weights test test-slow test-browser image-test certificate check check-format check-lint check-types check-spelling check-imports docs bench fuzz format hooks clean lock digests kind setup

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY)  ## the main job on generated scenes: data, training, evaluation, registered model, pictures
	@$(BIN)/python -m jobs run shapes_smoke

weights: $(READY)  ## the demo's model, trained if it is not yet, in build/weights for `predict --model`
	@$(BIN)/python -m jobs train shapes_smoke | tail -1 | \
		$(BIN)/python -c 'import json, sys; print(json.load(sys.stdin)["model_uri"])' > .venv/.weights
	@mkdir -p build && rm -rf build/weights && cp -r "$$(cat .venv/.weights)" build/weights && rm .venv/.weights
	@echo "weights: build/weights"

test: $(READY)  ## the test suite, in two processes (TEST_ARGS="tests/aunet -k fusion" narrows it)
	@$(COMPILE)
	@$(BIN)/python -m pytest -q -n 2 --max-worker-restart 0 --dist loadfile --no-loadscope-reorder $(TEST_ARGS)

test-slow: $(READY)  ## the tests that train for minutes; AUNET_SAMPLE_DATA names the folder of real images
	@$(COMPILE)
	@$(BIN)/python -m pytest -q -m slow $(TEST_ARGS)

test-browser: $(READY) $(BROWSER_READY)  ## the report in headless Chromium: keyboard, gallery, accessibility
	@command -v chromium chromium-browser google-chrome >/dev/null || \
		{ echo "no Chromium on this machine; on Debian: apt-get install chromium" >&2; exit 1; }
	@$(BIN)/python -m pytest -q tests/pipelines/pages/test_in_a_browser.py $(TEST_ARGS)

image-test: $(READY)  ## build the image with buildah and use it: root, a network, 30 GB, half an hour
	@AUNET_IMAGE_TEST=1 AUNET_IMAGE_RESULT=benchmarks/results/image.json \
		$(BIN)/python -m pytest -q -s -m slow tests/end_to_end/test_image.py

certificate: $(READY)  ## 43 faults, 200 interruptions, and a run without protections: hours, to benchmarks/results
	@$(BIN)/python benchmarks/certificate.py

check: check-format check-lint check-types check-spelling check-imports  ## format (Python and C++), lint, types, spelling, import direction, file sizes

check-format: $(READY)
	@$(BIN)/ruff format --check .
	@$(BIN)/clang-format --dry-run --Werror $(CPP_SOURCES)

check-lint: $(READY)
	@$(BIN)/ruff check .

check-types: $(READY)
	@$(BIN)/pyright

check-spelling: $(READY)
	@$(BIN)/codespell

check-imports: $(READY)
	@$(BIN)/python -m pytest -q tests/test_architecture.py

docs: $(DOCS_READY)  ## the documentation with an API reference, in build/site; a broken link fails
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "docs: build/site/index.html"

bench: $(READY)  ## measurements beside peers; each prints ratios and replaces its file in benchmarks/results
	@for file in $(BENCHMARKS); do echo "== $$file"; $(BIN)/python $$file; done

fuzz: $(READY) $(FUZZ_READY)  ## hostile input of every kind against the verbs, then FUZZ_SECONDS of random bytes for each reader
	@$(BIN)/python -m tests.hostile
	@for reader in annotations config manifest picture; do $(BIN)/python -m tests.fuzz $$reader $(FUZZ_SECONDS); done

format: $(READY)  ## format Python and C++, and fix what can be fixed
	@$(BIN)/ruff check --fix-only --quiet . ; $(BIN)/ruff format .
	@$(BIN)/clang-format -i $(CPP_SOURCES)

hooks: $(READY) $(HOOKS_READY)  ## from now on, check the files of every commit
	@$(BIN)/pre-commit install

clean:  ## remove caches and build products; keep .venv and the store
	@rm -rf build dist *.egg-info ops/build .pytest_cache .ruff_cache .hypothesis
	@find . -path ./.venv -prune -o -name __pycache__ -type d -print0 | xargs -0 rm -rf

lock: $(READY)  ## resolve constraints.txt again, to the newest versions that fit together, with their hashes
	@{ sed '/^[^#]/,$$d' constraints.txt; printf 'setuptools\nuv\n' | $(UV) pip compile -q --upgrade \
		--all-extras --group browser --group docs --group fuzz --group hooks --excludes <(echo aunet-ops) --fork-strategy fewest --universal \
		--python-version 3.11 --no-annotate --no-header --generate-hashes pyproject.toml -; } > constraints.new
	@mv constraints.new constraints.txt

digests:  ## pin the Dockerfile's base images to what their tags are today (needs docker and a network)
	@pin() { digest=$$(docker buildx imagetools inspect "$$2" --format '{{.Manifest.Digest}}'); \
		[[ $$digest =~ ^sha256:[0-9a-f]{64}$$ ]] || { echo "$$2: no digest" >&2; exit 1; }; \
		sed -i "s/^ARG $$1_DIGEST=.*/ARG $$1_DIGEST=$$digest/" Dockerfile; echo "$$2 $$digest"; }; \
	version() { sed -n "s/^ARG $$1_VERSION=//p" Dockerfile; }; \
	pin CUDA "nvidia/cuda:$$(version CUDA)-devel-ubuntu24.04"; \
	pin PYTHON "python:$$(version PYTHON)-slim"

kind:  ## a cluster of kind with KubeRay for shapes_smoke (needs docker, kind, helm, kubectl; this recipe has not been run)
	@kind create cluster --name aunet
	@helm repo add kuberay https://ray-project.github.io/kuberay-helm/ && helm repo update kuberay
	@helm install kuberay-operator kuberay/kuberay-operator --version 1.7.0 --wait
	@docker build -t aunet:kind . && kind load docker-image aunet:kind --name aunet
	@kubectl apply -k deploy/overlays/kind
	@echo "kind: next, AUNET_STORE=s3://… python -m jobs submit run shapes_smoke --target kuberay --wait \"
	@echo "  --cluster.namespace aunet --cluster.image aunet:kind"

setup: $(READY)  ## the virtual environment, pinned dependencies and the compiled operator, nothing else

# The virtual environment, and the installer for what goes into it. Both installers check the hashes in constraints.txt;
# pip accepts only requirements that carry theirs.
$(UV): constraints.txt
	@{ $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed; use, for example, make PYTHON=python3.12 …"; exit 1; }; \
	echo "set-up: virtual environment in .venv"; \
	[ -x $(BIN)/python ] || $(PYTHON) -m venv .venv; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes \
		-r <(sed -n '/^uv==/,/[^\\]$$/p' constraints.txt); } >&2
	@touch $@

# The command line, callable from any folder.
$(BIN)/aunet: jobs/aunet.sh | $(UV)
	@install -m 755 $< $@

# torch comes first, because the operator is compiled against it.
$(READY): pyproject.toml constraints.txt $(OPS_SOURCES) | $(UV) $(BIN)/aunet
	@{ echo "set-up: dependencies at pinned versions"; \
	$(INSTALL) --excludes <(echo aunet-ops) -r pyproject.toml --all-extras setuptools; \
	echo "set-up: operator"; \
	$(INSTALL) --no-build-isolation --no-deps -e ./ops; \
	$(BIN)/python ops/aunet_ops/build.py; \
	echo "set-up: done in $$SECONDS s"; } >&2
	@touch $@

# mkdocstrings reads the sources without importing them, so this needs neither torch nor the operator.
$(DOCS_READY): pyproject.toml constraints.txt | $(UV)
	@{ echo "set-up: documentation tools"; $(INSTALL) --group docs; } >&2
	@touch $@

$(FUZZ_READY): pyproject.toml constraints.txt | $(UV)
	@$(INSTALL) --group fuzz
	@touch $@

$(BROWSER_READY): pyproject.toml constraints.txt | $(UV)
	@$(INSTALL) --group browser
	@touch $@

$(HOOKS_READY): pyproject.toml constraints.txt | $(UV)
	@$(INSTALL) --group hooks
	@touch $@
