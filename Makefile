# SPDX-License-Identifier: Apache-2.0

.DEFAULT_GOAL := help
.PHONY: help setup test test-vm conformance fuzz reliability lint demo bench bench-setup clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*##  *\(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

setup:  ## install what is missing (as root) and make .venv
	@.ci/setup

test:  ## set up, then run the tests; ARGS="-k filter" is handed to pytest
	@.ci/setup strace tmux less pkg-config libdpdk-dev
	@.venv/bin/pytest $(ARGS)

test-vm:  ## the tests on Debian's kernel in QEMU, for hooks that this kernel may lack; ARGS as for test
	@.ci/setup qemu-system-x86 kmod
	@tests/vm/boot --timeout 1800 -- .venv/bin/pytest -p no:cacheprovider tests/vm $(ARGS)

conformance: setup  ## every expression, on packets in every state, against libpcap (as root, a few minutes)
	@.venv/bin/python tests/conformance/run.py $(ARGS)

fuzz: setup  ## programs made at random, and damaged ones, up to the kernel (as root, about twenty minutes)
	@.venv/bin/python tests/fuzz/run.py $(ARGS)

reliability:  ## killed, stopped, the disk full, a million packets: promises under load (as root, a quarter of an hour)
	@.ci/setup gcc libc6-dev tmux
	@.venv/bin/python tests/reliability/run.py $(ARGS)

lint: setup  ## ruff, mypy and import-linter
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy --strict xcapscript
	@.venv/bin/lint-imports --no-logo

demo: setup  ## capture real drops between two network namespaces (as root)
	@examples/demo/run

bench-setup:  ## setup, and what the benchmarks compare with and drive traffic with
	@.ci/setup bpftrace

bench: setup  ## how to run the benchmarks
	@echo 'As root, on a quiet machine: make bench-setup, then each of'
	@printf '    .venv/bin/python %s\n' $(filter-out %/common.py %/floods.py,$(wildcard benchmarks/*.py))

clean:  ## remove all that set-up, tests and tools made here
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
