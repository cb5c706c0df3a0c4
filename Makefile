# Every target works from a cold clone: it needs Python 3.11 to 3.13, make, and a package index for pip.

# The first suitable interpreter; `make setup PYTHON=/path/to/python` names one.
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11; do \
	$$name -c '$(SUITABLE)' >/dev/null 2>&1 && echo $$name && exit; done; echo python3)
SUITABLE = import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))

VENV := .venv
BIN := $(VENV)/bin
# The platform's certificates, as pip uses them; no interpreter of uv's own.
UV := UV_SYSTEM_CERTS=1 UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy $(BIN)/uv --quiet
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

.PHONY: setup run test test-e2e test-others soak lint bench clean

setup: $(VENV)/.stamp

# pip brings uv, by hash; uv brings the rest, by hash, and removes what the lock does not name.
# Where uv cannot reach the index that pip is configured for, pip does all of it.
$(VENV)/.stamp: pyproject.toml requirements/uv.lock requirements/dev.lock
	@$(PYTHON) -c '$(SUITABLE)' || { \
		echo 'setup: Exeat needs Python 3.11, 3.12 or 3.13; this is' "$$($(PYTHON) --version 2>&1)." \
			'Name another with: make setup PYTHON=python3.11' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --require-hashes -r requirements/uv.lock
	$(UV) pip sync --python $(BIN)/python --require-hashes requirements/dev.lock \
		|| $(PIP) install --require-hashes -r requirements/dev.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

# The peers of the benchmark stay optional: without one, its row says so.
$(VENV)/.stamp-bench: $(VENV)/.stamp requirements/bench.lock
	$(UV) pip install --python $(BIN)/python --require-hashes -r requirements/bench.lock \
		|| $(PIP) install --require-hashes -r requirements/bench.lock \
		|| echo 'bench: the peers of requirements/bench.lock could not be installed; going on without them' >&2
	@touch $@

run: setup
	@$(BIN)/exeat up

# Two at a time, about as long as each other: tests of whole installations mostly wait, the others mostly compute. The
# cluster's tests make their own process a driver of Ray, which reads its token once in a process: they run alone in
# one, and last, when the installations are almost over.
test: setup
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=line test-e2e test-others

test-e2e: setup
	$(BIN)/python -m pytest -m 'not soak' tests/e2e

test-others: setup
	$(BIN)/python -m pytest -m 'not soak' --ignore tests/cluster --ignore tests/e2e
	$(BIN)/python -m pytest tests/cluster

# The soaks start whole installations of their own, kill their parts and wait for deadlines: about 8 minutes more.
soak: setup
	$(BIN)/python -m pytest -m soak

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: setup $(VENV)/.stamp-bench
	$(BIN)/python -m scripts.bench
	$(BIN)/python -m scripts.bench.propagation
	$(BIN)/python -m scripts.bench.redaction

# The home (.exeat) and the results of benchmarks are kept: they cannot be made again.
clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
