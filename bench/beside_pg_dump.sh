#!/bin/bash
# Wall time and peak memory of a backup (read back; then also with its drill) beside `pg_dump -Fd -j2` of the same database, alternating.
#
#   bench/beside_pg_dump.sh [MEGABYTES] [ROUNDS]      default: 2000 MB, 3 rounds
#
# Starts a PostgreSQL of its own under /tmp and removes it. Needs about three times MEGABYTES on disk.
set -euo pipefail
cd "$(dirname "$0")/.."
megabytes=${1:-2000} rounds=${2:-3}
hubvault=$PWD/target/release/hubvault
bin=$(dirname "$(readlink -f "$(command -v initdb || ls /usr/lib/postgresql/*/bin/initdb | head -1)")")
place=$(mktemp -d /tmp/hubvault-bench-XXXXXX)

as_server() { if [ "$(id -u)" = 0 ]; then setpriv --reuid postgres --regid postgres --clear-groups "$@"; else "$@"; fi; }
cleanup() {
    as_server "$bin/pg_ctl" -D "$place/data" -m immediate stop >/dev/null 2>&1 || true
    rm -rf "$place"
}
trap cleanup EXIT

chmod 755 "$place"
mkdir "$place/server" "$place/backups"
if [ "$(id -u)" = 0 ]; then chown postgres "$place" "$place/server"; fi
cd "$place"
as_server "$bin/initdb" -D "$place/data" -U postgres -E UTF8 --locale=C.UTF-8 -A trust --no-sync >/dev/null
as_server "$bin/pg_ctl" -D "$place/data" -w -l "$place/server/log" -o \
    "-c listen_addresses= -c unix_socket_directories=$place/server -c fsync=off -c shared_buffers=256MB -c max_wal_size=4GB" start >/dev/null
export PGHOST=$place/server PGUSER=postgres PGDATABASE=postgres

# Rows like those of a product: keys, a short text, a number, a date, some json. About 215 bytes each.
rows=$((megabytes * 1000000 / 215 / 4))
for table in users orders events messages; do
    psql -qX -c "CREATE TABLE $table AS
        SELECT n AS id, gen_random_uuid() AS key, md5(n::text) AS name, (n::bigint * 7919 % 100000) / 100.0 AS amount,
               timestamptz '2026-01-01' + n * interval '1 second' AS created_at,
               jsonb_build_object('ip', n % 256, 'agent', md5((n % 1000)::text), 'tags', array['a', 'b', n::text]) AS metadata
        FROM generate_series(1, $rows) n; ANALYZE $table;"
done
psql -qXAt -c "SELECT 'database: ' || pg_size_pretty(sum(pg_total_relation_size(c))) || ', ' || sum(reltuples)::bigint || ' rows'
    FROM unnest(array['users', 'orders', 'events', 'messages']::regclass[]) c JOIN pg_class ON oid = c"

printf 'file = []\n[scope]\ntables = ["*"]\nwindow = []\n' >"$place/hubvault.toml"
export BACKUP_DIR=$place/backups HUBVAULT_CONFIG=$place/hubvault.toml

# measured NAME COMMAND...: wall seconds and peak memory (kB) of the largest process, to NAME.times
measured() {
    name=$1
    shift
    code=0
    /usr/bin/env time -f '%e %M' -o "$place/time" "$@" >"$place/out" 2>&1 || code=$?
    case $code in 0 | 3) ;; *) cat "$place/out"; exit 1 ;; esac
    tail -1 "$place/time" >>"$place/$name.times"
    echo "  $name: $(tail -1 "$place/time" | awk '{ print $1 " s, peak " int($2 / 1024) " MB" }')"
}

for round in $(seq "$rounds"); do
    echo "round $round"
    rm -rf "$place/dump" "$place"/backups/critical_backup_*
    measured pg_dump "$bin/pg_dump" -Fd -j2 -f "$place/dump"
    PROOF=off measured hubvault "$hubvault" backup --no-progress
    rm -f "$place"/backups/critical_backup_*
    PROOF=always TMPDIR=$place measured drilled "$hubvault" backup --no-progress
done
median() { sort -n "$1" | awk '{ a[NR] = $1 } END { print a[int((NR + 1) / 2)] }'; }
a=$(median "$place/pg_dump.times") b=$(median "$place/hubvault.times")
peak=$(sort -k2 -n "$place/hubvault.times" | tail -1 | awk '{ print int($2 / 1024) }')
drilled=$(median "$place/drilled.times")
size=$(du -cm "$place"/backups/critical_backup_* | tail -1 | cut -f1) dump=$(du -sm "$place/dump" | cut -f1)
awk "BEGIN { printf \"median: pg_dump -Fd -j2 %.1f s (%d MB), hubvault backup with read-back %.1f s (%d MB); ratio %.2f; with the drill %.1f s; hubvault's peak memory %d MB\n\", $a, $dump, $b, $size, $b / $a, $drilled, $peak }"
