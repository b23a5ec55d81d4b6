#!/bin/sh
# What an idle service holds of memory, answering over HTTP: under 20 MB in all (VmRSS), or it fails. `Own` leaves out the
# pages of the program file, those that were relocated, too: a debug build has several times as many. The file is read
# afresh, as after a start of the machine: the kernel maps larger pieces of a file that was just written, and would count
# up to 4 MB more of the same program.
#   tools/idle-memory.sh target/release/hubvault [MEGABYTES [VmRSS | Own]]
set -eu
program=$1
most=${2:-20}
kind=${3:-VmRSS}
place=$(mktemp -d)
sync "$program"
dd if="$program" iflag=nocache count=0 2>/dev/null
BACKUP_DIR=$place/backups EMAIL_ENABLED=false POSTGRES_HOST=127.0.0.1 POSTGRES_PORT=1 HTTP_ADDR=127.0.0.1:0 \
    "$program" serve 2>"$place/log" &
service=$!
trap 'kill "$service" 2>/dev/null || true; wait "$service" 2>/dev/null || true; rm -rf "$place"' EXIT

tries=0
until grep -q 'next run at' "$place/log"; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || { echo "the service did not start:" >&2; cat "$place/log" >&2; exit 1; }
    sleep 0.1
done
in_all=$(awk '$1 == "VmRSS:" { print $2 }' "/proc/$service/status")
own=$(awk '/^[0-9a-f]+-[0-9a-f]+ / { of_file = $6 ~ "^/" } /^Anonymous:/ && !of_file { sum += $2 } END { print sum }' \
    "/proc/$service/smaps")
case $kind in Own) resident=$own ;; *) resident=$in_all ;; esac
echo "an idle service holds $in_all kB, $own kB of them its own"
[ "$resident" -lt "${most}000" ] || { echo "that is more than $most MB" >&2; exit 1; }
