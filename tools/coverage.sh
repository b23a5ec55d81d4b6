#!/usr/bin/env bash
# Lines that the tests ran, by crate: target/coverage/summary.md, and those they did not run: target/coverage/missed.txt.
#
#   tools/coverage.sh            runs the tests, then reports
#   tools/coverage.sh report     reports on what was run before
#
# Needs llvm-profdata and llvm-cov of LLVM 19 or newer (Debian: llvm-19), or rustup's llvm-tools.
set -euo pipefail
cd "$(dirname "$0")/.."
target=$PWD/target/coverage

find_tool() {
    local sysroot
    sysroot=$(rustc --print sysroot)
    for tool in "${LLVM_BIN:-}/$1" "$sysroot"/lib/rustlib/*/bin/"$1" /usr/lib/llvm-{22,21,20,19}/bin/"$1"; do
        [ -x "$tool" ] && { echo "$tool"; return; }
    done
    echo "$1 of LLVM 19 or newer was not found: apt-get install llvm-19, or set LLVM_BIN" >&2
    return 1
}
profdata=$(find_tool llvm-profdata)
cov=$(find_tool llvm-cov)

export CARGO_TARGET_DIR=$target CARGO_INCREMENTAL=0 RUSTC_WORKSPACE_WRAPPER=$PWD/tools/instrumented-rustc.sh
mkdir -p "$target/raw"
# A throwaway server and its tools may run as another user.
chmod 1777 "$target/raw"
export LLVM_PROFILE_FILE=$target/raw/%8m.profraw
if [ "${1:-}" != report ]; then
    rm -f "$target"/raw/*.profraw
    cargo test --workspace --locked --no-run
    # A test that fails is named by `make test`; what it ran counts all the same.
    cargo test --workspace --locked --no-fail-fast || echo "some tests failed" >&2
    # The faults reach the errors that nothing else reaches.
    LLVM_PROFILE_FILE=$target/raw/faults-%8m.profraw HUBVAULT_FAULTS=short cargo test -p hubvault --test faults --locked --no-fail-fast -- --test-threads 2 || echo "some faults failed" >&2
    # What people try first, and the tests do not run.
    (cd "$(mktemp -d)" && "$target/debug/hubvault" demo) || echo "the demonstration failed" >&2
fi

# The tests' programs, as Cargo names them, and hubvault itself.
objects=()
while IFS= read -r object; do
    objects+=(-object "$object")
done < <(cargo test --workspace --locked --no-run --message-format json 2>/dev/null |
    python3 -c 'import json, sys
for line in sys.stdin:
    made = json.loads(line)
    if made.get("executable"): print(made["executable"])' | sort -u)
"$profdata" merge -failure-mode=all -sparse "$target"/raw/*.profraw -o "$target/all.profdata"
"$cov" export -format=lcov -instr-profile="$target/all.profdata" "${objects[@]}" -sources "$PWD/crates" >"$target/all.lcov"
tools/coverage.py "$target/all.lcov" "$target"
cat "$target/summary.md"
