# make bench    measure and tune a real engine on this machine; a second time: compare with the first
# make test     prove the project: lint, tests with real engines, wheel
# make contract hold what other software promised us: load generators and servers, each in its environment
# make peers    install every load generator that benchmarks/load_*.py measures beside ours
#
# Everything is made below this folder: .venv, .engines, models, .msprof.

PYTHON ?= python3
ENGINE ?= transformers
REPEAT ?= 1
UPDATE_GOLDEN ?=
MODEL  ?= models/tiny-qwen2

BIN     := .venv/bin
VENV    := .venv/.installed
TINY    := models/tiny-qwen2
STAMP   := .msprof-recipe
ENGINES := .engines/transformers/$(STAMP) .engines/vllm/$(STAMP) .engines/runners/$(STAMP)
TOOLS   := .engines/aiperf/$(STAMP) .engines/ais_bench/$(STAMP) .engines/guidellm/$(STAMP)
SERVERS := .engines/triton/$(STAMP) .engines/ray/$(STAMP)
PEERS   := .engines/vllm-rs/$(STAMP) .engines/perf_analyzer/$(STAMP) .engines/sglang-bench/$(STAMP)

# An engine without a recipe is the user's own, or one that runs already.
NEEDED_ENGINE := $(if $(filter runner transformers vllm,$(ENGINE)),.engines/$(ENGINE:runner=runners)/$(STAMP))
NEEDED_MODEL  := $(if $(filter $(TINY),$(MODEL)),$(TINY)/recipe.json)

.PHONY: bench test test-all lint contract coverage wheel engines tools servers peers clean
.NOTPARALLEL:
.DELETE_ON_ERROR:

bench: $(VENV) $(NEEDED_ENGINE) $(NEEDED_MODEL)
	$(BIN)/pytest suites/ --msprof-engine $(ENGINE) --msprof-model $(MODEL) --msprof-repeat $(REPEAT) \
		$(if $(UPDATE_GOLDEN),--msprof-update-golden) --benchmark-columns median,rounds --benchmark-sort name

test: lint engines
	$(BIN)/pytest -m "not slow" --durations 10
	$(MAKE) wheel

test-all: lint engines
	$(BIN)/pytest --durations 25
	$(MAKE) wheel

lint: $(VENV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

contract: $(VENV) engines tools servers
	$(BIN)/pytest tests/contract

coverage: $(VENV)
	$(BIN)/coverage run -m pytest -m "not slow and not e2e"
	$(BIN)/coverage report --skip-covered

wheel: $(VENV)
	rm -rf dist
	$(BIN)/python -m build --outdir dist >dist.log 2>&1 || { cat dist.log; exit 1; }
	rm -f dist.log
	$(BIN)/check-wheel-contents dist

engines: $(ENGINES) $(TINY)/recipe.json

tools: $(TOOLS)

servers: $(SERVERS)

peers: tools .engines/vllm/$(STAMP) $(PEERS)

$(VENV): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed: make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -qq --disable-pip-version-check -e ".[dev]"
	@touch $@

.engines/%/$(STAMP): plugins/msprof_plugins/install_engine.py | $(VENV)
	$(BIN)/python -m msprof_plugins.install_engine $*
	@touch $@

$(TINY)/recipe.json: pytest_msprof/tiny_models.py | $(VENV)
	$(BIN)/pytest-msprof make-models $(notdir $(TINY)) --output $(dir $(TINY))
	@touch $@

clean:
	rm -rf build dist dist.log htmlcov .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
