# The one task runner: people and CI call the same recipes.
CARGO := cargo
BUILD := --release --locked

.PHONY: check fmt clippy deny doc build test bench

check: fmt clippy deny doc test

fmt:
	$(CARGO) fmt --check

clippy:
	$(CARGO) clippy $(BUILD) --all-targets -- -D warnings

deny:
	@if command -v cargo-deny >/dev/null; then $(CARGO) deny check bans licenses sources; else echo "cargo-deny is not installed: skipped (cargo install cargo-deny)"; fi

doc:
	$(CARGO) doc $(BUILD) --no-deps --document-private-items

build:
	$(CARGO) build $(BUILD)

# Every kind of test: core, layers, fakes, real nginx, real Docker.
test:
	$(CARGO) nextest run $(BUILD) --no-fail-fast

bench:
	$(CARGO) bench --locked --bench core
	scripts/bench
