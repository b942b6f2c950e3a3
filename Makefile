# The two commands that a newcomer needs are `make demo` and `make test`.

# Build results are kept outside the checkout where such a folder is there, so that another checkout can use them too.
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/millstream/target
export CARGO_TARGET_DIR ?= $(if $(wildcard $(CACHE)),$(CACHE),$(CURDIR)/target)
BIN := $(CARGO_TARGET_DIR)/release/millstream
DATA ?=

.PHONY: demo test lint build replay bench setup conformance

demo: build
	$(BIN) demo sql/*.sql

test: setup
	cargo test --workspace --no-fail-fast -- --quiet

lint:
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

build: setup
	cargo build --release --bin millstream

# make replay DATA=online_retail.csv.gz
replay: build
	$(BIN) replay $(DATA)

bench: build
	benches/run

# make conformance CASES=folder
conformance: build
	tests/conformance $(BIN) $(CASES)

setup:
	@docker/setup
