#!/usr/bin/env bash
# The whole suite, every test of it even if one fails. What failed is printed once more at the end, so that it is the
# last thing on the screen. All of the output is in target/test.log.
set -uo pipefail

cd "$(dirname "$0")/.."
mkdir -p target
log=target/test.log
echo "On two processors this takes about 5 minutes to build and 12 to run; on a busy machine several times that."

# Most tests wait for a program most of the time, so more of them than processors run at once.
export RUST_TEST_THREADS=${RUST_TEST_THREADS:-$((2 * $(nproc)))}
${CARGO:-cargo} test --workspace --locked --no-fail-fast "$@" 2>&1 | tee "$log"
result=$?
[ "$result" -ne 0 ] || exit 0

printf '\n==== what failed (all of the output: %s)\n' "$log"
# Of each test program what libtest prints between its list of tests and its result.
awk '/^failures:$/ { inside = 1 } /^test result: / { inside = 0 } inside' "$log"
grep -E '^error(\[|:)' "$log" | tail -n 5
exit "$result"
