# `make help` lists what there is. Everything can be run again at any time.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
STACK ?= dev
CARGO_DENY_VERSION := 0.20.2
CARGO_DENY := .stack/cache/tools/bin/cargo-deny

BUNDLE ?= card

.PHONY: help setup demo test check bench bench-check deny compose-check image-check train train-check dashboards dashboards-check pictures panels-bench stack-up stack-down stack-status stack-wipe

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install and download what is missing: packages, Kafka, the ONNX runtime, crates
	@scripts/install.sh
	@scripts/stack.sh download
	@cargo fetch --locked

# DEMO_SECONDS=60 ends it sooner, DEMO_RATE=500 makes it faster, SOURCE=simulate or SOURCE=api takes other payments.
demo: ## Replay real card payments with fraud in them through everything, and show what happens
	@python3 scripts/demo.py

# One run at a time per clone, since they share the stack's name; the lock ends with the run.
test: setup ## Every test, against a real Kafka, PostgreSQL and SMTP server of its own
	@mkdir -p .stack
	@flock -n -o -E 75 .stack/test-run.lock scripts/test.sh || { status=$$?; \
	  [[ $$status != 75 ]] || echo "another test run is under way in this clone" >&2; exit $$status; }

check: ## Format, lints and documentation, warnings refused
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --locked

deny: $(CARGO_DENY) ## Licences, sources and versions of the dependencies (builds cargo-deny once: some minutes)
	@$(CARGO_DENY) --locked check licenses bans sources

$(CARGO_DENY):
	cargo install --locked --version $(CARGO_DENY_VERSION) --no-default-features --root .stack/cache/tools cargo-deny

# BENCH_ROWS, BENCH_RUNS, BENCH_LANES, …: scripts/bench.sh names them all.
bench: setup ## Payments a second and latency, beside a Python consumer on the same topic (about ten minutes)
	@scripts/bench.sh

bench-check: ## Format, lints and types of the bench's Python
	@scripts/bench.sh check

compose-check: ## The compose file, the Dockerfile and what they mount, against their rules
	@tests/compose/check.sh

# BUILD=1 follows the build stage as well, compiler and all. As root: it needs chroot, mounts and namespaces.
image-check: ## The image made in a clean Debian root, and the compose file started with it (no container engine)
	@docker/try_in_debian.sh $(if $(BUILD),--build)

# DATA and TEST are files of labelled transactions (CSV, may be .zst); models/training/README.md says more.
train: ## Train BUNDLE=card from DATA=….csv.zst, judge it by TEST=….csv.zst, write all of models/BUNDLE
	@[[ -n "$(DATA)" && -n "$(TEST)" ]] || { echo "usage: make train BUNDLE=$(BUNDLE) DATA=FILE TEST=FILE" >&2; exit 2; }
	cargo build --release --locked -p vigie
	@python="$$(models/training/venv.sh)" && "$$python" -m vigie_training all \
	  --bundle models/$(BUNDLE) --data "$(DATA)" --test "$(TEST)" --vigie target/release/vigie

train-check: ## Format, types and tests of the training project and of the committed golden rows
	@python="$$(models/training/venv.sh)" && cd models/training && \
	  "$$python" -m ruff format --check . && "$$python" -m ruff check . && \
	  "$$python" -m mypy && "$$python" -m pytest -q

dashboards: ## Write grafana/dashboards anew from the code that builds them
	@python="$$(grafana/venv.sh)" && cd grafana && "$$python" -m vigie_dashboards write

dashboards-check: ## Format, types and tests of alert rules and dashboards (needs a running stack: source its env first)
	@python="$$(grafana/venv.sh)" && cd grafana && \
	  "$$python" -m ruff format --check . && "$$python" -m ruff check . && \
	  "$$python" -m mypy && "$$python" -m pytest -q

pictures: setup ## Draw the dashboards of a real run into docs/pictures (some minutes)
	@scripts/pictures.sh

# BENCH_PAYMENTS=1000000 makes it shorter.
panels-bench: setup ## Time the dashboards' SQL over ten million payments of 90 days (ten minutes, 8 GB of disk)
	@scripts/panels_bench.sh

stack-up: ## Start the development stack (STACK=dev names it)
	@scripts/stack.sh up --name $(STACK)

stack-down: ## Stop it; the data stays
	@scripts/stack.sh down --name $(STACK)

stack-status: ## What of it runs, and where
	@scripts/stack.sh status --name $(STACK)

stack-wipe: ## Stop it and remove its data
	@scripts/stack.sh wipe --name $(STACK)
