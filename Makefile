# `make` lists the targets. Each does its own set-up, which takes a second once it is done.
VENV ?= .venv
PY := $(VENV)/bin/python
# nproc takes OMP_NUM_THREADS=1, which batch systems set, for a machine of one core.
CORES := $(shell env -u OMP_NUM_THREADS -u OMP_THREAD_LIMIT nproc 2>/dev/null || echo 1)
# A test process imports PyTorch and OpenMMLab, 1 GB each; past four the imports cost more than they save.
WORKERS ?= $(shell [ $(CORES) -gt 4 ] && echo 4 || echo $(CORES))
ARGS ?=
IMAGE ?= rtx
SHELL_FILES := .ci/run $(wildcard tools/*.sh docker/*.sh docker/bin/*)

export VENV
.PHONY: help install demo test lint types docs unit test-slow format docker clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: ## .venv with everything at the versions of constraints.txt (15 min the first time, 1 s after)
	@tools/install.sh

demo: install ## train, transfer and evaluate on rendered scenes: P, mPC, rPC (10 min, no download, no GPU)
	@$(PY) -m rtx.cli.main demo $(ARGS)

test: lint types docs unit ## lint, types, docs, tests: what CI runs (about 20 min on 2 cores)

lint: install
	@echo "== lint"
	@$(VENV)/bin/ruff check
	@$(VENV)/bin/shellcheck $(SHELL_FILES)
	@$(VENV)/bin/hadolint docker/Dockerfile

types: install
	@echo "== types"
	@$(VENV)/bin/mypy

docs: install ## the site in .site, from docs/ and the docstrings; a broken link is an error
	@echo "== docs"
	@NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict --quiet

# One run, so that PyTorch is imported and the tests are collected once; one thread a process, as they run side by side.
unit: install ## the default tests and the slow ones that CI runs, and the slowest twenty of them
	@echo "== tests"
	@OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(PY) -m pytest -m "not gpu and not net and (not slow or ci)" \
		-n $(WORKERS) --dist worksteal --durations=20 $(ARGS)

test-slow: install ## the tests that take minutes
	@OMP_NUM_THREADS=$(CORES) $(PY) -m pytest -m slow $(ARGS)

format: install
	@$(VENV)/bin/ruff format $(ARGS)
	@$(VENV)/bin/ruff check --fix $(ARGS)

docker: ## the image for GPU nodes; docker/README.md has the arguments
	docker build -f docker/Dockerfile -t $(IMAGE) $(ARGS) .

clean: ## remove .venv, builds and caches; runs, weights, data and the compiled mmcv stay
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
