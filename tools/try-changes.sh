#!/usr/bin/env bash
# Applies every example of docs/contributing-map.md to a copy of the tree, one after the other, builds it, and runs the
# tests that the examples add, and those that hold pages and lists to the code.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$PWD/target/try-changes
# Its own: the programs of the changed tree must not replace those of this one.
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$work/target}
# Not the repository that the copy is in.
export GIT_CEILING_DIRECTORIES=$work
rm -rf "$work/tree"
mkdir -p "$work/tree"
git ls-files -z --cached --others --exclude-standard | tar -c --null --files-from - | tar -x -C "$work/tree"
trap 'rm -rf "$work/tree"' EXIT
cd "$work/tree"

for change in docs/changes/*.patch; do
    echo "applying $change"
    git apply --whitespace=error "$change"
done
cargo=${CARGO:-cargo}
while read -r file; do
    if grep --quiet "^+++ b/${file#"$PWD/"}$" docs/changes/*.patch; then
        echo "try-changes.sh: ${file#"$PWD/"} is not formatted" >&2
        exit 1
    fi
done < <($cargo fmt -- --check -l || true)

mapfile -t added < <(sed -n '/^+#\[test\]$/ { n; s/^+fn \([a-z0-9_]*\)().*/\1/p }' docs/changes/*.patch)
kept=(every_check_is_documented every_type_of_mail_is_in_the_manual every_link_leads_somewhere
    every_command_of_the_pages_exists help_teaches_what_a_command_does_and_how_it_ends
    what_users_read_is_in_plain_words)
$cargo test --workspace --locked -- "${added[@]}" "${kept[@]}" 2>&1 | tee "$work/log"
for name in "${added[@]}" "${kept[@]}"; do
    grep --quiet "\b$name \.\.\. ok$" "$work/log" || { echo "try-changes.sh: $name did not run" >&2; exit 1; }
done
echo "all examples apply, and their ${#added[@]} tests pass"
