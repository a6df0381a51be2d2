# Everything happens in .venv, with the versions of constraints.txt.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt
JOBS ?= 2

.PHONY: quickstart test test-slurm test-opencl check lint types arrows docs install install-test clean

quickstart: install        ## run the quickstart suite and print its table
	$(BIN)/prosebench run --suite quickstart --dir runs/quickstart

test: check                ## lint, types, arrows and all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist worksteal

test-slurm: install-test   ## tests on a real SLURM cluster that they start on this machine; needs root, uses apt
	$(PIP) --editable '.[test,cluster]'
	packages=$$($(BIN)/python -c 'from tests.slurm.lab import PACKAGES; print(PACKAGES)'); \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! dpkg -s $$packages >/dev/null 2>&1; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$packages; \
	fi
	PATH="$(abspath $(BIN)):$$PATH" PROSEBENCH_TEST_SLURM=1 OMP_NUM_THREADS=1 \
	  $(BIN)/python -m pytest tests/slurm -v -s --durations=0 --durations-min=5 --maxfail=3

test-opencl: install-test  ## tests of OpenMM's OpenCL platform, on this machine's CPU through PoCL; needs root, uses apt
	packages="ocl-icd-libopencl1 pocl-opencl-icd"; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null && ! dpkg -s $$packages >/dev/null 2>&1; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$packages; \
	fi
	PROSEBENCH_TEST_OPENCL=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/opencl tests/prosebench/energy/test_openmm.py -v -s

check: lint types arrows   ## the fast part: lint, types, arrows

lint: install-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: install-test
	$(BIN)/mypy

arrows: install-test
	$(BIN)/lint-imports

docs: install              ## the documentation: make its tables and pictures again, then build site/index.html
	$(PIP) --editable '.[docs]'
	OMP_NUM_THREADS=1 $(BIN)/python docs/make.py
	PYTHONPATH=. NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict  # with --quiet it would count no warnings
	@echo "built site/index.html"

install: $(VENV)/installed
install-test: $(VENV)/installed-test

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; assert sys.version_info >= (3, 11), f"prosebench needs Python >= 3.11, this is {sys.version}"'
	$(PYTHON) -m venv $(VENV) || { echo "on Debian: apt-get install python3-venv"; exit 1; }

$(VENV)/installed: pyproject.toml constraints.txt setup.py $(wildcard $(addsuffix /*.[ch]*,prosebench/energy/native prosebench/transport)) | $(VENV)/bin/python
	$(PIP) --editable .
	touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(PIP) --editable '.[test,docs]'
	touch $@

clean:                     ## remove what make has made, but no results
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
