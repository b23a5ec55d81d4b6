#!/bin/sh
# Restores this archive with psql and pg_restore alone. Made by hubvault.
#
# This text is the same in every archive. What comes from the database is data in database/restore.list: no name
# is evaluated by the shell. awk turns the names into quoted SQL, which psql reads from its standard input.
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
  --force         restore into a server older than the archive's, or with programs that lack security fixes
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
    printf 'restore.sh: %s\n' "$*" >&2
    exit 1
}

say() { printf '== %s\n' "$*"; }

CDPATH='' cd -- "$(dirname -- "$0")" || die "cannot enter the archive's folder"
[ -n "${PGDATABASE:-}" ] || die "set PGDATABASE to the database to restore into"
for program in psql pg_restore; do
    command -v "$program" >/dev/null 2>&1 || die "$program is needed and was not found"
done

# Before the security fixes of August 2025 (CVE-2025-8714, CVE-2025-8715) a name in an archive could make psql run
# commands of whoever chose the name.
has_fixes() {
    version=$("$1" --version | sed -n '1s/^[^0-9]*\([0-9][0-9.a-z]*\).*$/\1/p')
    major=${version%%[!0-9]*}
    minor=${version#"$major"}
    case $major in
    13) first=22 ;;
    14) first=19 ;;
    15) first=14 ;;
    16) first=10 ;;
    17) first=6 ;;
    '' | ? | 1[0-2]) first=none ;;
    *) first=0 ;;
    esac
    case $minor in
    alpha* | beta* | devel*) first=none ;;
    esac
    minor=${minor#.}
    minor=${minor%%[!0-9]*}
    [ "$first" != none ] && [ "${minor:-0}" -ge "$first" ]
}
for program in psql pg_restore; do
    has_fixes "$program" || [ $force = yes ] ||
        die "$program ${version:-of an unknown version} lacks the security fixes of August 2025 (CVE-2025-8714, CVE-2025-8715: with it, a name in an archive can run commands on this machine); install PostgreSQL's client programs 13.22, 14.19, 15.14, 16.10, 17.6, 18 or newer, or use --force"
done

# ---------------------------------------------------------------- what is in the archive

list=database/restore.list
# One record a line, fields separated by tabs; control characters and % are written %XX, byte by byte.
# plain() is a field as it was, literal() an SQL string, name() and relation() SQL identifiers, shown() for people.
functions='
function digit(c) { return index("0123456789ABCDEF", c) - 1 }
function plain(s,    out, i) {
    out = ""
    while (i = index(s, "%")) {
        out = out substr(s, 1, i - 1) sprintf("%c", 16 * digit(substr(s, i + 1, 1)) + digit(substr(s, i + 2, 1)))
        s = substr(s, i + 3)
    }
    return out s
}
function doubled(s, c,    out, i) {
    out = ""
    while (i = index(s, c)) { out = out substr(s, 1, i) c; s = substr(s, i + 1) }
    return out s
}
function literal(s) { return "E\047" doubled(doubled(s, "\\"), "\047") "\047" }
function quoted(s) { return "\"" doubled(s, "\"") "\"" }
function name(s) { return quoted(plain(s)) }
function relation(schema, table) { return name(schema) "." name(table) }
function word(s) { return s ~ /^[a-z_][a-z0-9_]*$/ ? s : quoted(s) }
function shown(schema, table) { return word(schema) "." word(table) }
'
# What an awk program makes of the records.
records() { LC_ALL=C awk -F '\t' "$functions$1" "$list"; }
field() { records "\$1 == \"$1\" { print \$2; exit }"; }

[ -f "$list" ] || die "$list is not there: extract the whole archive"
[ "$(field hubvault-restore)" = 1 ] || die "$list is of another format than this script"
[ "$(records '{ last = $1 } END { print last }')" = end ] || die "$list is not whole: extract the archive again"
made_on=$(field server)
said=$(pg_restore --list database/schema.dump 2>&1 >/dev/null) ||
    die "$(pg_restore --version) cannot read database/schema.dump, which pg_dump $(field pg_dump) wrote: $said
install PostgreSQL's client programs of that version or newer"

# One time zone, one date style, no filter: the rows were written so.
PGOPTIONS="${PGOPTIONS:-} -c client_encoding=UTF8 -c DateStyle=ISO -c IntervalStyle=postgres"
PGOPTIONS="$PGOPTIONS -c TimeZone=UTC -c statement_timeout=0 -c row_security=off"
PGOPTIONS="$PGOPTIONS -c client_min_messages=warning -c standard_conforming_strings=on"
export PGOPTIONS PGCLIENTENCODING=UTF8

sql() { psql -X -q -A -t -v ON_ERROR_STOP=1 "$@"; }
ask() { sql -c "$1" || die "the database $PGDATABASE does not answer: see above"; }
# Runs the SQL that an awk program makes of the records, in one session.
ask_each() {
    statements=$(records "$1") || exit 1
    printf '%s\n' "$statements" | sql -f -
}

# ---------------------------------------------------------------- versions and roles

server=$(ask 'SHOW server_version_num') || exit 1
if [ "$((server / 10000))" -lt "$made_on" ] && [ $force = no ]; then
    die "the archive comes from PostgreSQL $made_on and this server is older ($server); --force tries"
fi

if_missing='function if_missing(role) {
    return " WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = " literal(plain(role)) ")"
}
$1 == "role"'
missing=$(ask_each "$if_missing"' { print "SELECT " literal($2) if_missing($2) ";" }') ||
    die "cannot ask for the roles of the server: see above"
if [ -n "$missing" ] && [ $create_roles = no ]; then
    die "the archive names roles that this server does not have; create them, or use --create-roles:
