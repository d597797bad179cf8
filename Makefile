# Each recipe sets up what it needs, in .venv: all it asks for is Python 3.11 or newer and a package index.
PYTHON := .venv/bin/python
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help run test hunt long check fix house docs bench bench-peers observatory venv

help:  ## say what there is
	@sed -n 's/^\([a-z-]*\):.*## /make \1: /p' Makefile

run: venv  ## the quick start, then the benchmark that this project began with
	$(PYTHON) examples/quickstart.py
	$(PYTHON) observatory/benchmarks/tco_performance.py

test:  ## the suite on every Python 3.11, 3.12 and 3.13 found; ARGS="-k word" goes to pytest
	@sh tools/test.sh $(ARGS)

hunt: venv  ## compare 2,000 random programs with what they mean, on every tier; ARGS=5000 for more
	CASCADE_EXAMPLES=$(or $(ARGS),2000) CASCADE_FIXED=1 $(PYTHON) -m pytest -q --numprocesses auto tests/test_agreement.py tests/test_tiers.py

long: venv  ## what takes minutes: limits against their model in 10,000 sequences, cancels at 50 moments
	CASCADE_LIMITS_SEQUENCES=10000 CASCADE_STORM=50 $(PYTHON) -m pytest -q tests/runtime/test_limits_model.py tests/runtime/test_cancel_storm.py

check: venv  ## formatting, lint and types
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy
	$(PYTHON) -m pyright
	$(PYTHON) tools/typed_doors.py

fix: venv  ## format, and mend what lint can mend
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

house: venv  ## the house in numbers: sizes, imports, circles of calls; ARGS=--check fails where a target is missed
	@$(PYTHON) -m tools.house $(ARGS)

docs: venv  ## build the site into build/site; open build/site/index.html
	$(PYTHON) -m pip install -qq --disable-pip-version-check -c constraints.txt --no-build-isolation -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --quiet --strict
	$(PYTHON) tools/check_site.py build/site

bench: venv  ## measure every row of the budgets; ARGS="heavy simple" measures two, PYTHON=python3.13 on that one
	PYTHONPATH=src $(PYTHON) -m observatory.benchmarks $(ARGS)

bench-peers: venv  ## give the same work to other engines, each installed in .venv-peers; ARGS="burr dask" for two
	PYTHONPATH=src $(PYTHON) -m observatory.peers $(ARGS)

observatory: venv  ## swarms of agents that must keep in step, without a picture; ARGS=--full for 10,000 each
	$(PYTHON) -m observatory.swarms check $(ARGS)

venv:
	@sh tools/venv.sh .venv
