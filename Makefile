# Each target sets up what it needs: a virtual environment in .venv with the
# pinned requirements and this package.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
# The tests run side by side; threads of one would only wait for those of another.
PYTEST := TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=-1 TF_NUM_INTRAOP_THREADS=1 \
  TF_NUM_INTEROP_THREADS=1 OMP_NUM_THREADS=1 \
  $(RUN) -m pytest -q -n auto --maxprocesses 4 --dist loadfile \
  --no-loadscope-reorder

.PHONY: beam demo test lint docs browser format build-files benchmark clean

demo: $(VENV)/run.stamp
	$(RUN) -m advance_tf demo

# The tests, then the examples in the docstrings.
test: lint docs browser beam
	$(PYTEST)
	$(PYTEST) --doctest-modules advance_tf

lint: $(VENV)/dev.stamp
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

# The documentation site, in site/; any warning is an error.
docs: $(VENV)/dev.stamp
	NO_MKDOCS_2_WARNING=1 $(RUN) -m mkdocs build --strict

# The pages are tested in Debian's Chromium; without it these tests are skipped.
browser:
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null || \
	if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
	    --no-install-recommends chromium chromium-driver >/dev/null; \
	else \
	  echo "no Chromium here: the tests of the pages in a browser are skipped"; \
	fi

# The pipelines of Apache Beam, which needs older packages: in an environment of its own.
beam: .venv-beam/stamp
	TF_CPP_MIN_LOG_LEVEL=3 .venv-beam/bin/python -m pytest -q tests/beam

.venv-beam/stamp: requirements-beam.txt
	$(PYTHON) -m venv .venv-beam
	.venv-beam/bin/python -m pip install -q -r requirements-beam.txt
	touch $@

format: $(VENV)/dev.stamp
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

build-files: $(VENV)/dev.stamp
	$(RUN) -m tests.build_rules

benchmark: $(VENV)/dev.stamp
	$(RUN) -m pip install -q -e '.[benchmark]'
	$(RUN) -m benchmarks.input_pipeline

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "advance_tf needs Python 3.10 or newer; give one with PYTHON=…"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
	  { rm -rf $(VENV); echo "Python's venv module is missing; on Debian: apt-get install python3-venv"; exit 1; }
	$(RUN) -m pip install -q --upgrade pip

$(VENV)/run.stamp: requirements.txt pyproject.toml | $(VENV)/bin/python
	$(RUN) -m pip install -q -r requirements.txt
	$(RUN) -m pip install -q --no-deps -e .
	touch $@

$(VENV)/dev.stamp: requirements-dev.txt $(VENV)/run.stamp
	$(RUN) -m pip install -q -r requirements-dev.txt
	touch $@

clean:
	rm -rf $(VENV) .venv-beam demo build dist site
