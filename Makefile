# QuantStream. `make` or `make help` lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV ?= .venv
BIN := $(VENV)/bin
INSTALL_LOG := $(VENV)/install.log
# The interpreter for a new environment: python3 if it will do, else a newer one beside it. Choose with PYTHON=...
PYTHON ?=
WANTED := 3.11, 3.12 or 3.13
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))
UV ?= $(shell command -v uv 2>/dev/null)

.PHONY: help
help: ## this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "  make up PYTHON=python3.12      choose the interpreter (Python $(WANTED))"
	@echo "  $(BIN)/quantstream --help   everything else"

.PHONY: up
up: environment ## start the whole platform, and wait for its first minute
	@$(BIN)/quantstream up

.PHONY: down
down: environment ## stop what `make up` started; its state stays
	@$(BIN)/quantstream down

.PHONY: status
status: environment ## how it does
	@$(BIN)/quantstream status

.PHONY: clean
clean: environment ## stop it and remove its state (asks; YES=1 does not ask)
	@$(BIN)/quantstream clean $(if $(YES),--yes)

# As many as there are processors: some tests hold the platform to a time.
WORKERS ?= 2

.PHONY: test
test: environment ## lint, types, SQL lint, and all tests
	@$(MAKE) --no-print-directory --jobs=2 lint types
	@$(BIN)/python -m pytest --numprocesses=$(WORKERS) --dist=loadgroup --no-loadscope-reorder

.PHONY: lint
lint: environment ## ruff, its formatter and sqlfluff, changing nothing
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/sqlfluff lint --disable-progress-bar dbt

.PHONY: types
types: environment ## mypy, strict, over include/ and plugins/
	@$(BIN)/mypy

.PHONY: format
format: environment ## let ruff mend and format, and sqlfluff fix
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .
	@$(BIN)/sqlfluff fix --disable-progress-bar dbt

.PHONY: hooks
hooks: environment ## check each commit (pre-commit)
	@$(BIN)/pre-commit install

.PHONY: requirements
requirements: ## compile requirements.in to requirements.txt (needs uv)
	@test -n "$(UV)" || { echo "This needs uv on the PATH (or UV=/path/to/uv): it resolves for all supported Pythons at once." >&2; exit 2; }
	@$(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-strip-extras \
	    --custom-compile-command "make requirements" --output-file requirements.txt requirements.in

# `environment` makes the environment anew when it is not of these requirements. All of pip's or uv's words go to the log.
# What runs from the old one is stopped before: its modules would be gone from under it. Its state stays.
.PHONY: environment
environment:
	@cmp -s requirements.txt $(VENV)/requirements.txt || $(MAKE) --file $(firstword $(MAKEFILE_LIST)) new-environment

.PHONY: new-environment
new-environment:
	@for candidate in $(or $(PYTHON),python3 python3.13 python3.12 python3.11); do \
	    if "$$candidate" -c '$(FITS)' 2>/dev/null; then python=$$candidate; break; fi; \
	done; \
	if [ -z "$${python:-}" ]; then \
	    found=$$($(or $(PYTHON),python3) --version 2>/dev/null) || found="no $(or $(PYTHON),python3)"; \
	    echo "QuantStream needs Python $(WANTED); here is $$found." >&2; \
	    echo "Install one of these and name it, for example: make up PYTHON=python3.12" >&2; \
	    exit 2; \
	fi; \
	if [ -x $(BIN)/quantstream ]; then $(BIN)/quantstream down || true; fi; \
	echo "Making $(VENV) with $$("$$python" --version) and $(if $(UV),uv,pip); a minute or two (log: $(INSTALL_LOG)) ..."; \
	rm -rf $(VENV); mkdir -p $(VENV); \
	if ! { $(NEW_ENVIRONMENT); } >>$(INSTALL_LOG) 2>&1; then \
	    echo "It could not be made. The end of $(INSTALL_LOG):" >&2; tail -n 15 $(INSTALL_LOG) >&2; exit 1; \
	fi; \
	cp requirements.txt $(VENV)/requirements.txt; \
	echo "Made $(VENV) in $$SECONDS s."

# The file lists everything, so nothing is resolved here (pip cannot resolve extras and check hashes at the same time).
ifneq ($(UV),)
NEW_ENVIRONMENT = $(UV) venv --allow-existing --python "$$python" $(VENV) \
	&& $(UV) pip install --python $(BIN)/python --no-deps --require-hashes -r requirements.txt \
	&& $(UV) pip install --python $(BIN)/python --no-deps --no-build-isolation -e .
else
NEW_ENVIRONMENT = "$$python" -m venv $(VENV) \
	&& $(BIN)/python -m pip install --disable-pip-version-check --no-deps --require-hashes -r requirements.txt \
	&& $(BIN)/python -m pip install --disable-pip-version-check --no-deps --no-build-isolation -e .
endif

.DEFAULT:
	@echo "make: there is no target '$@'. These exist:" >&2
	@$(MAKE) --file $(firstword $(MAKEFILE_LIST)) help >&2
	@exit 2
