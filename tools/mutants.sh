#!/usr/bin/env bash
# Changes the code in small ways, one at a time, and runs the tests of its crate: those that no test notices are in
# target/mutants/summary.md, by file.
#
#   tools/mutants.sh             the files below
#   tools/mutants.sh FILE...     these
#
# Needs cargo-mutants (cargo install cargo-mutants). Hours in full; minutes for a file of archive or model.
set -euo pipefail
cd "$(dirname "$0")/.."

# What decides whether a proof, a restore or retention is right, and has tests that need no server.
files=(
    crates/archive/src/{codec,entry,json,reader,relations,trailer,verify,writer}.rs
    crates/model/src/{digest,name}.rs
    crates/engine/src/retain/policy.rs
    crates/engine/src/proof/{integrity,verdict}.rs
    crates/engine/src/restore/{compare,order}.rs
    crates/engine/src/logical/{scope,closure,foreign_keys}.rs
)
[ $# = 0 ] || files=("$@")

target=$PWD/target/mutants
rm -rf "$target"
mkdir -p "$target"
summary=$target/summary.md
printf '| file | mutants | noticed | not noticed |\n|---|---|---|---|\n' >"$summary"
for file in "${files[@]}"; do
    package=hubvault-$(cut -d/ -f2 <<<"$file")
    out=$target/${file//\//_}
    code=0
    cargo mutants --package "$package" --file "$file" --output "$out" --no-shuffle --minimum-test-timeout 60 \
        --cargo-test-arg=--lib --cargo-test-arg=--tests >"$out.log" 2>&1 || code=$?
    # 2: some were not noticed; 3: some ran into the time limit, which is noticed, too.
    case $code in
    0 | 2 | 3) ;;
    *) tail -n 20 "$out.log" >&2; exit 1 ;;
    esac
    of() { cat "$@" 2>/dev/null | grep -c . || true; }
    noticed=$(of "$out"/mutants.out/{caught,timeout}.txt)
    missed=$(of "$out"/mutants.out/missed.txt)
    printf '| `%s` | %s | %s | %s |\n' "$file" "$((noticed + missed))" "$noticed" "$missed" >>"$summary"
    sed 's/^/- /' "$out/mutants.out/missed.txt" >>"$target/missed.md"
done
{ echo; cat "$target/missed.md"; } >>"$summary"
cat "$summary"
