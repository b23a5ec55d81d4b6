#!/usr/bin/env bash
# Hostile input for every reader, SECONDS_EACH seconds each (60), with libFuzzer on the stable compiler:
#   tools/fuzz.sh [TARGET...]
# What it finds to be new stays in target/fuzz/corpus; an input that breaks something in target/fuzz/artifacts.
set -euo pipefail
cd "$(dirname "$0")/../fuzz"
seconds=${SECONDS_EACH:-60}
host=$(rustc -vV | sed -n 's/^host: //p')
export CARGO_TARGET_DIR=$PWD/../target/fuzz
# What cargo-fuzz says to the compiler, without the sanitizers, which need a nightly one.
export RUSTFLAGS="--cfg fuzzing -Ccodegen-units=1 -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares"
cargo build --release --locked --target "$host" --bins

targets=("$@")
[ $# -gt 0 ] || mapfile -t targets < <(basename -s .rs fuzz_targets/*.rs)
out=$CARGO_TARGET_DIR
printf '| target | seconds | inputs | new ones kept | broke |\n|---|---:|---:|---:|---:|\n' >"$out/summary.md"
failed=0
for target in "${targets[@]}"; do
    mkdir -p "$out/corpus/$target" "$out/artifacts/$target"
    # A leak of memory is found by the bound on it, a hang by the bound on time.
    "$out/$host/release/$target" "$out/corpus/$target" "corpus/$target" -max_total_time="$seconds" -print_final_stats=1 \
        -rss_limit_mb=1024 -malloc_limit_mb=512 -timeout=20 -max_len=65536 -artifact_prefix="$out/artifacts/$target/" \
        >"$out/$target.log" 2>&1 || failed=1
    inputs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$out/$target.log")
    kept=$(find "$out/corpus/$target" -type f | wc -l)
    broke=$(find "$out/artifacts/$target" -type f | wc -l)
    printf '| %s | %s | %s | %s | %s |\n' "$target" "$seconds" "${inputs:-?}" "$kept" "$broke" >>"$out/summary.md"
    [ "$broke" -eq 0 ] || tail -n 30 "$out/$target.log"
done
cat "$out/summary.md"
exit "$failed"