$(printf '%s\n' "$missing" | sed 's/"/""/g; s/.*/  CREATE ROLE "&";/')"
elif [ -n "$missing" ]; then
    ask_each "$if_missing"' {
        print "SELECT " literal("CREATE ROLE " name($2) " NOLOGIN") if_missing($2) " \\gexec"
    }' || die "cannot make roles: see above"
    printf '%s\n' "$missing" | sed 's/.*/made the role & without login: give it its password and rights/'
fi

# ---------------------------------------------------------------- what is there already

present=$(ask_each '$1 == "table" {
    print "SELECT " literal("  " shown($2, $3)) " WHERE pg_catalog.to_regclass(" literal(relation($2, $3)) ") IS NOT NULL;"
}') || die "cannot ask for the tables of the database $PGDATABASE: see above"

# Lines of a table of contents by their kind: of one of these kinds, or (-v) of none.
indexes='INDEX|INDEX ATTACH|CONSTRAINT'
entries() {
    if [ "$1" = -v ]; then
        grep -vE "^[0-9]+; [0-9]+ [0-9]+ ($2) "
    else
        grep -E "^[0-9]+; [0-9]+ [0-9]+ ($1) "
    fi
}

# pg_restore's own DROP statements come before the first "-- Name:" of its text. Indexes and keys
# go with their tables (a partition's cannot be dropped by itself), all but foreign keys. None
# cascades: what hangs on these tables and is not in the archive stops the whole, and nothing is
# dropped.
drop_all() {
    drops=$(records '$1 == "key" {
        print "ALTER TABLE IF EXISTS ONLY " relation($2, $3) " DROP CONSTRAINT IF EXISTS " name($4) ";"
    }') || exit 1
    {
        printf '%s\n' "$drops"
        pg_restore --list database/schema.dump | entries -v "$indexes" |
            pg_restore --clean --if-exists -L /dev/stdin --file=- database/schema.dump |
            sed '/^-- Name: /,$d; /^SET transaction_timeout = 0;$/d'
    } | sql -1 -o /dev/null -f - ||
        die "cannot drop what is there: see above; restore into an empty database instead"
}

if [ -n "$present" ]; then
    [ $clean = yes ] || die "the database $PGDATABASE already holds tables of this archive; restore into an empty one, or use --clean to drop them first:
$present"
    say "dropping what the archive holds"
    drop_all
fi

# ---------------------------------------------------------------- definitions, rows, the rest

# pg_restore since 17 begins with a setting that servers before 17 do not know, and stops there: psql
# gets its text then, without that line, over one connection.
tool=$(pg_restore --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
stumbles=no
if [ "$tool" -ge 17 ] && [ "$server" -lt 170000 ]; then stumbles=yes; fi

# A name with an equals sign, or one that begins with postgres://, would be read as a connection string. The dot keeps
# newlines at the end of a name.
target=$(printf '%s.' "$PGDATABASE" | sed "s/[\\\\']/\\\\&/g") || exit 1
target="dbname='${target%.}'"

restore_section() {
    section=$1 connections=$2
    shift 2
    # shellcheck disable=SC2086 # $owner is words
    if [ $stumbles = no ]; then
        pg_restore --exit-on-error --section="$section" $owner -j "$connections" "$@" -d "$target" database/schema.dump
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
    entry=$1
    export entry
    into=$(records '$1 == "csv" && $2 == ENVIRON["entry"] {
        columns = name($5)
        for (i = 6; i <= NF; i++) columns = columns ", " name($i)
        print "COPY " relation($3, $4) " (" columns ") FROM STDIN"
    }') || exit 1
    # psql before 18 takes a line \. inside a quoted value for the end of the data.
    if grep -q '^\\\.' "$1"; then
        { printf '%s;\n' "$into"; csv_to_text <"$1"; printf '\\.\n'; } | sql -f -
    else
        { printf '%s WITH (FORMAT csv, HEADER true);\n' "$into"; cat "$1"; printf '\\.\n'; } | sql -f -
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

# Entries have names without characters that the shell or psql would take for something else. psql must not read
# this list, so it is not on standard input.
load_all() {
    while IFS='	' read -r kind entry rest <&3; do
        case $kind in
        text) load_text "$entry" ;;
        csv) load_csv "$entry" ;;
        esac
    done 3<"$list"
}

say "definitions"
restore_section pre-data 1
say "rows"
load_all
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
filled=$(ask_each '$1 == "refresh" {
    print "SELECT " literal(shown($2, $3)) "; REFRESH MATERIALIZED VIEW " relation($2, $3) ";"
}') || die "filling the materialized view $(printf '%s\n' "$filled" | tail -n 1) failed: see above"
sql -c 'ANALYZE' || die "ANALYZE failed: see above"

# ---------------------------------------------------------------- as many rows as were backed up

say "row counts"
counted=$(ask_each 'BEGIN { print "SET search_path = pg_catalog;" }
$1 == "table" {
    rows = literal($4)
    print "SELECT format(\047  %-40s %12s in the archive %12s restored  %s\047, " literal(shown($2, $3)) ", " rows ", n,"
    print "CASE WHEN n = " rows " THEN \047equal\047 ELSE \047DIFFERENT\047 END)"
    print "FROM (SELECT count(*) AS n FROM ONLY " relation($2, $3) ") counted;"
}') || die "counting the rows failed: see above"
[ -z "$counted" ] || printf '%s\n' "$counted"
wrong=$(printf '%s\n' "$counted" | grep -c '  DIFFERENT$')
[ "$wrong" = 0 ] || die "$wrong tables have another number of rows than the archive"
printf 'restored into %s: every row count equal\n' "$PGDATABASE"
