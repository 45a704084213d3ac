# Every chore has its command here; continuous integration runs `make test`.
# Debian packages that are missing are installed (as root, or through sudo); PLAINSPAN_SKIP_DEPS=1 turns that off.

SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CONFIG ?=
# Fuzzing: one target, else all; executions of each.
TARGET ?=
RUNS ?= 1000000
BUILD_PACKAGES := clang gcc libc6-dev make pkg-config libelf-dev zlib1g-dev openjdk-17-jdk-headless

# libelf and zlib are linked statically; where they lie differs between distributions.
CARGO := LIBBPF_SYS_LIBRARY_PATH="$$(pkg-config --variable=libdir libelf)" cargo
BPF_SOURCES := $(wildcard bpf/*.c bpf/*.h bpf/arch/*.h bpf/include/*.h bpf/parts/*.h)
# Test programs that load kernel programs or look at the whole host; all the others need neither root nor a kernel.
ROOT_TESTS := kernel kernels finder e2e packages
ALL_TESTS := $(basename $(notdir $(wildcard tests/*.rs))) $(notdir $(patsubst %/main.rs,%,$(wildcard tests/*/main.rs)))
# What takes long: only `make soak` runs these.
SOAK_TESTS := soak
UNIT_TESTS := $(filter-out $(ROOT_TESTS) $(SOAK_TESTS),$(ALL_TESTS))

# Loading kernel programs needs root. Elsewhere cargo runs the test program through sudo.
ifneq ($(shell id -u),0)
AS_ROOT := sudo -E
ROOT_RUNNER := CARGO_TARGET_$(shell rustc -vV | sed -n 's/^host: //p' | tr a-z- A-Z_)_RUNNER="$(AS_ROOT)"
endif

.PHONY: help deps test-deps build packages demo fresh run test test-unit test-e2e fuzz soak bench fmt lint clean

help: ## Says what there is
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

deps: ## Installs what a build needs
	@scripts/ensure-packages.sh $(BUILD_PACKAGES)

test-deps: deps
	@tests/setup.sh

build: deps ## Builds target/release/plainspan
	$(CARGO) build --locked --release

packages: build ## Makes target/packages: .deb, .rpm, tarball, SBOM, install.sh, checksums
	packaging/tools.sh
	packaging/build.sh

demo: deps ## Shows one HTTPS request as span, log record and payload, and ends by itself
	@demo/run.sh

fresh: ## README's commands for somebody new, on an empty Debian with git, make and Rust; needs root
	@scripts/fresh.sh

run: build ## Runs the agent; CONFIG=FILE for a configuration
	$(AS_ROOT) target/release/plainspan run $(if $(CONFIG),-c $(CONFIG))

test: test-deps lint test-unit test-e2e ## Everything that must pass

test-unit: test-deps ## Unit, property, golden and example tests; no root, no kernel
	$(CARGO) test --locked --lib --bins $(addprefix --test ,$(UNIT_TESTS))

test-e2e: test-deps ## Kernel programs, other kernels, finder, the whole agent against real programs, packages; needs root
	$(ROOT_RUNNER) $(CARGO) test --locked $(addprefix --test ,$(ROOT_TESTS)) -- --test-threads=1

fuzz: deps ## Fuzzes the parsers; TARGET=http1 RUNS=1000000
	scripts/fuzz.sh run $(RUNS) $(TARGET)

# PLAINSPAN_CASES: random cases of each property. PLAINSPAN_SOAK_SSE_SECONDS (600), PLAINSPAN_SOAK_DOWNLOAD_BYTES (1 GiB),
# PLAINSPAN_SOAK_CHAOS_SECONDS (1200), _CHAOS_RATE (2000), _CHAOS_SEED (printed), PLAINSPAN_SOAK_IDLE_CONNECTIONS (10000).
soak: test-deps ## What takes long: 10,000 cases a property, memory, many connections, 20 minutes of chaos; needs root
	PLAINSPAN_CASES="$${PLAINSPAN_CASES:-10000}" $(CARGO) test --locked --release --test properties
	$(ROOT_RUNNER) $(CARGO) test --locked --release --test $(SOAK_TESTS) -- --test-threads=1 --nocapture

# PLAINSPAN_BENCH_*: benches/load/main.rs.
bench: test-deps ## What one transaction costs by stage, beside the SDK and CEL; then the whole agent under load; needs root
	$(CARGO) bench --locked --bench line --bench otlp
	@# A package of its own, so that nothing else builds CEL; the target folder is the same for what both need.
	$(CARGO) run --locked --release --manifest-path benches/rules/Cargo.toml --target-dir target
	$(ROOT_RUNNER) $(CARGO) bench --locked --bench load

fmt: test-deps ## Formats Rust and C
	cargo fmt
	cargo fmt --manifest-path benches/rules/Cargo.toml
	$(if $(BPF_SOURCES),clang-format -i $(BPF_SOURCES))

lint: test-deps ## Formatting and clippy, warnings are errors
	cargo fmt --check
	cargo fmt --check --manifest-path benches/rules/Cargo.toml
	$(if $(BPF_SOURCES),clang-format --dry-run -Werror $(BPF_SOURCES))
	$(CARGO) clippy --locked --all-targets -- -D warnings
	@# For arm64 the kernel programs are compiled, and no more.
	$${CLANG:-clang} -g -O2 -target bpf -mcpu=v3 -D__TARGET_ARCH_arm64 -Ibpf -Wall -Wextra -Wno-unused-parameter -Werror \
		-I"$$(ls -td target/debug/build/libbpf-sys-*/out/include | head -1)" -c bpf/plainspan.bpf.c -o target/arm64.bpf.o
	@# What is built apart keeps its own list of versions: a dependency that changed here belongs there too.
	cargo update --workspace --locked --quiet --manifest-path benches/rules/Cargo.toml
	cargo update --workspace --locked --quiet --manifest-path fuzz/Cargo.toml
	@# As users build it: without the features that the tests' own dependencies turn on.
	$(CARGO) check --locked --bin plainspan

clean: ## Removes all that was built, and the tests' Python environment
	cargo clean
