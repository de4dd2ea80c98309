# Everything a developer runs. `make` lists it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
# Python keeps what it has compiled, whatever the environment says: tests start it hundreds of times.
export PYTHONDONTWRITEBYTECODE :=
.PHONY: help setup dev run demo scale-demo page screenshots voices sounds test test-all coverage lint lock bench bench-quick
# Two cores serve three workers, because many tests wait for servers.
WORKERS := --numprocesses 3 --dist loadfile --no-loadscope-reorder
# The tests that `make test` runs, and those that `make test-all` adds: clusters run alone, because
# other tests would make their workers miss a heartbeat.
TESTS := $(WORKERS) -m "not voices and not slow"
SLOW_TESTS := $(WORKERS) -m "(slow or voices) and not postgres"
CLUSTER_TESTS := -m "slow and postgres"

help:  ## list these commands
	@awk -F':.*## ' '/^[a-z-]+:.*##/ {printf "%-12s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup:  ## install everything into .venv; with GPU=1, the CUDA build of PyTorch
	@$(PYTHON) -m scripts.install --venv $(VENV)

dev:
	@$(PYTHON) -m scripts.install --venv $(VENV) --dev

run: setup  ## start the development server on PORT (default 8000)
	@$(PYTHON) scripts/page.py || true
	$(BIN)/python app.py

demo: setup  ## separate a song, transcribe speech, generate 5 s of music; with REAL=1, by full-size models
	$(BIN)/python -m scripts.demo $(if $(REAL),--real)

scale-demo: dev  ## run several servers with PostgreSQL and an object store, and kill one (needs PostgreSQL)
	$(BIN)/python -m scripts.scale_demo

page:  ## install the JavaScript packages of the studio page (needs npm)
	@$(PYTHON) scripts/page.py

screenshots: dev  ## take a screenshot of each page, into outputs/pictures (needs Chromium)
	@$(PYTHON) scripts/page.py
	$(BIN)/python -m scripts.screenshots

voices: dev  ## download speech recordings and released Whisper weights for tests and benchmarks
	$(BIN)/python -m scripts.voices

sounds: dev  ## download sound fonts and drum kits for training the separation model
	$(BIN)/python -m scripts.sounds

test: dev  ## run the tests; those of the pages need npm and Chromium
	@$(PYTHON) scripts/page.py --dev || true
	$(BIN)/python -m pytest $(TESTS)

test-all: test  ## run the slow tests too, and those on speech recordings (see `make voices`)
	$(BIN)/python -m pytest $(SLOW_TESTS)
	$(BIN)/python -m pytest $(CLUSTER_TESTS)

coverage: dev  ## run the tests and print the lines of `studio` that they miss
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(TESTS)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

lint: dev  ## check style and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	@if $(PYTHON) scripts/page.py --dev; then node_modules/.bin/tsc --project studio/web/jsconfig.json; fi

lock: dev  ## write the requirements files from pyproject.toml, and requirements.lock with hashes
	$(BIN)/python -m scripts.requirements
	$(BIN)/python -m scripts.env_example
	$(BIN)/python -m scripts.address
	$(BIN)/python -m scripts.nginx_site
	$(BIN)/python -m scripts.lock

bench: dev  ## measure speed and memory against other programs, and the deployed server (needs nginx)
	$(BIN)/python -m bench.separation
	test ! -e data/voices/complete || $(BIN)/python -m bench.voices
	test ! -e data/voices/complete || $(BIN)/python -m bench.voices_speed
	$(BIN)/python -m bench.generation
	test ! -e training/data/held_out/0029.npy || $(BIN)/python -m bench.analysis
	$(BIN)/python -m bench.players
	$(BIN)/python -m bench.live
	test ! -e data/voices/complete || $(BIN)/python -m bench.live_voices
	$(BIN)/python -m bench.live_long
	$(BIN)/python -m bench.proxy
	$(BIN)/python -m bench.page
	if command -v initdb > /dev/null || test -d /usr/lib/postgresql; then $(BIN)/python -m bench.scale; fi

bench-quick: dev  ## compare each of the three jobs with its reference program, in five minutes
	$(BIN)/python -m bench.quick
