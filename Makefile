# The whole of the project's chores. `make quickstart` and `make test` set up everything they need.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CODE := src tests examples bench docs tools
UV := .cache/uv/bin/uv
export UV_COMPILE_BYTECODE := 1
export UV_PYTHON_DOWNLOADS := never
MAKEFLAGS += --jobs=2

.PHONY: setup quickstart run check fix test fast fuzz faults crash bench bench-peers docs clean

setup: $(BIN)/.compiled ## the platform and its tools, in .venv

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Clary needs Python 3.11 or newer; name one with: make PYTHON=python3.11 …")'
	@echo "Setting up (once) …"
	@$(PYTHON) -m venv .cache/uv
	@.cache/uv/bin/pip install --quiet --disable-pip-version-check 'uv>=0.8'

$(BIN)/.installed: pyproject.toml requirements/platform.txt $(UV)
	@$(UV) venv --quiet --allow-existing --python $(PYTHON) $(VENV)
	@$(UV) pip install --python $(BIN)/python --constraint requirements/platform.txt --editable . --group dev
	@touch $@

# Python's own compilation: a start would do it, and could not keep it where PYTHONDONTWRITEBYTECODE is set.
$(BIN)/.bytecode: $(shell find src -name '*.py') $(BIN)/.installed
	@$(BIN)/python -m compileall -q src
	@touch $@

# The data plane as machine code, where there is a C compiler.
$(BIN)/.compiled: $(wildcard src/clary/serving/*.py src/clary/native/*) tools/compile.py $(BIN)/.installed | $(BIN)/.bytecode
	@echo "Compiling the data plane (once) …"
	@$(BIN)/python tools/compile.py
	@touch $@

# What the optional extras bring: libraries of some built-in algorithms. pip rather than uv, for it finds local wheels.
$(BIN)/.algorithms: requirements/algorithms.txt $(BIN)/.installed
	@echo "Setting up the algorithms' libraries (once) …"
	@.cache/uv/bin/pip --quiet --disable-pip-version-check --python $(BIN)/python install --requirement $<
	@touch $@

# The clients' own environments: what users have, pinned, apart from ours.
.envs/%/.installed: requirements/%.txt $(UV)
	@echo "Setting up the client environment $* (once) …"
	@$(UV) venv --quiet --allow-existing --python $(PYTHON) .envs/$*
	@$(UV) pip install --python .envs/$*/bin/python --no-deps --requirements $<
	@touch $@

# Clients in JavaScript; where there is no Node.js their tests say so and are skipped.
.envs/node/.installed .envs/cdk/.installed: .envs/%/.installed: requirements/%/package.json requirements/%/package-lock.json
	@echo "Setting up the client environment $* (once) …"
	@mkdir -p .envs/$*
	@cp requirements/$*/package.json requirements/$*/package-lock.json .envs/$*/
	@if command -v npm > /dev/null; then npm --prefix .envs/$* ci --no-audit --no-fund --loglevel=error; fi
	@touch $@

quickstart: $(BIN)/.compiled .envs/sdk-v2/.installed ## train, deploy and call XGBoost on an empty platform
	@$(BIN)/python examples/on_empty_platform.py .envs/sdk-v2/bin/python examples/quickstart.py

run: $(BIN)/.compiled ## start the platform in the foreground
	@$(BIN)/clary up

check: $(BIN)/.algorithms ## what must hold before a commit: style, types, import contracts, generated pages
	@$(BIN)/ruff format --check --quiet $(CODE)
	@$(BIN)/ruff check --quiet $(CODE)
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python docs/generate.py --check

fix: $(BIN)/.installed ## format, and mend what can be mended
	@$(BIN)/ruff check --quiet --fix $(CODE)
	@$(BIN)/ruff format --quiet $(CODE)
	@$(BIN)/python docs/generate.py

test: check $(BIN)/.compiled .envs/sdk-v2/.installed .envs/sdk-v3/.installed .envs/cli/.installed .envs/sam/.installed .envs/node/.installed .envs/cdk/.installed ## everything
	@$(BIN)/pytest --numprocesses 2 --dist loadgroup

fast: $(BIN)/.algorithms $(BIN)/.compiled ## the tests that need no client environments
	@$(BIN)/pytest tests/wire tests/services tests/control tests/units tests/algorithms

COUNT ?= 100000
SEED ?= $(shell date +%s)
fuzz: $(BIN)/.algorithms $(BIN)/.compiled ## hostile requests for every operation: make fuzz COUNT=500000 SEED=1 ONLY=s3
	@$(BIN)/python -m tests.fuzz --count $(COUNT) --seed $(SEED) --only "$(ONLY)"

ROUNDS ?= 50
STORE ?= both
faults: $(BIN)/.algorithms $(BIN)/.compiled ## full and broken disks, no descriptors, an absent database, at every step
	@CLARY_FAULT_STEPS=400 $(BIN)/pytest tests/faults/test_disks.py

crash: $(BIN)/.algorithms $(BIN)/.compiled ## kill every part at random under load: make crash ROUNDS=50 SEED=1 STORE=both
	@$(BIN)/python -m tests.crash --rounds $(ROUNDS) --seed $(SEED) --store $(STORE)

bench: $(BIN)/.algorithms $(BIN)/.compiled .envs/bench/.installed ## ratios and budgets, beside FastAPI and moto
	@$(BIN)/python -m bench

PEERS := fastapi ray mlserver litserve bentoml flask mlflow
.envs/peer-%/.installed: requirements/peers/%.txt $(UV)
	@echo "Setting up the peer $* (once) …"
	@$(UV) venv --quiet --allow-existing --python $(PYTHON) .envs/peer-$*
	@$(UV) pip install --quiet --python .envs/peer-$*/bin/python --requirements $<
	@touch $@

bench-peers: $(BIN)/.algorithms $(BIN)/.compiled $(PEERS:%=.envs/peer-%/.installed) ## InvokeEndpoint beside six other servers; installs them
	@$(BIN)/python -m bench.peers

docs: $(BIN)/.installed ## write the generated pages
	@$(BIN)/python docs/generate.py

clean: ## remove every environment and cache
	@rm -rf $(VENV) src/clary/serving/_compiled src/clary/native/_compiled .envs .cache .mypy_cache .ruff_cache .pytest_cache
