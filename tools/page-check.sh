#!/bin/sh
# The page of a sample hub in a headless Chromium: phone, tablet and desktop, light and dark, with and without JavaScript.
# Fails where axe finds a violation (WCAG 2.2 AA), a page scrolls sideways, the console has an error, or it takes too much.
# Pictures go to DIRECTORY. Usage: page-check.sh HUBVAULT DIRECTORY
set -eu

hubvault=$(realpath "$1")
mkdir -p "$2"
directory=$(realpath "$2")
here=$(dirname "$(realpath "$0")")

for program in chromium node npm; do
    command -v "$program" >/dev/null || {
        echo "page-check.sh: please install $program" >&2
        exit 1
    }
done
work=$(mktemp -d)
chmod 755 "$work"
demo=
trap '[ -z "$demo" ] || { kill -INT "$demo" && wait "$demo"; } || true; rm -rf "$work"' EXIT

cp "$here"/page/package*.json "$here"/page/check.mjs "$work"
(cd "$work" && npm ci --silent --no-audit --no-fund)

cd "$work"
"$hubvault" demo --users 2000 --no-progress --keep >"$work/said" 2>&1 &
demo=$!
until grep -q '^Ctrl-C ends' "$work/said"; do
    kill -0 "$demo" 2>/dev/null || {
        cat "$work/said" >&2
        exit 1
    }
    sleep 0.2
done
address=$(sed -n 's|^\(http://127[^/]*\)/$|\1|p' "$work/said")
token=$(sed -n '/^Log in with the token$/{n;p;}' "$work/said")
TOKEN=$token node check.mjs "$address" "$directory" "$(command -v chromium)"
echo "written to $directory"
