# Works with GNU make 3.81 and a POSIX shell. `make` alone lists what there is.

PROFILE ?= reasoning_gym
OUTCOMES ?=
PRICES  ?=
RIGHT_FROM ?=
# Only from the command line: some shells export a PROMPT of their own.
PROMPT  :=
MODELS  ?=
METHODS ?=
NOTEBOOKS ?=
FORMAT  ?= own
POOL    ?=
METHOD  ?=
ENCODER_NAME ?=
NAMES   ?=
ALLOW_PICKLE ?=
ENCODER ?=
DEVICE  ?=
PYTHON  ?=

VENV := .venv
PY   := $(VENV)/bin/python

# The stamp's name holds a checksum of what was asked for and where, so that no file times are compared: a changed
# lock, a changed pyproject or a moved folder asks for another stamp.
STAMP := $(VENV)/.installed-$(shell { cat requirements.lock pyproject.toml; pwd; } | cksum | cut -d' ' -f1)

RUN_OPTIONS = --profile "$(PROFILE)" $(if $(OUTCOMES),--outcomes "$(OUTCOMES)") $(if $(PRICES),--prices "$(PRICES)") $(if $(RIGHT_FROM),--right-from "$(RIGHT_FROM)") $(if $(PROMPT),--prompt "$$PROMPT") $(if $(MODELS),--models "$(MODELS)") $(if $(METHODS),--methods "$(METHODS)") $(if $(ENCODER),--encoder "$(ENCODER)") $(if $(DEVICE),--device "$(DEVICE)")
ONLY = $(if $(NOTEBOOKS),--notebooks "$(NOTEBOOKS)")

# No packages of the user's home, and string hashes that repeat.
export PYTHONNOUSERSITE := 1
export PYTHONHASHSEED := 0
# The kernel `python3` is the one of .venv, also where the home holds another of that name.
export JUPYTER_PLATFORM_DIRS := 1
export JUPYTER_PREFER_ENV_PATH := 1
unexport PYTHONPATH PYTHONHOME
# The shell takes it from the environment as it stands: it holds quotes, braces and line ends.
export PROMPT

.DEFAULT_GOAL := help
.PHONY: help env reproduce accept smoke verify lint test bench site export lab collect audit clean

help: ## This list
	@echo "Targets:"
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' Makefile
	@echo "Variables:"
	@echo "  PROFILE=reasoning_gym   a profile of config/, or the path of a YAML file"
	@echo "  OUTCOMES=       a table of your own instead of a profile: question, model, isCorrect, output_tokens"
	@echo "  PRICES=         its models' prices per million tokens, a YAML file"
	@echo "  RIGHT_FROM=0.5  from which grade on an answer of that table is right"
	@echo "  PROMPT=         joins columns of that table to the prompt: PROMPT='{context} {question}'"
	@echo "  MODELS=a,b      the models of that table to keep; says which columns of a wide one are models"
	@echo "  METHODS=a,b     the methods to train (paper among them); results get folders of their own"
	@echo "  NOTEBOOKS=12,13 only these notebooks of make reproduce; those before them must have run"
	@echo "  ENCODER=        another encoder than the profile's; its results get folders of their own"
	@echo "  FORMAT= POOL= METHOD= NAMES= ENCODER_NAME= ALLOW_PICKLE=1   of make export, see docs/formats.md"
	@echo "  DEVICE=         auto, cpu, mps, cuda or cuda:N"
	@echo "  PYTHON=         the Python (3.11 or newer) that .venv is made with"

env: $(STAMP) ## Make .venv with the versions of requirements.lock (again when they change)

reproduce: env ## Run the notebooks of PROFILE and compare with results/; unchanged ones are skipped
	@$(PY) -m prefill_router.run.reproduce $(RUN_OPTIONS) $(ONLY)

accept: env ## The same, and write all of the run into results/ and figures/
	@$(PY) -m prefill_router.run.reproduce --accept $(RUN_OPTIONS) $(ONLY)

smoke: env ## The whole path on a small part of the data, in a minute or two
	@$(PY) -m prefill_router.run.reproduce --profile smoke $(if $(DEVICE),--device "$(DEVICE)")

verify: env ## Run PROFILE from a clean build and compare every number with results/
	@$(PY) -m prefill_router.run.verify --profile "$(PROFILE)" $(if $(DEVICE),--device "$(DEVICE)")

lint: env ## Check formatting, style, and notebooks without outputs
	@$(PY) -m ruff format --check --quiet lib tests benchmarks || { echo "error: run $(PY) -m ruff format lib tests benchmarks" >&2; exit 1; }
	@$(PY) -m ruff check --quiet lib tests benchmarks
	@$(PY) -m nbstripout --verify notebooks/*.ipynb
	@$(VENV)/bin/lint-imports --no-logo --no-cache
	@$(PY) -m mypy --no-error-summary

test: lint ## All checks and tests, the smoke profile among them
	@$(PY) -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

bench: env ## Measure speed against the published recipe; writes results/benchmarks
	@$(PY) -m benchmarks

site: env ## Write the article to build/site/index.html: pages that open from disk
	@$(PY) -m prefill_router.run.site

export: env ## Write a router of PROFILE in FORMAT: own, switchyard, switchyard_json, toolkit
	@$(PY) -m prefill_router.run.export --format "$(FORMAT)" $(RUN_OPTIONS) $(if $(POOL),--pool "$(POOL)") $(if $(METHOD),--method "$(METHOD)") $(if $(ENCODER_NAME),--encoder-name "$(ENCODER_NAME)") $(if $(NAMES),--names "$(NAMES)") $(if $(ALLOW_PICKLE),--allow-pickle)

lab: env ## Open copies of the notebooks in JupyterLab, at a page that leads through them
	@$(PY) -m prefill_router.run.lab

collect: env ## Make data/local again: run the targets on the questions (hours; goes on where it stopped)
	@$(PY) -m prefill_router.run.collect

audit: env ## Run 30 random cells of the smallest target again and compare with data/local
	@$(PY) -m prefill_router.run.collect --audit

clean: ## Remove build/ but for your notebooks in build/lab (.venv, results/ and figures/ stay)
	@[ ! -d build ] || find build -mindepth 1 -maxdepth 1 ! -name lab -exec rm -rf {} +

# A virtual environment does not survive being moved: made anew then, updated in place otherwise. The stamp is the last
# step, so that an installation that failed leaves none.
$(STAMP):
	@set -e; python=; \
	for candidate in $(if $(PYTHON),"$(PYTHON)",python3.12 python3.11 python3); do \
	  if "$$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	    python=$$candidate; break; \
	  fi; \
	done; \
	if [ -z "$$python" ]; then \
	  echo "error: Python 3.11 or newer is needed, and $(if $(PYTHON),PYTHON=$(PYTHON) is not one,none of python3.12 python3.11 python3 is one)." >&2; \
	  echo "Install one, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; \
	  exit 2; \
	fi; \
	rm -f $(VENV)/.installed-*; \
	if [ "$$(cat $(VENV)/.location 2>/dev/null)" != "$$(pwd)" ] || ! $(PY) -c '' 2>/dev/null; then \
	  echo "Making $(VENV) with $$("$$python" -V)"; \
	  "$$python" -m venv --clear $(VENV) || { \
	    echo "error: $$python could not make a virtual environment (Debian and Ubuntu: install python3-venv)." >&2; \
	    exit 2; }; \
	  pwd > $(VENV)/.location; \
	fi; \
	echo "Installing requirements.lock (minutes, once)"; \
	$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.lock; \
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .; \
	touch $@
