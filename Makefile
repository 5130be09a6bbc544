# Each target does the set-up that it needs on a bare Debian 12 machine. `setup`, `demo`, `test`, `install` and
# `uninstall` want root; none of them starts a service or touches the network that the machine is on.

VENV := .venv
RUN := $(VENV)/bin/python -m pytest
PREFIX ?= /opt/atoll
BINDIR ?= /usr/local/bin
STATEDIR ?= /var/lib/atoll
DESTDIR ?=
FACTOR ?= 20
SEED := $(or $(SEED),$(shell od -An -N4 -tu4 /dev/urandom | tr -d ' '))
PURGE ?= 0
export PREFIX BINDIR STATEDIR DESTDIR PURGE
export ATOLL_PEERS ?= $(CURDIR)/.peers

.DEFAULT_GOAL := help
.PHONY: help setup demo test soak fuzz check bench bench-deps golden docs lock install uninstall clean

help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r name text; do \
		printf '  make %-10s %s\n' "$$name" "$$text"; done

setup: $(VENV)/run.stamp ## Install what atoll needs and leave .venv/bin/atoll

demo: setup ## Show networks, NAT and published ports on hosts made of namespaces
	$(VENV)/bin/atoll demo

test: $(VENV)/dev.stamp ## Run all tests; one that is skipped has failed
	scripts/packages test
	scripts/peers
	$(RUN) -n 2 --dist loadfile tests --ignore=tests/soak

soak: $(VENV)/dev.stamp ## Run what takes minutes: networks of 1,500 sandboxes, daemons killed at every point
	scripts/packages test
	$(RUN) -s tests/soak

fuzz: $(VENV)/dev.stamp ## Send a daemon nonsense for minutes, by new seeds; SEED= repeats a run, FACTOR= is how much
	scripts/packages test
	@echo "seed $(SEED), factor $(FACTOR)"
	ATOLL_FUZZ=$(FACTOR) $(RUN) -s tests/fuzz -o timeout=1800 --hypothesis-seed=$(SEED)

check: $(VENV)/dev.stamp ## Run ruff, mypy --strict and the rules of the code base
	scripts/packages style
	$(RUN) tests/style

bench: bench-deps ## Write docs/benchmarks.md: everything measured beside the bare kernel and others; QUICK=1 for a glance
	$(VENV)/bin/python -m bench $(if $(QUICK),--effort quick,--effort full --write docs/benchmarks.md)

bench-deps: $(VENV)/dev.stamp ## Unpack what `make bench` compares with: Docker, CNI, netavark, iperf3
	scripts/packages bench
	scripts/peers

golden: $(VENV)/dev.stamp ## Write the expected outputs of tests/golden anew, to be read in `git diff`
	$(RUN) tests/golden --update-golden

docs: $(VENV)/run.stamp ## Write the documents that are generated: docs/cli.md
	$(VENV)/bin/python -m atoll.cli.reference >docs/cli.md

lock: ## Choose versions of the dependencies anew: requirements/*.txt
	scripts/lock

install: setup ## Install to PREFIX with the command, the systemd unit and shell completion
	scripts/install

uninstall: ## Remove what install made; PURGE=1 removes all networks and STATEDIR too
	scripts/uninstall

clean: ## Remove what was built and downloaded
	rm -rf $(VENV) .peers build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name .git -prune -o -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/run.stamp: requirements/lock.txt requirements/build.txt pyproject.toml scripts/venv
	scripts/packages demo
	scripts/venv requirements/lock.txt requirements/build.txt
	touch $@

$(VENV)/dev.stamp: $(VENV)/run.stamp requirements/dev.txt
	scripts/venv requirements/dev.txt
	touch $@
