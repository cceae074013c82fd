# `make demo` and `make test` do their own set-up; nothing but Python >= 3.11 and make is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test bench setup clean

setup: $(READY)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c "import sys; sys.exit('speechasym needs Python 3.11 or newer: make PYTHON=python3.11' if sys.version_info < (3, 11) else 0)"
	@echo "Setting up $(VENV): about 2 minutes, 5 GB (torch)."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[test]'
	@touch $(READY)

demo: $(READY)
	@$(BIN)/python scripts/demo.py

test: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

# The comparison packages live in a folder of their own: they must not change what is tested.
bench: $(READY)
	@test -e $(VENV)-bench/.ready || ( $(BIN)/python -m venv $(VENV)-bench \
	  && $(BIN)/python -c "import site; print(site.getsitepackages()[0])" \
	     > $$($(VENV)-bench/bin/python -c "import site; print(site.getsitepackages()[0])")/speechasym.pth \
	  && cat pyproject.toml > /dev/null )
	@for package in $$(cat benchmarks/requirements.txt); do \
	  $(VENV)-bench/bin/python -m pip install --quiet --constraint constraints.txt $$package \
	  || echo "$$package does not install here: its row says so"; done; touch $(VENV)-bench/.ready
	$(VENV)-bench/bin/python benchmarks/bench.py --out docs/benchmarks.md

clean:
	rm -rf $(VENV) $(VENV)-bench out
