#!/bin/sh
# Restores this archive with psql and pg_restore alone. Made by hubvault; the archive holds
# the database @@DATABASE@@ as of @@TAKEN_AT@@.
set -u

usage() {
    cat <<'TEXT'
usage: PGDATABASE=target sh restore.sh [options]

Restores into the database that PGDATABASE (with PGHOST, PGPORT, PGUSER, PGPASSWORD) names.
The database must exist; it must not hold the tables of this archive.

  --clean         drop what this archive holds from the database first
  --create-roles  make roles that are missing, without login and password
  --no-owner      everything belongs to who restores; no grants
  --jobs N        build indexes over N connections (default 2)
  --force         restore into a server older than the archive's
  --help          this text

Exit code: 0 restored and every row count equal, 1 not.
TEXT
}

clean=no create_roles=no force=no jobs=2 owner=''
while [ $# -gt 0 ]; do
    case $1 in
    --clean) clean=yes ;;
    --create-roles) create_roles=yes ;;
    --no-owner) owner='--no-owner --no-privileges' ;;
    --jobs) shift; jobs=${1:?--jobs needs a number} ;;
    --force) force=yes ;;
    --help | -h) usage; exit 0 ;;
    *) echo "restore.sh: unknown option $1" >&2; usage >&2; exit 2 ;;
    esac
    shift
done

die() {
    echo "restore.sh: $*" >&2
    exit 1
}

say() { echo "== $*"; }

cd "$(dirname "$0")" || die "cannot enter the archive's folder"
[ -n "${PGDATABASE:-}" ] || die "set PGDATABASE to the database to restore into"
for program in psql pg_restore; do
    command -v "$program" >/dev/null 2>&1 || die "$program is needed and was not found"
done
said=$(pg_restore --list database/schema.dump 2>&1 >/dev/null) ||
    die "$(pg_restore --version) cannot read database/schema.dump, which pg_dump @@PG_DUMP@@ wrote: $said
install PostgreSQL's client programs of that version or newer"

# One time zone, one date style, no filter: the rows were written so.
PGOPTIONS="${PGOPTIONS:-} -c client_encoding=UTF8 -c DateStyle=ISO -c IntervalStyle=postgres"
PGOPTIONS="$PGOPTIONS -c TimeZone=UTC -c statement_timeout=0 -c row_security=off"
PGOPTIONS="$PGOPTIONS -c client_min_messages=warning -c standard_conforming_strings=on"
export PGOPTIONS PGCLIENTENCODING=UTF8

