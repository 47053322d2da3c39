# `make demo` and `make test` are all that a fresh machine needs; each sets up what it uses, once.

ifndef PYTHON
PYTHON := $(shell for python in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && exit; done; echo python3)
endif
VENV := .venv
BIN := $(VENV)/bin
UV ?= uv
COMPILE := $(UV) pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --custom-compile-command 'make lock'

# what the type checker reads, as far as it is there
TYPED := $(wildcard src tests tools benchmarks examples)
# every rule, the optional ones too, but for 910: on the hot path an await that need not wait does not yield either
ASYNC_RULES := --enable=ASYNC,ASYNC900,ASYNC911,ASYNC912,ASYNC913

# more arguments for pytest: make test ARGS="tests/protocol -x"
ARGS ?=

# a worker for each core; what shares a file shares a worker
SIDE_BY_SIDE := -n auto --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help demo test readme coverage lint format docs bench mutants peers dev runtime lock clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: runtime ## watch an agent work over one WebSocket, and what that saves
	@$(BIN)/agentwire demo

test: dev peers ## run the whole test suite
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE) $(ARGS)

readme: ## run the README's programs in a fresh environment with the built wheel
	@$(PYTHON) tools/readme.py

coverage: dev peers ## the same with branch coverage, which takes half as long again
	@$(BIN)/coverage erase
	@$(BIN)/coverage run -m pytest $(SIDE_BY_SIDE) $(ARGS); status=$$?; \
	$(BIN)/coverage combine -q && $(BIN)/coverage report; covered=$$?; \
	if [ $$status -ne 0 ]; then exit $$status; else exit $$covered; fi

lint: dev ## check style, types, Trio rules and the floors
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy $(TYPED)
	find src -name '*.py' | xargs -n 20 -P $$(getconf _NPROCESSORS_ONLN) $(BIN)/flake8-async $(ASYNC_RULES)
	$(BIN)/lint-imports --no-logo

format: dev ## let ruff rewrite what it can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

docs: dev ## build the documentation into docs/_build/html
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html

bench: dev ## measure the wire beside other servers
	$(BIN)/python -m benchmarks.wire $(ARGS)

mutants: dev ## change the code that decides how turns live, and see what the test kit finds (half an hour)
	@$(PYTHON) tools/venv.py build/mutants/venv requirements/mutants.txt
	@PYTHONPATH=src:. build/mutants/venv/bin/python tools/mutants.py make
	@PYTHONPATH=src:. $(BIN)/python tools/mutants.py run $(ARGS)
	@PYTHONPATH=src:. $(BIN)/python tools/mutants.py report

peers: ## set up the official SDKs and the small model that the tests talk to
	@$(PYTHON) tests/peers/setup.py

dev: ## set up .venv with everything a developer needs
	@$(PYTHON) tools/venv.py --editable $(VENV) requirements/dev.txt

runtime: ## set up .venv with what the library itself needs
	@$(PYTHON) tools/venv.py --editable $(VENV) requirements/runtime.txt

lock: ## resolve all pins again, to the newest versions (needs uv)
	$(COMPILE) pyproject.toml --group build -o requirements/runtime.txt
	$(COMPILE) pyproject.toml --group dev -c requirements/runtime.txt -o requirements/dev.txt
	$(COMPILE) tests/mutants/requirements.in -o requirements/mutants.txt
	$(COMPILE) tests/peers/openai/requirements.in -o tests/peers/openai/requirements.txt
	$(COMPILE) tests/peers/node/requirements.in -o tests/peers/node/requirements.txt
	$(COMPILE) tests/peers/frameworks/requirements.in -o tests/peers/frameworks/requirements.txt
	$(COMPILE) tests/peers/agentic/requirements.in -o tests/peers/agentic/requirements.txt
	$(COMPILE) tests/peers/llama/requirements.in -o tests/peers/llama/requirements.txt
	$(COMPILE) --no-deps tests/peers/llama/weights.in -o tests/peers/llama/weights.txt

clean: ## remove everything that make has made
	rm -rf $(VENV) .peers docs/_build dist build htmlcov .coverage .coverage.* \
		.pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
