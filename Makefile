# `make demo` and `make test` do their own set-up; nothing but Python >= 3.11 and make is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
BENCH := .venv-bench

.PHONY: demo test bench setup clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c "import sys; sys.exit('speechasym needs Python 3.11 or newer: make PYTHON=python3.11' if sys.version_info < (3, 11) else 0)"
	@echo "Setting up $(VENV): about 2 minutes, 5 GB (torch)."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test,synth,cluster]'
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt praat-parselmouth \
	  || echo "praat-parselmouth does not install here: tests against Praat will be skipped"
	@{ command -v chromium-headless-shell || command -v chromium || command -v google-chrome; } \
	  > /dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null && \
	  apt-get update -qq && apt-get install -qq -y --no-install-recommends \
	  chromium-headless-shell > /dev/null; } \
	  || echo "no headless Chromium here: two tests of the report will be skipped"
	@touch $(READY)

demo: $(READY)
	@SPEECHASYM=$(BIN)/speechasym bash recipes/mini/run.sh out/mini

test: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

# The packages compared with live in a folder of their own, on top of the tested ones.
bench: $(READY)
	@test -e $(BENCH)/.ready || { $(BIN)/python -m venv $(BENCH) && \
	  $(BIN)/python -c "import site; print(site.getsitepackages()[0])" \
	    > $$(echo $(BENCH)/lib/python3*/site-packages)/tested.pth && \
	  for package in $$(cat benchmarks/requirements.txt); do \
	    $(BENCH)/bin/python -m pip install --quiet --constraint constraints.txt $$package \
	    || echo "$$package does not install here; its row will say so"; \
	  done; touch $(BENCH)/.ready; }
	PYTHONPATH=. $(BENCH)/bin/python benchmarks/bench.py --out docs/benchmarks.md

clean:
	rm -rf $(VENV) $(BENCH) out
