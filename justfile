# What the README and CI call. `just` alone lists it.

_default:
    @just --list

# Build and run with conf/weir.yaml
run:
    cargo run --release -- run --config conf/weir.yaml

# Everything that must pass: format, lints, licences and advisories, spelling, tests
ci: fmt-check lint deny typos test sdk admin scenarios

# All Rust tests
test:
    cargo nextest run --workspace --profile ci --no-fail-fast
    WEIR_TEST_IO=epoll cargo nextest run --profile ci --no-fail-fast --test it
    cargo test --doc --workspace

# Real client libraries against weir and its simulated upstreams
sdk:
    tests/sdk/run

# The admin API as its OpenAPI document describes it, and the walk-through of conf/identity.md
admin:
    tests/admin/run

# Downloads 150 MB: three mock servers, and a model of 135 million weights on a llama.cpp server.
# Client libraries against upstreams that others wrote
real *arguments:
    tests/real/run {{arguments}}

# Wants a nightly toolchain and cargo-fuzz. What it finds is kept in tests/fuzz/artifacts
# One fuzz target for some seconds, beginning with its corpus
fuzz target seconds="60":
    #!/usr/bin/env bash
    set -euo pipefail
    mkdir -p target/fuzz/{{target}}
    cargo +nightly fuzz run --fuzz-dir tests/fuzz {{target}} "$PWD/target/fuzz/{{target}}" "$PWD/tests/fuzz/corpus/{{target}}" -- \
        -max_len=16384 -rss_limit_mb=3000 -max_total_time={{seconds}} -print_final_stats=1

# CPU of weir for every pair of formats, beside forwarding. Wants the release binaries
pairs *arguments:
    cargo build --release --workspace
    target/release/weir-loadtest pairs {{arguments}}

# Faults, departures, reloads, an upgrade and a minute of soak, each checked; times are not judged here
scenarios:
    cargo build --workspace --bins
    target/debug/weir-loadtest faults table
    target/debug/weir-loadtest faults table --weir-io epoll
    target/debug/weir-loadtest faults cancel --repeat 1 --within 1s
    target/debug/weir-loadtest faults cancel --repeat 1 --within 1s --weir-io epoll
    target/debug/weir-loadtest faults kill --duration 6s --rate 200
    target/debug/weir-loadtest faults ledger --requests 6000 --rate 300
    target/debug/weir-loadtest faults reload --duration 8s --reloads 16 --rounds 2 --rate 100 --p99-factor 1000
    target/debug/weir-loadtest faults upgrade --streams 50 --rate 100
    target/debug/weir-loadtest soak --duration 60s --rate 40 --interval 2s

fmt-check:
    cargo fmt --all --check

lint:
    cargo clippy --workspace --all-targets -- -D warnings

# Licences, sources and bans always; advisories where their database can be fetched
deny:
    cargo deny --workspace check bans licenses sources
    cargo deny --workspace check advisories || test -n "${CI:-}"

typos:
    typos

# Rewrite the generated and golden files that tests compare with
golden:
    UPDATE_GOLDEN=1 INSTA_UPDATE=always cargo nextest run --workspace

# Micro-benchmarks
bench:
    cargo bench --workspace

# The release binary: fat LTO, one codegen unit
dist:
    cargo build --profile dist --workspace

# Takes three builds and a few minutes of load; wants llvm-profdata (`rustup component add llvm-tools`, or
# Debian's llvm of the compiler's own version) and, for the last step, llvm-bolt (Debian's bolt).
# The release binary laid out by a profile of the loads of compare and pairs: target/pgo/dist/weir
pgo:
    #!/usr/bin/env bash
    set -euo pipefail
    llvm=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
    tool() { command -v "$1-$llvm" || command -v "$1" || true; }
    profdata=$(find "$(rustc --print sysroot)" -name llvm-profdata -type f | head -1)
    test -n "$profdata" || profdata=$(command -v "llvm-profdata-$llvm" || true)
    test -n "$profdata" || { echo "llvm-profdata is missing: rustup component add llvm-tools, or apt-get install llvm-$llvm"; exit 1; }
    here=$PWD/target/pgo
    forward() {
        target/dist/weir-loadtest compare --quick --weir "$1" \
            --with weir --with weir-epoll --with weir-ledger \
            --part requests --part streams --part latency
    }
    translate() {
        target/dist/weir-loadtest pairs --weir "$1" --rounds 1 --length 300ms
    }
    rm -rf "$here/raw" && mkdir -p "$here/raw"
    RUSTFLAGS="-Cprofile-generate=$here/raw" cargo build --profile dist --bin weir --target-dir "$here/instrumented"
    cargo build --profile dist --package weir-loadtest
    rm -f "$here"/raw/*
    LLVM_PROFILE_FILE="$here/raw/forward-%p.profraw" forward "$here/instrumented/dist/weir"
    LLVM_PROFILE_FILE="$here/raw/translate-%p.profraw" translate "$here/instrumented/dist/weir"
    # Translation runs so much more code that without a weight what forwards would look cold beside it.
    forwarded=("$here"/raw/forward-*.profraw)
    "$profdata" merge --output "$here/weir.profdata" \
        "${forwarded[@]/#/--weighted-input=30,}" "$here"/raw/translate-*.profraw
    # Calls are inlined where that is short: a request runs through more code than the first cache of
    # instructions holds. Code that is hot, warm and never run lies apart; the relocations are for llvm-bolt.
    RUSTFLAGS="-Cprofile-use=$here/weir.profdata -Cllvm-args=-hot-callsite-threshold=400 -Clink-arg=-Wl,-z,keep-text-section-prefix -Clink-arg=-Wl,--emit-relocs" \
        cargo build --profile dist --bin weir --target-dir "$here"
    bolt=$(tool llvm-bolt) merge=$(tool merge-fdata)
    if [ -z "$bolt" ] || [ -z "$merge" ]; then
        echo "llvm-bolt is not there, so blocks stay in the compiler's order (apt-get install bolt-$llvm)"
        exit 0
    fi
    # The blocks of hot functions in the order in which they run, by counts of the same load.
    "$bolt" "$here/dist/weir" -o "$here/counted" -instrument \
        -instrumentation-file="$here/raw/blocks" -instrumentation-file-append-pid
    forward "$here/counted" && translate "$here/counted"
    "$merge" "$here"/raw/blocks.*.fdata > "$here/weir.fdata"
    "$bolt" "$here/dist/weir" -o "$here/ordered" -data="$here/weir.fdata" -reorder-blocks=ext-tsp \
        -reorder-functions=cdsort -split-functions -split-all-cold -split-eh -icf=1 -plt=hot
    mv "$here/ordered" "$here/dist/weir"

# The transport's tests under AddressSanitizer: what the kernel writes to, and what is lent, outlives its use
sanitize:
    RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address cargo test --package weir --lib --target x86_64-unknown-linux-gnu transport::
