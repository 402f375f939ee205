# Two cores and no GPU are enough for every target.
#   make demo    run the demo study and write runs/demo/report.html
#   make test    run all tests           make lint    ruff and mypy
#   make docs    build the guides and the reference into site/ (no network needed)
#   make lab     open the notebook       make clean   remove .venv (runs/ stays)
#   make classroom       pages of the demo and of the lessons for a class, served on its network
#   make classroom-live  the app for a class, with one model for all
# TORCH chooses the builds of torch and torchvision, which must be a pair, for example:
#   make demo TORCH='torch==2.9.1 torchvision==0.24.1'
PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch==2.14.1 torchvision==0.29.1
JOBS ?= 2

# Threads sleep while they wait for each other (workbench/threads.py), whatever is imported first.
export OMP_WAIT_POLICY ?= PASSIVE

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check

.PHONY: help setup setup-dev setup-classroom demo test test-browser lint docs lab classroom classroom-live clean
.DELETE_ON_ERROR:

help:
	@sed -n '1,/^PYTHON/{s/^# *//p}' Makefile

setup: $(VENV)/.stamp-core
setup-dev: $(VENV)/.stamp-dev
setup-classroom: $(VENV)/.stamp-classroom

$(VENV)/.stamp-venv:
	@command -v $(PYTHON) >/dev/null || \
	  { echo "No $(PYTHON) found. Install Python 3.11 or newer, or say: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "The workbench needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1)." \
	         "Say: make PYTHON=/path/to/a/newer/python3"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { echo "$(PYTHON) could not make a virtual environment (on Debian and Ubuntu: apt install python3-venv)."; exit 1; }
	@touch $@

# torch first and by name: the user's own pip settings decide between a CPU and a GPU build,
# and nothing after it asks for another one.
$(VENV)/.stamp-torch: $(VENV)/.stamp-venv
	@echo "Setting up $(VENV): this downloads torch and takes a few minutes, once."
	$(PIP) install $(TORCH)
	@touch $@

$(VENV)/.stamp-core: pyproject.toml $(VENV)/.stamp-torch
	$(PIP) install --editable .
	@touch $@

$(VENV)/.stamp-dev: pyproject.toml $(VENV)/.stamp-core
	$(PIP) install --editable ".[dwpose,docs,dev,cluster,classroom]"
	@touch $@

$(VENV)/.stamp-classroom: pyproject.toml $(VENV)/.stamp-core
	$(PIP) install --editable ".[classroom]"
	@touch $@

demo: setup
	$(BIN)/workbench run demo
	$(BIN)/workbench report runs/demo

# One thread for each worker: two workers with two threads each would fight for two cores. The
# lesson on training takes two steps only.
test: setup-dev
	WORKBENCH_SHORT_LESSONS=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m "not browser" --nbmake tests notebooks
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --doctest-modules $$(grep -rl '>>>' workbench --include='*.py')
	$(BIN)/python -m pytest -m browser tests/browser

test-browser: setup-dev
	$(BIN)/python -m pytest -m browser tests/browser

lint: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: setup-dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# LAB takes options of JupyterLab, as a server needs: make lab LAB='--no-browser --ip=0.0.0.0'.
# As root, which containers and rented machines are, it refuses to start unless it is told to.
lab: setup
	$(BIN)/jupyter lab $(if $(filter 0,$(shell id -u)),--allow-root) $(LAB) notebooks/workbench.ipynb

# The lessons are run once, which takes some minutes; RUNS takes run folders of your own.
RUNS ?= runs/demo
classroom: setup-classroom
	$(if $(filter runs/demo,$(RUNS)),$(BIN)/workbench run demo)
	$(BIN)/workbench classroom $(RUNS) $(addprefix --lesson ,$(wildcard notebooks/lesson_*.ipynb))

classroom-live: setup-classroom
	$(BIN)/workbench classroom-live

clean:
	rm -rf $(VENV)