sql() { psql -X -q -A -t -v ON_ERROR_STOP=1 "$@"; }
ask() { sql -c "$1" || die "the database $PGDATABASE does not answer: see above"; }
# Doubles single quotes, for the inside of an SQL literal.
literal() { printf '%s' "$1" | sed "s/'/''/g"; }
identifier() { printf '"%s"' "$(printf '%s' "$1" | sed 's/"/""/g')"; }

# ---------------------------------------------------------------- versions and roles

server=$(ask 'SHOW server_version_num') || exit 1
if [ "$((server / 10000))" -lt @@SERVER_MAJOR@@ ] && [ $force = no ]; then
    die "the archive comes from PostgreSQL @@SERVER_MAJOR@@ and this server is older ($server); --force tries"
fi

missing_roles=''
role() {
    found=$(ask "SELECT count(*) FROM pg_catalog.pg_roles WHERE rolname = '$(literal "$1")'") || exit 1
    [ "$found" = 0 ] || return 0
    if [ $create_roles = yes ]; then
        sql -c "CREATE ROLE $(identifier "$1") NOLOGIN" || die "cannot make the role $1"
        echo "made the role $1 without login: give it its password and rights"
    else
        missing_roles="$missing_roles
  CREATE ROLE $(identifier "$1");"
    fi
}

all_roles() {
@@ROLES@@
}

all_roles
if [ -n "$missing_roles" ]; then
    die "the archive names roles that this server does not have; make them, or use --create-roles:$missing_roles"
fi

# ---------------------------------------------------------------- what is there already

present=''
expect_absent() {
    found=$(ask "SELECT pg_catalog.to_regclass('$(literal "$1")') IS NOT NULL") || exit 1
    [ "$found" = f ] || present="$present
  $1"
}

all_absent() {
@@ABSENT@@
}

# Lines of a table of contents by their kind: of one of these kinds, or (-v) of none.
indexes='INDEX|INDEX ATTACH|CONSTRAINT'
entries() {
    if [ "$1" = -v ]; then
        grep -vE "^[0-9]+; [0-9]+ [0-9]+ ($2) "
    else
        grep -E "^[0-9]+; [0-9]+ [0-9]+ ($1) "
    fi
}

drops=''
drop_key() {
    drops="$drops
ALTER TABLE IF EXISTS ONLY $1 DROP CONSTRAINT IF EXISTS $2;"
}

all_keys() {
@@KEYS@@
}

# pg_restore's own DROP statements come before the first "-- Name:" of its text. Indexes and keys
# go with their tables (a partition's cannot be dropped by itself), all but foreign keys. None
# cascades: what hangs on these tables and is not in the archive stops the whole, and nothing is
# dropped.
drop_all() {
    all_keys
    {
        printf '%s\n' "$drops"
        pg_restore --list database/schema.dump | entries -v "$indexes" |
            pg_restore --clean --if-exists -L /dev/stdin --file=- database/schema.dump |
            sed '/^-- Name: /,$d; /^SET transaction_timeout = 0;$/d'
    } | sql -1 -o /dev/null -f - ||
        die "cannot drop what is there: see above; restore into an empty database instead"
}

all_absent
if [ -n "$present" ]; then
    [ $clean = yes ] || die "the database $PGDATABASE already holds tables of this archive; restore into an empty one, or use --clean to drop them first:$present"
    say "dropping what the archive holds"
    drop_all
fi

# ---------------------------------------------------------------- definitions, rows, the rest

# pg_restore since 17 begins with a setting that servers before 17 do not know, and stops there: psql
# gets its text then, without that line, over one connection.
tool=$(pg_restore --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
stumbles=no
if [ "$tool" -ge 17 ] && [ "$server" -lt 170000 ]; then stumbles=yes; fi

restore_section() {
    section=$1 connections=$2
    shift 2
    # shellcheck disable=SC2086 # $owner is words
    if [ $stumbles = no ]; then
        pg_restore --exit-on-error --section="$section" $owner -j "$connections" "$@" -d "$PGDATABASE" database/schema.dump
    else
        { pg_restore --section="$section" $owner "$@" --file=- database/schema.dump ||
            echo "SELECT pg_restore_failed;"; } |
            sed '1,/^-- Name: /{/^SET transaction_timeout = 0;$/d;}' | sql -o /dev/null -f -
    fi || die "pg_restore of $section failed: see above"
}

load_text() {
    say "$1"
    sql -f "$1" || die "loading $1 failed: see above"
}

load_csv() {
    say "$1"
    # psql before 18 takes a line \. inside a quoted value for the end of the data.
    if grep -q '^\\\.' "$1"; then
        { printf 'COPY %s (%s) FROM stdin;\n' "$2" "$3"; csv_to_text <"$1"; printf '\\.\n'; } | sql -f -
    else
        sql -c "COPY $2 ($3) FROM STDIN WITH (FORMAT csv, HEADER true)" <"$1"
    fi || die "loading $1 failed: see above"
}

# CSV with a header as COPY writes it, to COPY text.
csv_to_text() {
    LC_ALL=C awk '
    BEGIN { text["\\"] = "\\\\"; text["\t"] = "\\t"; text["\r"] = "\\r"; text["\n"] = "\\n" }
    function written(c) { return c in text ? text[c] : c }
    function value(field, was_quoted) { return field == "" && !was_quoted ? "\\N" : field }
    {
        line = record_open ? record "\n" $0 : $0
        copy = line
        if (gsub(/"/, "", copy) % 2) { record = line; record_open = 1; next }
        record_open = 0
        if (!header++) next
        out = ""; field = ""; quoted = 0; inside = 0; n = length(line)
        for (i = 1; i <= n; i++) {
            c = substr(line, i, 1)
            if (inside) {
                if (c != "\"") field = field written(c)
                else if (substr(line, i + 1, 1) == "\"") { field = field c; i++ }
                else inside = 0
            } else if (c == "\"") { inside = 1; quoted = 1 }
            else if (c == ",") { out = out value(field, quoted) "\t"; field = ""; quoted = 0 }
            else field = field written(c)
        }
        print out value(field, quoted)
    }'
}

refresh() {
    sql -c "REFRESH MATERIALIZED VIEW $1" || die "filling the materialized view $1 failed: see above"
}

all_loads() {
@@LOADS@@
}

all_refresh() {
@@REFRESH@@
}

say "definitions"
restore_section pre-data 1
say "rows"
all_loads
say "sequences"
sql -o /dev/null -f database/sequences.sql || die "setting the sequences failed: see above"
say "indexes, constraints, triggers"
# In three steps. Partitions' indexes are attached one after the other: two at once, on two levels, do
# not see each other, and the index above stays invalid. All else comes then, as a foreign key to a
# partitioned table needs that index, which pg_restore does not know when it works in parallel.
build() { restore_section post-data "$1" -L /dev/stdin; }
entries 'INDEX|CONSTRAINT' <database/schema-post-data.list | build "$jobs" || exit 1
entries 'INDEX ATTACH' <database/schema-post-data.list | build 1 || exit 1
entries -v "$indexes" <database/schema-post-data.list | build "$jobs" || exit 1
sql -f database/foreign-keys.sql || die "making the NOT VALID foreign keys failed: see above"
say "materialized views"
all_refresh
sql -c 'ANALYZE' || die "ANALYZE failed: see above"

# ---------------------------------------------------------------- as many rows as were backed up

wrong=0
expect_rows() {
    found=$(ask "SELECT count(*) FROM ONLY $1") || exit 1
    verdict=equal
    [ "$found" = "$2" ] || { verdict=DIFFERENT; wrong=$((wrong + 1)); }
    printf '  %-40s %12s in the archive %12s restored  %s\n' "$1" "$2" "$found" "$verdict"
}

all_counts() {
@@COUNTS@@
}

say "row counts"
all_counts
[ $wrong = 0 ] || die "$wrong tables have another number of rows than the archive"
echo "restored into $PGDATABASE: every row count equal"
