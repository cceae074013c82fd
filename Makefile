# `make demo` and `make test` do their own set-up; nothing but Python >= 3.11 and make is needed.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
TESTED := $(VENV)/.tested
DOCUMENTED := $(VENV)/.documented
BENCH := .venv-bench
PIP := $(BIN)/python -m pip install --quiet --constraint constraints.txt
# An index with builds of torch for CPUs alone (pytorch.org, "Compute Platform: CPU").
TORCH_INDEX ?=

.PHONY: demo test test-scale docs bench setup clean

setup: $(TESTED)

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c "import sys; sys.exit('speechasym needs Python 3.11 or newer: make PYTHON=python3.11' if sys.version_info < (3, 11) else 0)"
	@$(PYTHON) -m venv $(VENV)
	@if [ -n "$(TORCH_INDEX)" ]; then \
	  echo "Setting up $(VENV): about 2 minutes, 1.3 GB with torch for CPUs."; \
	  $(PIP) --retries 1 --no-deps --index-url "$(TORCH_INDEX)" torch torchaudio 2> /dev/null \
	    || echo "No torch that fits constraints.txt at $(TORCH_INDEX): installing the usual 5 GB."; \
	else \
	  echo "Setting up $(VENV): about 2 minutes, 5 GB (torch with CUDA)."; \
	  nvidia-smi > /dev/null 2>&1 || echo "There is no GPU here, so torch for CPUs would do, 1.3 GB in all:" \
	    "interrupt, and add TORCH_INDEX=URL to make, with the CPU index that pytorch.org names."; \
	fi
	@$(PIP) --editable '.[synth]'
	@touch $(READY)

# What only tests need. A headless Chromium is installed only by root, only with apt, and said first.
$(TESTED): $(READY)
	@$(PIP) --editable '.[test,synth,cluster,tables]'
	@$(PIP) praat-parselmouth \
	  || echo "praat-parselmouth does not install here: tests against Praat will be skipped"
	@{ command -v chromium-headless-shell || command -v chromium || command -v google-chrome; } \
	  > /dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null && \
	  echo "Installing chromium-headless-shell with apt-get, for two tests of the report." && \
	  apt-get update -qq && apt-get install -qq -y --no-install-recommends \
	  chromium-headless-shell > /dev/null; } \
	  || echo "no headless Chromium here: two tests of the report will be skipped"
	@touch $(TESTED)

demo: $(READY)
	@SPEECHASYM=$(BIN)/speechasym bash recipes/mini/run.sh out/mini

test: $(TESTED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@$(BIN)/python scripts/compile_kernels.py & $(BIN)/mypy; code=$$?; wait; exit $$code
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# The site, out/docs/index.html: every example runs, warnings and dead links are errors.
$(DOCUMENTED): $(TESTED)
	@$(PIP) --editable '.[docs,onnx]'
	@touch $(DOCUMENTED)

docs: $(DOCUMENTED)
	SLOW_EXAMPLES=1 $(BIN)/python -m pytest -n 2 --dist loadfile tests/test_reference.py \
	  tests/test_docs_examples.py tests/test_readme.py tests/test_site.py
	rm -rf out/docs
	$(BIN)/python -m sphinx -c docs -d out/docs-cache . out/docs --fail-on-warning --keep-going --quiet
	$(BIN)/python scripts/check_site.py out/docs

# The recipes on stand-ins of whole corpora; see CONTRIBUTING.md for what it needs.
test-scale: $(TESTED)
	SPEECHASYM=$(CURDIR)/$(BIN)/speechasym PYTHON=$(CURDIR)/$(BIN)/python bash scripts/scale_check.sh

# The packages compared with live in a folder of their own, on top of the tested ones.
bench: $(TESTED)
	@test -e $(BENCH)/.ready || { $(BIN)/python -m venv $(BENCH) && \
	  $(BIN)/python -c "import site; print(site.getsitepackages()[0])" \
	    > $$(echo $(BENCH)/lib/python3*/site-packages)/tested.pth && \
	  for package in $$(cat benchmarks/requirements.txt); do \
	    $(BENCH)/bin/python -m pip install --quiet --constraint constraints.txt $$package \
	    || echo "$$package does not install here; its row will say so"; \
	  done; touch $(BENCH)/.ready; }
	PYTHONPATH=. $(BENCH)/bin/python benchmarks/bench.py --out docs/benchmarks.md
	$(BIN)/python scripts/fill_figures.py

clean:
	rm -rf $(VENV) $(BENCH) out docs/api docs/gallery
