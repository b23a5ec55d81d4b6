#!/bin/sh
# The page of a sample hub in a headless Chromium: each page at the sizes of a phone, a tablet and a desktop, light and dark,
# with and without JavaScript, and what people do with it from one end to the other.
# Fails where axe finds a violation (WCAG 2.2 AA), the HTML is not valid, a page scrolls sideways, the console has an error,
# or it takes too much. Pictures go to DIRECTORY. Usage: page-check.sh HUBVAULT DIRECTORY
set -eu

hubvault=$(realpath "$1")
mkdir -p "$2"
directory=$(realpath "$2")
here=$(dirname "$(realpath "$0")")

for program in chromium node npm python3 psql; do
    command -v "$program" >/dev/null || {
        echo "page-check.sh: please install $program" >&2
        exit 1
    }
done
work=$(mktemp -d)
chmod 755 "$work"
trap 'rm -rf "$work"' EXIT

cp "$here"/page/package*.json "$here"/page/*.mjs "$work"
(cd "$work" && npm ci --silent --no-audit --no-fund)
python3 "$here"/page_hub.py "$hubvault" "$work" node check.mjs "$directory" "$(command -v chromium)"
echo "written to $directory"
