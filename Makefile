# Everything that a person or CI runs. `make` alone lists it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MADE := $(VENV)/.made
GENERATED := docs alerts dashboards
# Most tests beside Celery wait more than they work: three at a time; all others two. These measure,
# or fill the machine: one at a time.
STORM := tests/celery/test_celery_storm.py
MEASURE := tests/bench tests/crash $(addprefix tests/e2e/test_,forward.py many_connections.py \
	page.py shutdown.py silences.py telemetry.py)

.DEFAULT_GOAL := help
.PHONY: help demo run lab test fast lint types imports current bench quality crash fmt generate clean

help: ## list what there is
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The pip that comes with Python 3.11 knows neither --group nor --build-constraint: it is renewed first.
$(MADE): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt pip
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
		--build-constraint constraints.txt -e ".[celery]" --group dev
	@touch $@

demo: $(MADE) ## show a scheduler with zombies and what is said of them (ONCE=1: then stop)
	$(BIN)/zombiewatch demo $(if $(ONCE),--once)

run: $(MADE) ## run the sidecar
	$(BIN)/zombiewatch run

# BUGS unset: all of them. BUGS= (set but empty): none.
lab: $(MADE) ## replay an incident as real processes (LAB=name BUGS=a,b)
	$(BIN)/zombiewatch lab $(LAB) $(if $(filter undefined,$(origin BUGS)),,--bugs "$(BUGS)")

test: $(MADE) ## check everything, as CI does
	tests/servers.sh
	$(MAKE) lint types imports current
	$(BIN)/python -m pytest $(MEASURE:%=--ignore=%) --ignore=tests/celery --ignore=tests/labs \
		-n 2 --dist loadfile
	$(BIN)/python -m pytest $(MEASURE)
	$(BIN)/python -m pytest tests/labs -n 2 --dist load
	$(BIN)/python -m pytest tests/celery --ignore=$(STORM) -n 3
	$(BIN)/python -m pytest $(STORM)

fast: lint types imports ## check all that takes seconds
	$(BIN)/python -m pytest -m "not slow" -n auto

lint: $(MADE)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(MADE)
	$(BIN)/mypy

imports: $(MADE)
	$(BIN)/lint-imports

# A generated file that is new and in no commit is as stale as one that changed.
current: generate
	git diff --exit-code -- $(GENERATED)
	@new="$$(git ls-files --others --exclude-standard -- $(GENERATED))"; \
		[ -z "$$new" ] || { echo "generated, but not committed (git add):"; echo "$$new"; exit 1; }

bench: $(MADE) ## measure the numbers that we publish
	$(BIN)/python -m bench

quality: $(MADE) ## simulate schedulers with known failures: how often are the detectors right? (SEED=1 TASKS=100000)
	$(BIN)/python -m bench.quality --seed $(or $(SEED),1) --tasks $(or $(TASKS),100000)

crash: $(MADE) ## kill, damage, fill and step: is anything acknowledged lost? (ROUNDS=1000 SEED=1)
	$(BIN)/python -m tests.crash --rounds $(or $(ROUNDS),1000) --seed $(or $(SEED),1)

fmt: $(MADE) ## format the code and mend what can be mended
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

generate: $(MADE) ## write what is derived from the detectors: rules, boards, runbooks
	$(BIN)/python -m zombiewatch.generate
	$(BIN)/python -m tests.detectors.heard

screenshots: $(MADE) ## take the pictures of the page that are in README and docs
	$(BIN)/python -m tests.screenshots

clean: ## remove what was built
	rm -rf $(VENV) dist build .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
