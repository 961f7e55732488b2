# `make` alone lists the targets. Everything is installed into .venv; only Python must be there before.
SHELL := /bin/bash
PYTHON ?= $(shell for each in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$each" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$each" && break; done)
BIN := .venv/bin
STAMP := .venv/installed
export KUBERNETES

.PHONY: help setup demo check unit test fuzz hostile bench test-embedded test-versions test-image image lint format crds manifests reference requirements clean
.DEFAULT_GOAL := help

help: ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

setup: $(STAMP) ## install everything: packages into .venv, and database servers and Helm if they are missing

$(STAMP): requirements/dev.txt pyproject.toml sandbox/install.py sandbox/packages.py sandbox/mongo_packages.py \
		sandbox/helm_packages.py sandbox/servers.py
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed: install it, or run make PYTHON=/path/to/python" >&2; exit 1; }
	@$(PYTHON) sandbox/install.py

demo: $(STAMP) ## rotate a real database user four times while a client logs in; ENGINE=postgres, mysql, mariadb, mongo or redis; KEEP=1 keeps it running
	@$(BIN)/python -m sandbox.demo $(if $(ENGINE),--engine $(ENGINE)) $(if $(KEEP),--keep)

# The parts of `make test`. Each folder of tests/ is in one of them, or has its own target below.
suite.unit := tests/unit
suite.engines := tests/integration tests/life
suite.e2e := tests/e2e tests/install tests/readme
suite.chaos := tests/chaos
suite.chart := tests/chart
suite.sandbox := tests/cluster tests/sandbox
# Three workers on two processors: much of the time of the suite is waiting.
PYTEST := $(BIN)/pytest -n 3 --dist worksteal

check: lint unit ## lint and unit tests: what to run before each commit

unit: $(STAMP) ## unit tests alone, in less than a minute; ARGS="-k name" selects
	$(PYTEST) $(suite.unit) $(ARGS)

test: $(STAMP) ## all tests; SUITE=unit, engines, e2e, chaos, chart or sandbox runs a part; KUBERNETES=embedded or controlplane
	$(if $(SUITE),$(if $(suite.$(SUITE)),,$(error there is no suite $(SUITE): write one of those that make help lists)))
	$(PYTEST) $(if $(SUITE),$(suite.$(SUITE)),--ignore tests/bench --ignore tests/image --ignore tests/hostile) $(ARGS)

# The models of a rotation, which STRATEGY is about.
MODELS := tests/unit/rotation/test_plan_model.py tests/unit/rotation/test_rollout_model.py \
	tests/unit/rotation/test_external.py::TestFollowingWorld

fuzz: $(STAMP) ## every property test with fresh examples, as many as you like: RUNS=100000; with STRATEGY=SingleUser the models of a rotation alone
	FUZZ_EXAMPLES=$(or $(RUNS),10000) FUZZ_STRATEGY=$(STRATEGY) $(BIN)/pytest --timeout 0 -m hypothesis $(ARGS) \
		$(if $(STRATEGY),$(MODELS),tests/unit)

hostile: $(STAMP) ## the operator in 512 MiB beside servers that do evil at every stage of every protocol; ARGS="-k oracle" selects
	$(BIN)/pytest tests/hostile $(ARGS)

bench: $(STAMP) ## measure a thousand RotatedSecrets: time until all are Ready, and cost of watching them
	$(BIN)/pytest tests/bench $(ARGS)

test-embedded: $(STAMP) ## the tests that depend on Kubernetes, on the embedded API
	$(PYTEST) --kubernetes embedded tests/cluster tests/install tests/e2e $(ARGS)

test-versions: $(STAMP) ## the life of a credential on newer PostgreSQL, MariaDB and Valkey, and on servers that speak German
	@$(BIN)/python -m sandbox.debian_releases
	$(PYTEST) --newer-servers tests/life $(ARGS)

test-image: $(STAMP) ## build the image on a base made of Debian packages, and rotate with a container; as root
	$(BIN)/pytest tests/image $(ARGS)

image: ## build the image by docker, podman or buildah; IMAGE=name:tag, BASE_IMAGE=your Python image, TOOL=which, RELEASE=1: by digest alone
	@$(PYTHON) -m sandbox.image $(if $(IMAGE),--image $(IMAGE)) $(if $(TOOL),--tool $(TOOL)) $(if $(RELEASE),--release) \
		$(if $(BASE_IMAGE),BASE_IMAGE=$(BASE_IMAGE)) $(if $(BUILDER_IMAGE),BUILDER_IMAGE=$(BUILDER_IMAGE))

lint: $(STAMP) ## ruff, mypy and the import rules
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: $(STAMP) ## fix and format what ruff can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

crds: $(STAMP) ## generate crds/ from the models, and its copies in the chart and deploy/
	$(BIN)/python -m rotated_secrets.api.crd > crds/.generated && mv crds/.generated crds/rotatedsecrets.yaml
	cp crds/rotatedsecrets.yaml charts/rotated-secrets/files/rotatedsecrets.yaml
	@$(MAKE) --no-print-directory manifests

manifests: $(STAMP) ## render deploy/ from the chart, for clusters without Helm, and copy the chart's defaults to where it reads them
	@mkdir -p deploy
	{ echo "# values.yaml without its comments, by: make manifests"; sed -E '/^ *(#|$$)/d' charts/rotated-secrets/values.yaml; } \
		> charts/rotated-secrets/files/defaults.yaml
	$(BIN)/python -m sandbox.manifests > deploy/.generated && mv deploy/.generated deploy/rotated-secrets.yaml

reference: $(STAMP) ## write the tables of docs/reference.md from the models
	$(BIN)/python -m sandbox.reference > docs/.generated && mv docs/.generated docs/reference.md

# A header that names this target, and not the folders of this machine.
COMPILE := uv pip compile --quiet --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	--custom-compile-command "make requirements"

requirements: ## pin the newest versions that pyproject.toml allows, with their hashes; needs uv
	$(COMPILE) --upgrade pyproject.toml -o requirements/runtime.txt
	$(COMPILE) --upgrade pyproject.toml --extra dev -c requirements/runtime.txt -o requirements/dev.txt
	echo setuptools | $(COMPILE) --upgrade --no-annotate - -c requirements/dev.txt -o requirements/build.txt

clean: ## remove what was installed and cached
	rm -rf .venv .cache .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist operator/*.egg-info
