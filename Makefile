# The two commands a new clone needs: `make run` and `make test`. See README.md.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ID ?= exp_001
# Two processes that take over each other's tests; the slowest tests are named at the end.
PYTEST := pytest -n 2 --dist worksteal --durations 25
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
unexport PYTHONDONTWRITEBYTECODE  # with it, each process would compile all of our code and tests anew

.PHONY: env run test test-fast test-cluster lint system-packages lock clean

env: $(VENV)/.ready  ## environment in .venv, every version as in requirements.lock

$(VENV)/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "Python 3.10 or newer is needed: make env PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	touch $@

run: env  ## sample data, one experiment from beginning to end, its record
	@git config user.email >/dev/null || { echo "git has no identity: commits of this clone will be by $$(id -un)"; \
	    git config user.name "$$(id -un)"; git config user.email "$$(id -un)@localhost"; }
	explicitlm sample-data
	dvc exp run --name $(ID) --set-param 'description="first run on the sample data"' \
	    --set-param use_swanlab=true --set-param swanlab_mode=offline --set-param swanlab_workspace=explicitlm
	explicitlm publish $(ID)
	cat experiments/records/$(ID).json
	# what only the memory bank knows (no training text says where Marin Harenko lives), then one fact rewritten
	explicitlm knowledge why $(ID) "Marin Harenko lives in"
	explicitlm knowledge edit $(ID) --find "Marin Harenko lives in" --object Silvhaven --as $(ID)_edited
	explicitlm generate $(ID)_edited "Marin Harenko lives in"

test: env system-packages  ## lint, then the whole test suite, fast tests first
	$(MAKE) --no-print-directory lint
	$(MAKE) --no-print-directory test-fast
	$(PYTEST) -m slow

test-fast: env  ## the tests that train nothing large and start no servers
	$(PYTEST) -m "not slow"

test-cluster: env system-packages  ## the cluster's story alone (part of `make test`): two hosts, Slurm, endings, documents
	$(PYTEST) tests/cluster tests/e2e/test_cluster_story.py tests/e2e/test_cluster_documents.py

lint: env  ## ruff and mypy
	ruff format --check .
	ruff check .
	mypy

# Debian packages that tests need: installed where it may be done, else the tests that need them say what to install.
system-packages:
	@scripts/system-packages

lock: env  ## writes requirements.lock anew (needs uv); torch's own CUDA packages are left to torch, which pins them
	scripts/lock

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
