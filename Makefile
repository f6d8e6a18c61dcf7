# Everything from nothing: needs Python 3.11 or newer with venv, and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BENCH := .venv-bench
PYTEST := env -u PYTHONPATH -u PYTHONHOME -u PYTEST_ADDOPTS PYTHONUTF8=1 $(BIN)/pytest
FLASK := $(BIN)/flask --app wsgi

.PHONY: run demo test test-app test-browser chromium containers field incident screenshots bench bench-pages lint soak audit recordings lock

run: $(VENV)/ready .env          ## web and worker on SQLite, http://127.0.0.1:8000
	$(FLASK) db upgrade
	$(BIN)/gunicorn wsgi:app --bind "127.0.0.1:$${PORT:-8000}"

demo: $(VENV)/ready .env         ## every event type through the front door, then the page
	$(FLASK) db upgrade
	$(BIN)/python -m receiver.sandbox.demo

test: $(VENV)/ready-dev          ## style, types and every test, on SQLite and on a real PostgreSQL
	@$(BIN)/python -m tests.receiver.browser.chromium
	@$(BIN)/python -m tests.receiver.routers
	$(PYTEST) -n 4 --dist worksteal -m "not soak and not field"

test-app: $(VENV)/ready-dev      ## your own tests alone, on SQLite: seconds
	$(PYTEST) -p no:randomly -p no:xdist -m "not postgresql" tests/app

test-browser: chromium           ## the pages in a real Chromium, which it brings where there is none
	$(PYTEST) -n 2 tests/receiver/browser

chromium: $(VENV)/ready-dev      ## Debian's headless shell and three routers as root; else what is there, or Playwright's download
	@$(BIN)/python -m tests.receiver.browser.chromium --bring
	@$(BIN)/python -m tests.receiver.routers --bring

containers: $(VENV)/ready-dev    ## what builds and runs the image of Dockerfile in `make field`: Debian's, as root
	@$(BIN)/python -m tests.field.containers --bring

screenshots: chromium            ## the pictures in README.md and docs, of the real page
	$(BIN)/python -W "ignore:XDG_RUNTIME_DIR is not set" -m tests.receiver.browser.screenshots

field: chromium containers       ## each platform and the image in small, the bad day, and the table in docs/deploy.md; 40 minutes, as root
	$(BIN)/python -W "ignore:XDG_RUNTIME_DIR is not set" -m tests.field.table
	$(PYTEST) -n 2 -m field

incident: chromium               ## a day in ten minutes: six things go wrong, are told, found and mended; as root
	$(BIN)/python -W "ignore:XDG_RUNTIME_DIR is not set" -m tests.field.day

soak: $(VENV)/ready-dev          ## the long fault runs
	$(PYTEST) -n 4 --dist worksteal -m soak --timeout 3000

bench: $(BENCH)/ready             ## beside other receivers and queues: bench/RESULTS.md and docs/performance.md; half an hour
	command -v wrk redis-server >/dev/null || apt-get install -y --no-install-recommends wrk redis-server
	$(BENCH)/bin/python -W ignore -m bench

bench-pages: $(VENV)/ready-dev   ## what the page asks, on 10,000 and on 1,000,000 events
	$(BIN)/python -m bench.pages

lint: $(VENV)/ready-dev          ## style and types; tests/receiver/test_style.py runs these lines too
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict app receiver

audit: $(VENV)/ready-dev         ## is a hole known in what requirements.txt pins? Needs an index that has advisories
	@$(BIN)/python -m tests.receiver.advisories

recordings: $(VENV)/ready-dev    ## the terminal output in docs, by running the commands
	$(BIN)/python -m tests.receiver.recordings

lock: $(VENV)/ready-dev          ## pin what pyproject.toml names, with hashes
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  pyproject.toml --group app -o requirements.txt
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  pyproject.toml --group dev -c requirements.txt -o requirements-dev.txt
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	  bench/requirements.in requirements-dev.txt -c requirements-dev.txt -o bench/requirements.txt

.env: | $(VENV)/ready
	$(FLASK) init

$(VENV)/ready: requirements.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.txt
	touch $@

$(VENV)/ready-dev: $(VENV)/ready requirements-dev.txt
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-dev.txt
	touch $@

$(BENCH)/ready: bench/requirements.txt
	test -x $(BENCH)/bin/python || $(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --quiet --require-hashes -r bench/requirements.txt
	touch $@
