#!/usr/bin/env bash
# Runs fuzz targets with cargo-fuzz, one after another, from the checked-in corpus on.
#
#   scripts/fuzz.sh run RUNS [TARGET...]   RUNS executions of each target; what is found is added to the work folder
#   scripts/fuzz.sh pack                   minimises the work folders into fuzz/corpus
#   scripts/fuzz.sh coverage               line coverage of the parsers by fuzz/corpus
#
# The work folder is target/fuzz-corpus. A finding stops the run; its input lies in fuzz/artifacts/TARGET.
# MAX_LEN: bytes of an input, 512. SANITIZER=address looks for errors of unsafe code too, at half the speed; COMPARES=1
# builds with debug assertions, and with what shows libFuzzer the operands of comparisons, at a fifth of it.
set -euo pipefail
cd "$(dirname "$0")/.."

export PLAINSPAN_FUZZ_WORK="$PWD/target/fuzz-corpus"
LIBBPF_SYS_LIBRARY_PATH="$(pkg-config --variable=libdir libelf)"
export LIBBPF_SYS_LIBRARY_PATH
targets=(content context events grpc hpack http1 http2 redact replay rules websocket)
options=(--sanitizer "${SANITIZER:-none}" --target-dir target/fuzz)
[ -n "${COMPARES:-}" ] || options+=(--release --no-trace-compares)
# Bytes of an input, MiB of memory, seconds for one input.
limits=(-max_len="${MAX_LEN:-512}" -rss_limit_mb=1024 -timeout=10)

need_cargo_fuzz() {
    cargo fuzz --version >/dev/null 2>&1 && return
    echo "cargo-fuzz is missing: cargo install cargo-fuzz --locked" >&2
    exit 1
}

# The compiler that builds the targets: cargo-fuzz needs a nightly one.
fuzz() {
    cargo "+${PLAINSPAN_NIGHTLY:-nightly}" fuzz "$@"
}

# The words of what a target reads, where it has a file of them.
words() {
    case $1 in
    rules) echo "-dict=$PWD/fuzz/rules.dict" ;;
    http1 | http2 | replay) echo "-dict=$PWD/fuzz/http.dict" ;;
    esac
}

tool() {
    cargo test --locked --quiet --test fuzz_replay -- --exact --ignored "$1"
}

run() {
    local runs=$1
    shift
    need_cargo_fuzz
    tool unpack_the_corpus
    for target in "${@:-${targets[@]}}"; do
        local dictionary
        mapfile -t dictionary < <(words "$target")
        fuzz build "${options[@]}" "$target"
        echo "== $target: $runs runs"
        fuzz run "${options[@]}" "$target" "$PLAINSPAN_FUZZ_WORK/$target" -- \
            "${limits[@]}" -entropic=0 "${dictionary[@]}" -runs="$runs" -print_final_stats=1
    done
}

pack() {
    need_cargo_fuzz
    for target in "${targets[@]}"; do
        fuzz cmin "${options[@]}" "$target" "$PLAINSPAN_FUZZ_WORK/$target" -- "${limits[@]}" -max_len=4096
    done
    tool pack_the_corpus
}

# Needs llvm-profdata and llvm-cov of the compiler's own LLVM (`rustc -vV`); Debian has them as llvm-NN.
coverage() {
    local llvm folder test
    llvm=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
    folder="$PWD/target/coverage"
    mkdir -p "$folder"
    export LLVM_PROFILE_FILE="$folder/profiles/%p.profraw"
    test=$(RUSTC_WORKSPACE_WRAPPER="$PWD/scripts/with-coverage.sh" \
        cargo test --locked --test fuzz_replay --no-run --message-format=json |
        sed -n 's/.*"executable":"\([^"]*fuzz_replay[^"]*\)".*/\1/p')
    rm -rf "$folder/profiles"
    "$test" --quiet --exact every_input_of_the_corpus_keeps_the_promises_of_its_target
    "llvm-profdata-$llvm" merge -sparse "$folder"/profiles/*.profraw -o "$folder/merged.profdata"
    "llvm-cov-$llvm" report "$test" -instr-profile="$folder/merged.profdata" \
        src/proto src/transaction src/event src/conn | tee "$folder/report.txt"
    "llvm-cov-$llvm" show "$test" -instr-profile="$folder/merged.profdata" \
        src/proto src/transaction src/event src/conn >"$folder/lines.txt"
}

case ${1:-} in
run) run "${@:2}" ;;
pack) pack ;;
coverage) coverage ;;
*)
    sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
