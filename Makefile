# Needs only Python 3.10 or later and make. Everything is installed into .venv, once; the tests' ministack, which pins
# botocore, into .venv-ministack, and what drives the browser of `make test-e2e` into .venv-browser.
# Paths are relative, so that a checkout in a path with a space works.

PYTHON ?= python3
BIN := .venv/bin

# $(call needs,command,package): installed where it is missing. A new machine has no list of packages, an old one a
# list whose packages are gone; services of a package are not started, where it has any.
needs = PATH="$$PATH:/usr/sbin" command -v $(1) >/dev/null || { apt-get update -qq && RUNLEVEL=1 apt-get install -y -qq $(2); } || \
	{ echo '$(1) is needed, as a command: install $(2) with the package manager' >&2; exit 1; }

.PHONY: help install demo rehearsal ui test test-poolers test-e2e torture hosts mutants application-items lint check audit format bench bench-partitions bench-scale lock clean

help:  ## say what can be made
	@sed -n 's/^\([a-z0-9-]*\):.*##/\1\t/p' Makefile | expand -t 10

.venv/installed: deploy/constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo 'Python 3.10 or later is needed: make PYTHON=/path/to/python3 ...' >&2; exit 1; }
	@echo 'Installing into .venv (once; a minute or two) ...'
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r deploy/constraints.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch .venv/installed

.venv-ministack/installed: deploy/ministack-constraints.txt | .venv/installed
	@echo 'Installing into .venv-ministack (once) ...'
	@$(PYTHON) -m venv .venv-ministack
	@.venv-ministack/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

.venv-browser/installed: deploy/browser-constraints.txt | .venv/installed
	@echo 'Installing into .venv-browser (once) ...'
	@$(PYTHON) -m venv .venv-browser
	@.venv-browser/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

install: .venv/installed  ## install imgmig into .venv
	@echo 'The command is $(BIN)/imgmig'

demo: .venv/installed  ## migrate 15,432 images in a sandbox, verify them, write the report
	@$(BIN)/imgmig demo

rehearsal: .venv/installed  ## rehearse a migration of stage staging, while an application writes
	@$(BIN)/imgmig rehearse

ui: .venv/installed  ## start the sandbox and Dagster's UI on 127.0.0.1
	@$(BIN)/imgmig ui

test: .venv/installed .venv-ministack/installed  ## run the tests, on a real PostgreSQL and real HTTP servers
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile --ignore=imgmig_dagster_tests/poolers

test-poolers: .venv/installed .venv-ministack/installed  ## read through PgBouncer and pgpool-II, beside an application
	@$(call needs,pgbouncer,pgbouncer)
	@$(call needs,pgpool,pgpool2)
	@$(BIN)/python -m pytest -q imgmig_dagster_tests/poolers

torture: .venv/installed .venv-ministack/installed  ## kill 120 passes at every point: make torture ARGUMENTS="--kills 300 --seed 2"
	@$(BIN)/python -m imgmig_dagster_tests.torture $(ARGUMENTS)

hosts: .venv/installed .venv-ministack/installed  ## spread a backfill over three hosts, kill one, cut one off (5 to 15 minutes; needs root)
	@$(call needs,ip,iproute2)
	@$(call needs,redis-server,redis-server)
	@$(BIN)/python -m imgmig_dagster_tests.hosts

.venv-mutants/installed: deploy/mutants-constraints.txt | .venv/installed
	@echo 'Installing into .venv-mutants (once) ...'
	@rm -rf .venv-mutants
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --target .venv-mutants -r $<
	@touch $@

# Not an environment but a layer over .venv, whose versions its lock file follows: the mutants need what the tests need.
mutants: .venv/installed .venv-mutants/installed  ## let mutants of the mapping loose on its tests (5 minutes)
	@rm -rf mutants
	@PYTHONPATH=.venv-mutants $(BIN)/python -m mutmut run --max-children 2
	@PYTHONPATH=.venv-mutants $(BIN)/python -m mutmut results

application-items: .venv/installed  ## record what the application's own writer writes (needs Node and npm)
	@cd imgmig_dagster_tests/application && npm ci --ignore-scripts --no-audit --no-fund --silent
	@$(BIN)/python -m imgmig_dagster_tests.application.writer

test-e2e: .venv/installed .venv-browser/installed  ## use the UI and the reports in Chromium; leaves screenshots in .pages
	@$(call needs,chromium,chromium)
	@rm -rf .pages
	@$(BIN)/python -m imgmig_dagster_tests.browser.sample_pages .pages
	@.venv-browser/bin/python -m pytest -q --confcutdir=imgmig_dagster_tests/browser imgmig_dagster_tests/browser \
		--pages .pages --imgmig $(BIN)/imgmig

lint: .venv/installed  ## check style, security and types
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/bandit -q -c pyproject.toml -r imgmig_dagster benchmarks recheck
	@$(BIN)/mypy

check: .venv/installed  ## load each stage's definitions as Dagster does, and list them
	@for stage in staging prod dev; do STAGE=$$stage $(BIN)/dg check defs || exit 1; done
	@$(BIN)/dg list defs

# Strict, since a package that the service does not know would otherwise count as one without a vulnerability.
audit:  ## ask PyPI for known vulnerabilities of the locked dependencies (needs pip-audit)
	pip-audit --strict --disable-pip --require-hashes -r deploy/constraints.txt

format: .venv/installed  ## format the code
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

bench: .venv/installed .venv-ministack/installed  ## measure, and write docs/benchmarks.md
	@$(BIN)/python -m benchmarks --before $(BEFORE)

# The last commit with a run per partition.
BEFORE ?= 60b23e2
bench-partitions: .venv/installed  ## measure what a partition costs, beside the commit BEFORE
	@$(BIN)/python -m benchmarks --only command partitions daily demo backfill --before $(BEFORE)

bench-scale: .venv/installed  ## migrate 10,000,000 rows beside 1,000,000, verify and certify them (an hour or two, 30 GB of disk)
	@$(BIN)/python -m benchmarks.large

COMPILE := uv pip compile --universal --python-version 3.10 --generate-hashes --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links --no-strip-extras --upgrade

lock:  ## resolve the dependencies again (needs uv)
	$(COMPILE) pyproject.toml --extra sandbox --extra celery --extra metrics --extra dev -o deploy/constraints.txt
	echo ministack | $(COMPILE) - -o deploy/ministack-constraints.txt
	echo mutmut | $(COMPILE) - -c deploy/constraints.txt -o deploy/mutants-constraints.txt
	printf 'anyio\nplaywright\npytest\n' | $(COMPILE) - -o deploy/browser-constraints.txt

clean:  ## stop the sandbox, and remove it and .venv
	@if [ -x $(BIN)/imgmig ]; then $(BIN)/imgmig sandbox delete --yes; fi
	@rm -rf .venv .venv-ministack .venv-mutants .venv-browser mutants .pages .hosts
	@rm -rf .imgmig .mypy_cache .pytest_cache .ruff_cache .hypothesis
