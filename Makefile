# The project's chores. `make demo` and `make test` need nothing but Python 3.11 or newer, git and make.

VENV   := .venv
BIN    := $(VENV)/bin
PAGE   := $(shell find static/src static/build.mjs static/package.json static/package-lock.json trio_cpvm/messages -type f)
PYTEST := $(BIN)/python -m pytest

.PHONY: help demo test format lint types layers unit real soak bench systemvm systemvm-test page screenshots dist clean

help:
	@echo "make demo     start an embedded VNC server and the proxy, print the URL to open"
	@echo "make test     install what the tests need and run all of them"
	@echo "make format   format the code"
	@echo "make unit     the tests that need no other programs"
	@echo "make real     the tests against QEMU, Xvnc and real browsers"
	@echo "make soak     50,000 short sessions at one daemon, its memory watched: ten minutes or so"
	@echo "make bench    compare with websockify and with no proxy: a quarter of an hour (QUICK=1: three minutes)"
	@echo "make systemvm       build the system VM: an ISO that patches one, and a disk image that boots"
	@echo "make systemvm-test  boot it, patch it, break it"
	@echo "make page     build the console page"
	@echo "make screenshots  take the pictures of the documentation anew"
	@echo "make dist     build wheel and source distribution into dist/"
	@echo "make clean    remove everything that was built"

demo: $(VENV)/.installed
	@exec $(BIN)/trio-cpvm demo

test: lint types unit real systemvm-test

$(VENV)/bin/python:
	tools/setup.sh venv $(VENV)

$(VENV)/.installed: pyproject.toml hatch_build.py $(PAGE) | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	$(BIN)/python -m compileall -q trio_cpvm  # as pip does for all but editable installations
	touch $@

$(VENV)/.installed-tests: pyproject.toml $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@

# libvirt-python is built here, with what tools/setup.sh peers brings.
$(VENV)/.installed-libvirt: pyproject.toml $(VENV)/.installed-tests
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[test,libvirt]'
	touch $@

format: $(VENV)/.installed-tests
	$(BIN)/ruff check --fix --quiet . || true
	$(BIN)/ruff format --quiet .

lint: $(VENV)/.installed-tests
	$(BIN)/ruff format --check --quiet . || { echo "run: make format"; exit 1; }
	$(BIN)/ruff check --quiet .
	$(BIN)/python tools/check_newsfragments.py

types: $(VENV)/.installed-tests
	$(BIN)/mypy
	$(BIN)/python hatch_build.py --check-types

unit: $(VENV)/.installed-tests
	$(PYTEST) -n 2 -m "not real and not browser and not systemvm"

real: $(VENV)/.installed-tests
	tools/setup.sh peers
	$(BIN)/python hatch_build.py --for-tests
	@$(MAKE) --no-print-directory $(VENV)/.installed-libvirt
	tools/real_tests.sh $(BIN)/python

systemvm: $(VENV)/.installed-tests
	tools/setup.sh systemvm
	PYTHON=$(CURDIR)/$(BIN)/python systemvm/build image

systemvm-test: systemvm
	tools/setup.sh peers
	rm -f build/systemvm/figures.txt
	$(PYTEST) -n 2 --dist loadfile -o faulthandler_timeout=600 -m systemvm tests/real; status=$$?; cat build/systemvm/figures.txt; exit $$status

soak: $(VENV)/.installed-tests
	CHURN_SESSIONS=50000 $(PYTEST) -s -o faulthandler_timeout=0 tests/real/test_churn.py

$(VENV)/.installed-bench: pyproject.toml $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	touch $@

# More options: `python -m benchmarks --help`.
bench: $(VENV)/.installed-bench
	tools/setup.sh bench
	$(BIN)/python -m benchmarks $(if $(QUICK),--quick) $(if $(ONLY),--only '$(ONLY)')

page: $(VENV)/.installed

screenshots: $(VENV)/.installed-tests
	$(BIN)/python tools/screenshots.py

dist: $(VENV)/.installed-tests
	$(BIN)/python -m hatchling build

clean:
	rm -rf $(VENV) build dist trio_cpvm/_page static/node_modules .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
