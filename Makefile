# Everything a developer and CI do. Tools that are missing are installed under .tools/ or by the system's packages.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo build test test-build soak lint bench clean targets tools
# Cargo has its own count of jobs.
unexport MAKEFLAGS MFLAGS

TARGET := $(or $(CARGO_TARGET_DIR),target)
WASM := wasm32-wasip1
# Those that users load, and those of the tests.
FILTERS := rate-limit resp-bridge
# These would be too large if they were compiled for speed: the first a little, the others by much.
MEDIUM_FILTERS := shard-route
SMALL_FILTERS := coalesce idempotency
TEST_FILTERS := noop probe
# A filter of more bytes than this is not built: every gateway compiles it at start.
MAX_SIZE := 614400

help: ## This list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

demo: build tools ## See the filters at work on a real Envoy
	@$(with-tools) cargo run --profile tools -p host-tests --bin demo

build: targets ## Build the filters into dist/
	@cargo build --release --target $(WASM) $(addprefix -p ,$(FILTERS) $(TEST_FILTERS))
	@cargo build --profile medium --target $(WASM) $(addprefix -p ,$(MEDIUM_FILTERS))
	@cargo build --profile small --target $(WASM) $(addprefix -p ,$(SMALL_FILTERS))
	@mkdir -p dist/test
	@install-wasm() { \
	    local size; \
	    cp "$(TARGET)/$(WASM)/$$3/$${1//-/_}.wasm" "$$2/.$$1" && mv "$$2/.$$1" "$$2/$$1.wasm"; \
	    size=$$(stat -c %s "$$2/$$1.wasm"); \
	    echo "$$2/$$1.wasm: $$size bytes"; \
	    [ "$$size" -le $(MAX_SIZE) ] || { echo "error: $$1 is over $(MAX_SIZE) bytes" >&2; over=1; }; \
	}; \
	over=0; \
	for name in $(FILTERS); do install-wasm "$$name" dist release; done; \
	for name in $(MEDIUM_FILTERS); do install-wasm "$$name" dist medium; done; \
	for name in $(SMALL_FILTERS); do install-wasm "$$name" dist small; done; \
	for name in $(TEST_FILTERS); do install-wasm "$$name" dist/test release; done; \
	exit "$$over"

TESTS := --workspace --features sluice-core/schema

# The targets before: two cargos at once must not find that they are missing.
test: tools targets ## Lint, build, and run every test, those on a real Envoy and Redis too
	@$(MAKE) --no-print-directory -j2 test-build build
	@$(with-test-tools) cargo test $(TESTS)

# Beside the filters: the end of each has work for one core only.
test-build: lint
	@cargo test -q --no-run $(TESTS)

FILTER ?= rate-limit
SEEDS ?= 1000000
START ?=

soak: build ## Play seeds of FILTER until one breaks a promise: SEEDS so many, START the first
	@cargo run -p sluice-seeds --bin soak -- $(FILTER) $(SEEDS) $(START)

# Not for the filters' own target as well: their sources have no `cfg` of it, so that all would be checked twice.
lint: ## Check the format, and clippy
	@cargo fmt --all --check
	@cargo clippy --workspace --all-targets --features sluice-core/schema -- -D warnings
	@cargo check -q -p sluice-core --target wasm32-unknown-unknown

bench: build tools ## Measure what the filters cost on a real Envoy
	@$(with-tools) cargo run --profile tools -p host-tests --bin bench

clean: ## Remove what was built; .tools/ stays
	@cargo clean
	@rm -rf dist

# The paths as the environment of a command; found once, not by every test binary.
with-tools = SLUICE_ENVOY="$$(host-tests/tools/get-envoy.sh)" SLUICE_REDIS="$$(host-tests/tools/get-redis.sh)"
# Most tests on a real Envoy wait for something most of the time: with one thread for each core the cores are idle.
with-test-tools = RUST_TEST_THREADS="$$((2 * $$(nproc)))" $(with-tools) SLUICE_CACHE_TESTS="$$(host-tests/tools/get-cache-tests.sh)" \
    SLUICE_ETCD="$$(host-tests/tools/get-etcd.sh)"

targets:
	@for target in $(WASM) wasm32-unknown-unknown; do \
	    [ -d "$$(rustc --print sysroot)/lib/rustlib/$$target" ] || rustup target add "$$target"; \
	done

tools:
	@host-tests/tools/get-envoy.sh
	@host-tests/tools/get-redis.sh
