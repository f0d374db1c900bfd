# Every target sets up what it needs: a Python 3.11 and make are enough to start from.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
READY := .venv/.ready

# The generated scenes of the demo, made easy: ten uniform draws touch a sign in about half of them.
DEMO_OPTIONS ?= --difficulty easy --n-train 160 --n-test 80 --view-size 144 192 --n-patches 5 --epochs 24 \
	--eval-every 6 --batch-size 12 --num-workers 2

.DEFAULT_GOAL := help
.PHONY: help install demo test lint

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(READY) ## the environment in .venv, versions as in constraints.txt

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "$(PYTHON) is older than 3.11: make PYTHON=..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	@touch $@

demo: $(READY) ## generated road scenes, a local Ray head, one job: a trained model, its table and figure
	$(BIN)/python deploy/local_head.py -- ray job submit -- jobs/train_speed_limits.py $(DEMO_OPTIONS)

# Two processes: tests that start or stop a Ray or a server never meet those that only compute. Of these the tensors are so
# small that torch's threads would spin for longer than they work: one halves the time.
test: $(READY) ## all tests
	OMP_NUM_THREADS=1 $(BIN)/pytest -m "not (ray or s3)"
	$(BIN)/pytest -m "ray or s3"

lint: $(READY) ## ruff, its format, and a strict type check of ats_core
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
