#!/bin/sh
# Pictures of every mail in a headless Chromium, as wide as a phone and as a desktop, light and dark, to be
# looked at after a change of a template. Usage: mail-pictures.sh HUBVAULT DIRECTORY
set -eu

hubvault=$(realpath "$1")
mkdir -p "$2"
directory=$(realpath "$2")

command -v chromium >/dev/null || {
    echo "mail-pictures.sh: please install chromium" >&2
    exit 1
}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

picture() { # page, file, width, colour scheme (0 is dark, 1 is light)
    chromium --headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking \
        --disable-component-update --disable-sync --user-data-dir="$work/profile" --hide-scrollbars \
        --blink-settings=preferredColorScheme="$4" --window-size="$3",1600 --screenshot="$2" "file://$1" \
        >/dev/null 2>&1
}

for kind in success failure alert recovered digest test; do
    BACKUP_DIR="$work" LOG_LEVEL=error "$hubvault" mail preview "$kind" --html >"$work/$kind.html"
    # A window cannot be as narrow as a phone; a frame can.
    echo "<body style='margin:0'><iframe src='$kind.html' style='width:390px;height:1600px;border:0'></iframe>" \
        >"$work/$kind-phone.html"
    picture "$work/$kind.html" "$directory/$kind-desktop-light.png" 900 1
    picture "$work/$kind.html" "$directory/$kind-desktop-dark.png" 900 0
    picture "$work/$kind-phone.html" "$directory/$kind-phone-light.png" 500 1
    picture "$work/$kind-phone.html" "$directory/$kind-phone-dark.png" 500 0
    echo "$kind"
done
echo "written to $directory"
