# Commands for people: `make demo`, `make demo-gcs` and `make test`. Each sets up what it needs in .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Loads the DAGs of l3flow schedule in the tests; its requirements and ours do not go together.
AIRFLOW := 3.1.8
SUPPORTED := import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))

export CUDA_VISIBLE_DEVICES ?= -1
export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: demo demo-gcs test lint tests consumers clean

demo: $(VENV)/.demo
	@$(BIN)/python examples/demo.py

demo-gcs: $(VENV)/.demo-gcs
	@$(BIN)/python -m examples.demo_gcs

test: lint tests

lint: $(VENV)/.dev
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/mypy --no-error-summary

tests: $(VENV)/.dev $(VENV)/airflow/.$(AIRFLOW) $(VENV)/image/.made $(VENV)/engines/.done $(VENV)/flink-sql/.done
	@$(BIN)/python -m pytest -q -n 2 --dist loadfile --max-worker-restart 0 $(PYTEST)

# The README's table of what reads a table, measured again.
consumers: $(VENV)/.dev $(VENV)/engines/.done $(VENV)/flink-sql/.done
	@$(BIN)/python -m tests.contract.measure

# An extra is installed once; again only when setup.py changes.
$(VENV)/.demo $(VENV)/.demo-gcs $(VENV)/.dev: $(VENV)/.%: setup.py | $(BIN)/python
	@echo "Installing l3flow[$*] into $(VENV) (a few minutes the first time) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]' > $(VENV)/install.log 2>&1 \
		|| { cat $(VENV)/install.log; exit 1; }
	@touch $@

$(VENV)/airflow/.$(AIRFLOW): | $(BIN)/python
	@echo "Installing Airflow $(AIRFLOW) into $(VENV)/airflow, for the tests (a minute or two) ..."
	@$(BIN)/python -m venv --clear $(VENV)/airflow
	@$(VENV)/airflow/bin/python -m pip install --quiet --disable-pip-version-check apache-airflow-core==$(AIRFLOW) \
		> $(VENV)/airflow.log 2>&1 || { cat $(VENV)/airflow.log; exit 1; }
	@touch $@

# The Python environment of the image for Dataflow, by the lines of its Dockerfile.
$(VENV)/image/.made: launch/docker/Dockerfile launch/docker/cuda.lock requirements.lock tests/image.py | $(VENV)/.dev
	@echo "Installing what launch/docker/Dockerfile does into $(VENV)/image, for the tests (a minute) ..."
	@$(BIN)/python -m tests.image $(VENV)/image > $(VENV)/image.log 2>&1 || { cat $(VENV)/image.log; exit 1; }
	@touch $@

# Engines that are Python packages: what they ask for and what we ask for need not go together.
$(VENV)/engines/.done: tests/contract/engines.txt | $(BIN)/python
	@echo "Installing the engines of $< into $(VENV)/engines, for the tests (a minute or two, 2 GB) ..."
	@$(BIN)/python -m venv --clear $(VENV)/engines
	@$(VENV)/engines/bin/python -m pip install --quiet --disable-pip-version-check --requirement $< \
		> $(VENV)/engines.log 2>&1 || { cat $(VENV)/engines.log; exit 1; }
	@touch $@

# Another engine, of Java.
$(VENV)/flink-sql/.done: tests/contract/flink/pom.xml | $(BIN)/python
	@echo "Fetching Flink SQL into $(VENV)/flink-sql by Maven, for the tests (138 MB) ..."
	@rm -rf $(VENV)/flink-sql
	@mvn --batch-mode --no-transfer-progress --file $< dependency:copy-dependencies -DincludeScope=runtime \
		-DoutputDirectory=$(abspath $(VENV)/flink-sql) > $(VENV)/flink-sql.log 2>&1 || { cat $(VENV)/flink-sql.log; exit 1; }
	@touch $@

$(BIN)/python:
	@$(PYTHON) -c '$(SUPPORTED)' || { \
		echo "l3flow needs Python 3.10 to 3.13, but $(PYTHON) is $$($(PYTHON) --version 2>&1)." \
		"Name another: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

clean:
	rm -rf $(VENV) demo-table demo-result
