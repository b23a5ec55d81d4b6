#!/bin/sh
# Restores this archive with psql and pg_restore alone. Made by hubvault.
#
# This text is the same in every archive. What comes from the database is data in database/restore.list: no name
# is evaluated by the shell. awk turns the names into quoted SQL, which psql reads from its standard input.
# shellcheck disable=SC2016 # programs for awk have a $ of their own
set -u

usage() {
    cat <<'TEXT'
usage: PGDATABASE=target sh restore.sh [options]

Restores into the database that PGDATABASE (with PGHOST, PGPORT, PGUSER, PGPASSWORD) names.
The database must exist; it must not hold the tables of this archive.

  --create        create the database, with the encoding, locale, owner, grants and settings of the source's
  --clean         drop what this archive holds from the database first
  --create-roles  make roles that are missing, without login and password
  --no-owner      everything belongs to who restores; no grants
  --jobs N        load rows and build indexes over N connections (default: JOBS, or 2)
  --force         restore into a server older than the archive's, or with programs that lack security fixes
  --help          this text

Exit code: 0 everything is restored and every row count equal; 3 every row count equal, but something that is listed
at the end could not be rebuilt as it was; 1 not all rows are there, or the restore stopped.
TEXT
}

clean=no create=no create_roles=no force=no jobs=${JOBS:-2} owner=''
while [ $# -gt 0 ]; do
    case $1 in
    --clean) clean=yes ;;
    --create) create=yes ;;
    --create-roles) create_roles=yes ;;
    --no-owner) owner='--no-owner --no-privileges' ;;
    --jobs) shift; jobs=${1:?--jobs needs a number} ;;
    --force) force=yes ;;
    --help | -h) usage; exit 0 ;;
    *) echo "restore.sh: unknown option $1" >&2; usage >&2; exit 2 ;;
    esac
    shift
done
case $jobs in
'' | *[!0-9]* | 0*) echo "restore.sh: $jobs is not a number of connections" >&2; exit 2 ;;
esac

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
work=$(mktemp -d "${TMPDIR:-/tmp}/restore.XXXXXX") || die "cannot make a directory for temporary files"
trap 'rm -rf "$work"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
# What is not as it was, for the end.
: >"$work/not_rebuilt"
: >"$work/not_valid"
: >"$work/not_loaded"
: >"$work/notes"

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

# No filter; the rows were written with this time zone and date style, until those of the source are set below.
PGOPTIONS="${PGOPTIONS:-} -c client_encoding=UTF8 -c DateStyle=ISO -c IntervalStyle=postgres"
PGOPTIONS="$PGOPTIONS -c TimeZone=UTC -c statement_timeout=0 -c row_security=off"
PGOPTIONS="$PGOPTIONS -c client_min_messages=warning -c standard_conforming_strings=on"
export PGOPTIONS PGCLIENTENCODING=UTF8

# pg_restore empties the search_path itself: an extension's script may read what it is by default.
sql() { PGOPTIONS="$PGOPTIONS -c search_path=" psql -X -q -A -t -v ON_ERROR_STOP=1 "$@"; }
ask() { sql -c "$1" || die "the database $PGDATABASE does not answer: see above; --create makes one that is missing"; }
# Runs the SQL that an awk program makes of the records, in one session.
ask_each() {
    statements=$(records "$1") || exit 1
    printf '%s\n' "$statements" | sql -f -
}

# ---------------------------------------------------------------- the database

# With these options, over the database postgres, which every server has.
create_with() {
    printf 'CREATE DATABASE :"name" TEMPLATE template0%s;\n' "$1" |
        sql -d postgres -v name="$PGDATABASE" -o /dev/null -f - 2>"$work/said"
}
if [ $create = yes ]; then
    say "creating the database"
    encoding=$(records '$1 == "database" && $2 == "ENCODING" { printf " ENCODING %s", literal(plain($3)) }')
    options=$(records '$1 == "database" && $2 ~ /^[A-Z_]+$/ { printf " %s %s", $2, literal(plain($3)) }')
    if ! create_with "$options"; then
        refused=$(sed 's/^psql:[^ ]*: //' "$work/said")
        instead=none
        # C goes with every encoding.
        for locale in C.UTF-8 C; do
            if create_with "$encoding LC_COLLATE '$locale' LC_CTYPE '$locale'"; then
                instead=$locale
                break
            fi
        done
        [ "$instead" != none ] || die "cannot create the database $PGDATABASE: $refused"
        printf 'the database has the locale %s and not that of the source: %s\n' "$instead" "$refused" >>"$work/not_rebuilt"
    fi
    tablespace=$(records '$1 == "database-tablespace" { print "ALTER DATABASE :\"name\" SET TABLESPACE " name($2) ";" }')
    if ! printf '%s\n' "$tablespace" | sql -d postgres -v name="$PGDATABASE" -f - 2>"$work/said"; then
        refused=$(sed 's/^psql:[^ ]*: //' "$work/said")
        echo "the database is in the default tablespace: $refused" >>"$work/not_rebuilt"
    fi
fi

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

# ---------------------------------------------------------------- tablespaces

lacking=$(ask_each '$1 == "tablespace" {
    print "SELECT " literal(word(plain($2))) " WHERE NOT coalesce((SELECT"
    print "pg_catalog.has_tablespace_privilege(oid, \047CREATE\047) FROM pg_catalog.pg_tablespace WHERE spcname ="
    print literal(plain($2)) "), false);"
}') || die "cannot ask for the tablespaces of the server: see above"
if [ -n "$lacking" ]; then
    owner="$owner --no-tablespaces"
    say "everything goes into the default tablespace: the server does not have, or the role may not use: $(printf '%s' "$lacking" | tr '\n' ' ')"
fi

# ---------------------------------------------------------------- what is there already

present=$(ask_each '$1 == "table" || $1 == "partition" {
    print "SELECT " literal("  " shown($2, $3)) " WHERE pg_catalog.to_regclass(" literal(relation($2, $3)) ") IS NOT NULL;"
}
# A table of an extension counts when it has rows that a restore would replace. A condition is SQL, and psql must not
# read it: \gexec sends it as it is.
$1 == "extension-table" {
    rows = "EXISTS (SELECT FROM ONLY " relation($2, $3) " WHERE (" plain($5) "))"
    print "SELECT " literal("SELECT " literal("  " shown($2, $3)) " WHERE " rows)
    print "WHERE pg_catalog.to_regclass(" literal(relation($2, $3)) ") IS NOT NULL \\gexec"
}') || die "cannot ask for the tables of the database $PGDATABASE: see above"

# Indexes of materialized views: some of these views group by a primary key and come with the constraints.
indexes_of_views=$(pg_restore --list --verbose database/schema.dump | LC_ALL=C awk '
    /^[0-9]+; / {
        id = $1
        sub(/;/, "", id)
        kind = $0
        sub(/^[0-9]+; [0-9]+ [0-9]+ /, "", kind)
        is_index = kind ~ /^INDEX /
        if (kind ~ /^MATERIALIZED VIEW /) views[id] = 1
    }
    is_index && sub(/^;\tdepends on: /, "") { for (i = 1; i <= NF; i++) if ($i in views) { printf " %s", id; next } }')

# Lines of a table of contents that belong to steps of building what comes after the rows. A comment, a label or
# privileges go with the object before them: pg_restore takes them for a part of that object's section.
steps() {
    LC_ALL=C awk -v steps="$1" -v of_views="$indexes_of_views" '
    function step_of(kind) {
        if (kind ~ /^INDEX ATTACH /) return "attach"
        if (kind ~ /^(INDEX|CONSTRAINT) /) return "indexes"
        if (kind ~ /^EVENT TRIGGER /) return "events"
        if (kind ~ /^DEFAULT ACL /) return "rest"
        if (kind ~ /^(CHECK CONSTRAINT|DEFAULT|FK CONSTRAINT|FUNCTION|MATERIALIZED VIEW) /) return "checks"
        if (kind ~ /^(POLICY|PROCEDURE|ROW SECURITY|RULE|STATISTICS|TRIGGER|VIEW) /) return "checks"
        return "rest"
    }
    BEGIN { step = "rest" }
    !/^[0-9]+; / { next }
    {
        kind = $0
        sub(/^[0-9]+; [0-9]+ [0-9]+ /, "", kind)
        id = $0
        sub(/;.*/, "", id)
        if (index(of_views " ", " " id " ")) step = "views"
        else if (kind !~ /^(ACL|COMMENT|SECURITY LABEL) /) step = step_of(kind)
        if (index(" " steps " ", " " step " ")) print
    }'
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
        pg_restore --list database/schema.dump | steps 'checks rest events' |
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

# ---------------------------------------------------------------- what cannot be built at once

# pg_restore since 17 begins with a setting that servers before 17 do not know. Several connections would each report
# that, into each other's words.
tool=$(pg_restore --version | sed 's/[^0-9]*\([0-9]*\).*/\1/')
serial=no
if [ "$tool" -ge 17 ] && [ "$server" -lt 170000 ]; then serial=yes; fi

# A name with an equals sign, or one that begins with postgres://, would be read as a connection string. The dot keeps
# newlines at the end of a name.
target=$(printf '%s.' "$PGDATABASE" | sed "s/[\\\\']/\\\\&/g") || exit 1
target="dbname='${target%.}'"

# What sessions of the source have: generated columns, indexes and materialized views are computed with it. The rows are
# read alike with every such setting. A server that does not know one of them keeps its own.
for setting in TimeZone DateStyle IntervalStyle bytea_output extra_float_digits; do
    export setting
    value=$(records '$1 == "setting" && $2 == ENVIRON["setting"] {
        value = plain($3)
        gsub(/[\\ \t\r\n\v\f]/, "\\\\&", value)
        printf "%s", value
    }') || exit 1
    [ -z "$value" ] || if PGOPTIONS="$PGOPTIONS -c $setting=$value" sql -c 'SELECT' >/dev/null 2>&1; then
        PGOPTIONS="$PGOPTIONS -c $setting=$value"
    else
        echo "the server does not know $setting = $value of the source: functions that read it compute other values" >&2
    fi
done

# What sessions of the source search: code that names things without their schema needs it.
search_path=$(records '$1 == "search_path" {
    for (i = 2; i <= NF; i++) path = path (i > 2 ? ", " : "") name($i)
}
END { print "SET search_path = " (path == "" ? "\047\047" : path) ";" }') || exit 1
export search_path

# Says how many rows break the constraints :chosen, which are NOT VALID, and the keys of the first. Only the expressions
# of the archive see the source's search_path: what others may create in its schemas is not called by queries of ours.
cat >"$work/broken.sql" <<SQL
SET search_path = '';
SELECT '$(printf %s "$search_path" | sed "s/'/''/g")',
SQL
cat >>"$work/broken.sql" <<'SQL'
       format('SELECT pg_catalog.concat(%L::pg_catalog.text, pg_catalog.count(*), CASE WHEN pg_catalog.count(*) OPERATOR(pg_catalog.=) 1 THEN
                   '' row breaks it'' ELSE '' rows break it'' END, %L::pg_catalog.text, (SELECT pg_catalog.string_agg(key, '', ''::pg_catalog.text) FROM
                   (SELECT ROW(%s)::pg_catalog.text FROM %s c WHERE %s LIMIT 3) first (key))) FROM %s c WHERE %s',
              format('%s on %s: ', quote_ident(conname), relation),
              CASE WHEN keys = '' THEN '' ELSE ', the first: ' END,
              CASE WHEN keys = '' THEN 'NULL' ELSE keys END, relation,
              CASE WHEN keys = '' THEN 'false' ELSE breaks END, relation, breaks)
FROM (
    SELECT k.conname, k.conrelid::regclass AS relation,
           coalesce((SELECT string_agg(format('c.%I', a.attname), ', ') FROM pg_index i JOIN pg_attribute a
                     ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
                     WHERE i.indrelid = k.conrelid AND i.indisprimary), '') AS keys,
           CASE k.contype WHEN 'c' THEN format('(%s) IS FALSE', pg_get_expr(k.conbin, k.conrelid)) ELSE (
               -- MATCH FULL refuses a key of which only a part is set.
               SELECT format('(%s) AND NOT EXISTS (SELECT FROM %s%s p WHERE %s)',
                             string_agg(format('c.%I IS NOT NULL', a.attname),
                                        CASE k.confmatchtype WHEN 'f' THEN ' OR ' ELSE ' AND ' END),
                             CASE r.relkind WHEN 'r' THEN 'ONLY ' ELSE '' END, k.confrelid::regclass,
                             string_agg(format('p.%I OPERATOR(%I.%s) c.%I', b.attname, n.nspname, o.oprname, a.attname),
                                        ' AND '))
               FROM unnest(k.conkey, k.confkey, k.conpfeqop) u (own, other, operator)
               JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.own
               JOIN pg_attribute b ON b.attrelid = k.confrelid AND b.attnum = u.other
               JOIN pg_operator o ON o.oid = u.operator JOIN pg_namespace n ON n.oid = o.oprnamespace
               JOIN pg_class r ON r.oid = k.confrelid GROUP BY r.relkind) END AS breaks
    FROM pg_constraint k WHERE k.conrelid <> 0 AND k.oid IN (:chosen)) broken
\gexec
SQL

# Drops the CHECK :name of the table :relation, of what that inherits from, or of the domain :type, and writes a line as
# drop_checks does, with its names instead of the number of a record. Parents' come first.
cat >"$work/refusing.sql" <<'SQL'
WITH RECURSIVE up(oid) AS (
    SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = :'schema' AND c.relname = :'relation'
    UNION SELECT i.inhparent FROM up JOIN pg_inherits i ON i.inhrelid = up.oid),
found AS (
    SELECT k.*, CASE k.contypid WHEN 0 THEN 'TABLE' ELSE 'DOMAIN' END AS kind,
           CASE k.contypid WHEN 0 THEN k.conrelid::regclass::text ELSE k.contypid::regtype::text END AS object,
           n.nspname, coalesce(c.relname, t.typname) AS relation, obj_description(k.oid, 'pg_constraint') AS said
    FROM pg_constraint k LEFT JOIN pg_class c ON c.oid = k.conrelid LEFT JOIN pg_type t ON t.oid = k.contypid
    JOIN pg_namespace n ON n.oid = coalesce(c.relnamespace, t.typnamespace)
    WHERE k.contype = 'c' AND k.coninhcount = 0 AND k.conname = :'name' AND (k.conrelid IN (SELECT oid FROM up)
          OR k.contypid <> 0 AND n.nspname = :'schema' AND t.typname = :'type')
    ORDER BY k.contypid, k.conrelid LIMIT 1)
SELECT format('ALTER %s %s DROP CONSTRAINT %I', kind, object, conname) AS dropping,
       (SELECT 'refused ' || string_agg(encode(convert_to(part, getdatabaseencoding()::name), 'hex'), ' ' ORDER BY at)
        FROM unnest(ARRAY[format('ALTER %s %s ADD CONSTRAINT %I %s', kind, object, conname, pg_get_constraintdef(oid)),
                          nspname, relation, conname]) WITH ORDINALITY u (part, at)) AS line,
       CASE WHEN said <> '' THEN 'comment 0 ' || encode(convert_to(
            format('COMMENT ON CONSTRAINT %I ON %s%s IS %L', conname,
                   CASE kind WHEN 'DOMAIN' THEN 'DOMAIN ' ELSE '' END, object, said),
            getdatabaseencoding()::name), 'hex') ELSE '' END AS comment
FROM found \gset
SELECT :'dropping' \gexec
SELECT :'line';
SELECT :'comment';
SQL

# Runs SQL of the archive's definitions with the source's search_path; the setting before it is of newer servers.
with_path() {
    LC_ALL=C awk '
    /^-- Name: / { body = 1 }
    !body && $0 == "SET transaction_timeout = 0;" { next }
    !body && /^SELECT pg_catalog.set_config\(.search_path/ { print ENVIRON["search_path"]; next }
    { print }'
}

# Builds again what pg_restore could not build: the object with this number, of these contents.
cure() {
    id=$1
    grep "^$id; " "$work/contents" >"$work/one.list" || echo "$id; 0 0 object $id" >"$work/one.list"
    object=$(sed 's/^[0-9]*; [0-9]* [0-9]* //; q' "$work/one.list")
    : >"$work/one.said"
    # shellcheck disable=SC2086 # $owner is words
    if pg_restore $owner -L "$work/one.list" --file="$work/one.dump" database/schema.dump &&
        with_path <"$work/one.dump" >"$work/one.sql" &&
        sql -v VERBOSITY=sqlstate -o /dev/null -f "$work/one.sql" 2>"$work/one.said"; then
        case $object in
        'ACL '* | 'COMMENT '* | 'SECURITY LABEL '*) ;;
        *) printf '%s\n' "$object" >>"$work/notes" ;;
        esac
        return 0
    fi
    case $object in
    'FK CONSTRAINT '* | 'CHECK CONSTRAINT '*)
        if grep -q ' 235\(03\|14\)$' "$work/one.said"; then
            without_rows && return 0
            if without_rows leaves; then
                why='rows break it; its partitions have it NOT VALID; new partitions will not get it'
                printf '%s: %s\n' "$object" "$why" >>"$work/not_rebuilt"
                return 0
            fi
        fi ;;
    esac
    why=$(LC_ALL=C awk -v id="$id" '
    sub(/^[a-z_: ]*from TOC entry /, "") { here = $1 == id ";" }
    here && sub(/^[a-z_: ]*error: (could not execute query: )?/, "") { print; exit }' "$work/said")
    printf '%s: %s\n' "$object" "$why" >>"$work/not_rebuilt"
}

# The same for later rows only: its last statement adds the rule that rows break. A partitioned table cannot have a
# foreign key like that before PostgreSQL 18, its leaves can; those whose rows keep it have it as before.
without_rows() {
    {
        # The statements of the archive see the source's search_path, and nothing else does.
        echo "SELECT coalesce(string_agg(oid::text, ','), '0') AS before FROM pg_constraint WHERE NOT convalidated \\gset"
        LC_ALL=C awk -v leaves="${1:-}" "$functions"'
        { line[NR] = $0; if (/^ALTER TABLE / && !first) first = NR; if (/;$/ && !/^--/) last = NR }
        END {
            sub(/;$/, " NOT VALID" (leaves == "" ? ";" : ""), line[last])
            if (leaves == "") { for (i = 1; i <= NR; i++) print line[i]; exit }
            for (i = first + 1; i <= last; i++) rest = rest "\n" line[i]
            sub(/^ALTER TABLE (ONLY )?/, "", line[first])
            print "SELECT " literal(ENVIRON["search_path"]) ", format(\047ALTER TABLE ONLY %s %s\047, relid::regclass, " literal(rest) ")"
            print "FROM pg_partition_tree(to_regclass(" literal(line[first]) ")) WHERE isleaf \\gexec"
            print "SET search_path = \047\047;\n\\set ON_ERROR_STOP 0"
            print "SELECT " literal(ENVIRON["search_path"]) ", format(\047ALTER TABLE ONLY %s VALIDATE CONSTRAINT %I\047, conrelid::regclass, conname)"
            print "FROM pg_constraint WHERE NOT convalidated AND conparentid = 0 AND oid NOT IN (:before) \\gexec"
        }' "$work/one.sql"
        echo "SET search_path = '';"
        echo "SELECT coalesce(string_agg(oid::text, ','), '0') AS chosen FROM pg_constraint"
        # A key that refers to a partitioned table has another below it for each partition.
        echo 'WHERE NOT convalidated AND conparentid = 0 AND oid NOT IN (:before) \gset'
        echo '\i :broken'
    } | sql -v broken="$work/broken.sql" -f - 2>>"$work/one.said" | sed '/^$/d' >"$work/one.rows"
    [ -s "$work/one.rows" ] || return 1
    cat "$work/one.rows" >>"$work/not_valid"
}

# build WHAT SECTION CONNECTIONS: the objects of $work/list. An error costs no more than its object.
build() {
    [ -s "$work/list" ] || return 0
    [ $serial = no ] && connections=$3 || connections=1
    cp "$work/list" "$work/contents"
    # shellcheck disable=SC2086 # $owner is words
    LC_ALL=C pg_restore --verbose --section="$2" $owner -j "$connections" -L "$work/list" -d "$target" database/schema.dump \
        2>"$work/said" && return 0
    if ! grep -q '^pg_restore: warning: errors ignored on restore: ' "$work/said"; then
        cat "$work/said" >&2
        die "pg_restore of $1 failed: see above"
    fi
    # Several processes write the beginnings of their lines into each other's.
    failed=$(sed -n 's/^[a-z_: ]*from TOC entry \([0-9]*\); .*/\1/p' "$work/said" | awk '!seen[$0]++')
    # A server older than pg_restore does not know each of its settings. That fails no object, and none is named.
    if [ -z "$failed" ] && grep 'error: ' "$work/said" | grep -qv 'unrecognized configuration parameter'; then
        cat "$work/said" >&2
        die "pg_restore of $1 does not say what failed: see above"
    fi
    for id in $failed; do
        cure "$id"
    done
}

# ---------------------------------------------------------------- rows

# The encoding of rows that are not in UTF-8. Entries for psql name it themselves.
encoding=$(field encoding)
case $encoding in
*[!A-Z0-9_]*) die "$list names an encoding that PostgreSQL does not have" ;;
esac
[ -z "$encoding" ] || encoding="ENCODING '$encoding'"

# What goes to psql for a list of entries; psql says the name of each that is loaded. Entries have names without
# characters that the shell or psql would take for something else.
feed() {
    while IFS='	' read -r kind entry number; do
        case $kind in
        text) printf '\\i %s\n' "$entry" ;;
        csv)
            cat "$work/copy.$number"
            # psql before 18 takes a line \. inside a quoted value for the end of the data.
            if grep -q '^\\\.' "$entry"; then
                echo "${encoding:+ WITH ($encoding)};"
                csv_to_text <"$entry"
            else
                echo " WITH (FORMAT csv, HEADER true${encoding:+, $encoding});"
                cat "$entry"
            fi
            printf '\\.\n' ;;
        esac
        printf '\\echo %s\n' "$entry"
    done
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

# Takes away the CHECK that a message of psql in $1 names, for add_checks. Fails where there is none.
drop_refusing() {
    name_of() { LC_ALL=C sed -n "s/^$1 NAME:  //p" "$refused" | sed -n 1p; }
    refused=$1
    sql -v schema="$(name_of SCHEMA)" -v relation="$(name_of TABLE)" -v type="$(name_of DATATYPE)" \
        -v name="$(name_of CONSTRAINT)" \
        -f "$work/refusing.sql" 2>/dev/null >"$refused.dropped" || return 1
    sed '/^$/d' "$refused.dropped" >>"$work/checks"
}

# Loads the entry of $1.one: with the source's search_path, and without the CHECKs that refuse its rows. Another worker
# may have dropped such a CHECK at the same time.
load_alone() {
    misses=0
    while [ $misses -lt 2 ]; do
        { printf '%s\n' '\set VERBOSITY verbose' "$search_path"; feed <"$1.one" 2>/dev/null; } |
            LC_ALL=C sql -f - >/dev/null 2>"$1.one.said" && return 0
        grep -q '^psql:[^ ]* [^ ]*:  23514: ' "$1.one.said" || return 1
        drop_refusing "$1.one.said" || misses=$((misses + 1))
    done
    return 1
}

# Loads a list of entries over one connection. psql ends at an error, as it would take the rows after it for commands;
# the entry is tried again with the source's search_path, and another psql loads the rest.
load_list() {
    todo=$1
    : >"$todo.loaded"
    while [ -s "$todo" ]; do
        before=$(wc -l <"$todo.loaded")
        feed <"$todo" 2>/dev/null | sql -f - >>"$todo.loaded" 2>"$todo.said" && break
        count=$(($(wc -l <"$todo.loaded") - before))
        sed -n "$((count + 1))p" "$todo" >"$todo.one"
        sed "1,$((count + 1))d" "$todo" >"$todo.rest"
        mv "$todo.rest" "$todo"
        entry=$(cut -f 2 "$todo.one")
        echo "$entry" >>"$todo.loaded"
        if [ -n "$entry" ] && ! load_alone "$todo"; then
            cat "$todo.said" >&2
            echo "$entry" >>"$work/not_loaded"
            echo "restore.sh: loading $entry failed: see above" >&2
            sql -c 'SELECT' >/dev/null || return 1
        fi
    done
}

# One line a second, where somebody sees it.
show_progress() {
    while sleep 1; do
        printf '\r   %s of %s files' "$(cat "$work"/load.*.loaded 2>/dev/null | wc -l)" "$1" >&2
    done
}

# Loads the entries of one group over $jobs connections, the largest first, so that all end at about the same time.
load_group() {
    rm -f "$work"/load.*
    group=$1
    export group work
    records '$1 == "rows" { here = $2 == ENVIRON["group"] }
    here && $1 == "text" { print $3 "\t" $1 "\t" $2 "\t" NR }
    here && $1 == "csv" {
        print $3 "\t" $1 "\t" $2 "\t" NR
        columns = name($6)
        for (i = 7; i <= NF; i++) columns = columns ", " name($i)
        copy = ENVIRON["work"] "/copy." NR
        printf "%s", "COPY " relation($4, $5) " (" columns ") FROM STDIN" >copy
        close(copy)
    }' >"$work/entries" || exit 1
    [ -s "$work/entries" ] || return 0
    say "$2"
    sort -t '	' -k 1,1nr "$work/entries" | LC_ALL=C awk -F '\t' -v jobs="$jobs" '{
        least = 1
        for (i = 2; i <= jobs; i++) if (bytes[i] + 0 < bytes[least] + 0) least = i
        # As much work as any entry is.
        bytes[least] += $1 + 20000
        print $2 "\t" $3 "\t" $4 >(ENVIRON["work"] "/load." least)
    }'
    workers=''
    for part in "$work"/load.*; do
        load_list "$part" &
        workers="$workers $!"
    done
    progress=''
    if [ -t 2 ]; then
        show_progress "$(wc -l <"$work/entries")" &
        progress=$!
    fi
    lost=no
    for worker in $workers; do wait "$worker" || lost=yes; done
    if [ -n "$progress" ]; then
        kill "$progress" 2>/dev/null
        printf '\r\033[K' >&2
    fi
    [ $lost = no ] || die "the server was lost while rows were loaded: see above"
}

# ---------------------------------------------------------------- CHECKs that look at more than the row

# Takes them away before the rows. What makes each again is kept in hexadecimal digits, so that nothing in it is taken for
# a command, with the number of its record.
drop_checks() {
    ask_each '
    BEGIN { digits = ", pg_catalog.getdatabaseencoding()::name), \047hex\047)" }
    $1 == "check" {
        of = " FROM pg_constraint k WHERE contype = \047c\047 AND conname = " literal(plain($5))
        this = of " AND " ($2 == "domain" ? "contypid = to_regtype" : "conrelid = to_regclass") "(" literal(relation($3, $4)) ")"
        object = "CASE contypid WHEN 0 THEN conrelid::regclass::text ELSE contypid::regtype::text END"
        print "SELECT \047comment 0 \047 || encode(convert_to(format(\047COMMENT ON CONSTRAINT %I ON %s%s IS %L\047, conname,"
        print "CASE contypid WHEN 0 THEN \047\047 ELSE \047DOMAIN \047 END, " object ", obj_description(oid, \047pg_constraint\047))" digits
        print of " AND obj_description(oid, \047pg_constraint\047) IS NOT NULL;"
        print "SELECT \047check " NR " \047 || encode(convert_to(format(\047ALTER %s %s ADD CONSTRAINT %I %s\047,"
        print "CASE contypid WHEN 0 THEN \047TABLE\047 ELSE \047DOMAIN\047 END, " object ", conname, pg_get_constraintdef(oid))" digits this ";"
        print "SELECT format(\047ALTER %s %s DROP CONSTRAINT %I\047,"
        print "CASE contypid WHEN 0 THEN \047TABLE\047 ELSE \047DOMAIN\047 END, " object ", conname)" this " \\gexec"
    }' >"$work/checks" || die "cannot drop CHECK constraints before the rows: see above"
}

# Adds them again: with the source's search_path if the empty one fails, and for later rows only if today's break them.
add_checks() {
    [ -s "$work/checks" ] || return 0
    # The records of the list come first, then those lines.
    LC_ALL=C awk -F '\t' "$functions"'
    function add(hex, rest, path) {
        print "SELECT " (path == "" ? "" : literal(path) ", ") "convert_from(decode(\047" hex "\047, \047hex\047), getdatabaseencoding()::name) || \047" rest "\047 \\gexec"
    }
    # Digits as a field of a record.
    function bytes(digits,    out, two, c) {
        for (; digits != ""; digits = substr(digits, 3)) {
            two = toupper(substr(digits, 1, 2))
            c = 16 * digit(substr(two, 1, 1)) + digit(substr(two, 2, 1))
            out = out (c < 32 || c == 37 || c == 127 ? "%" two : sprintf("%c", c))
        }
        return out
    }
    function of_its_table() {
        return " FROM pg_constraint WHERE conname = " literal(plain(kept[n, 5])) " AND contype = \047c\047 AND " \
            "(conrelid = to_regclass(" literal(relation(kept[n, 3], kept[n, 4])) ") OR contypid = to_regtype(" \
            literal(relation(kept[n, 3], kept[n, 4])) "))"
    }
    NR == FNR { if ($1 == "check") for (i = 2; i <= 5; i++) kept[FNR, i] = $i; next }
    { split($0, part, " "); n = part[2]; hex = part[3] }
    part[1] == "refused" {
        part[1] = "check"
        hex = part[2]
        n = "refused " NR
        for (i = 3; i <= 5; i++) kept[n, i] = bytes(part[i])
    }
    part[1] == "comment" { comments[++commented] = hex; next }
    part[1] == "check" {
        label = "CHECK " word(kept[n, 5]) " on " shown(kept[n, 3], kept[n, 4])
        add(hex, "")
        print "\\if :ERROR"
        add(hex, "", ENVIRON["search_path"])
        print "\\if :ERROR"
        # Rows break it, or those of a parent, whose constraint is NOT VALID then (42P17), or it is of a domain inside an
        # array, composite or range, which the server cannot validate (0A000).
        print "SELECT :\047LAST_ERROR_SQLSTATE\047 IN (\04723514\047, \04742P17\047, \0470A000\047) AS broken, :\047LAST_ERROR_MESSAGE\047 AS why \\gset"
        print "SET search_path = \047\047;"
        print "\\if :broken"
        add(hex, " NOT VALID")
        print "\\if :ERROR"
        print "SELECT concat(\047not_rebuilt \047, " literal(label) ", \047: \047, replace(:\047LAST_ERROR_MESSAGE\047, E\047\\n\047, \047 \047));"
        print "\\else"
        print "SELECT concat(\047not_valid \047, " literal(label) ", \047: rows break it\047)" of_its_table() " AND contypid <> 0;"
        print "SELECT coalesce(string_agg(oid::text, \047,\047), \0470\047) AS chosen" of_its_table() " \\gset"
        print "\\i :broken_sql"
        print "\\if :ERROR"
        print "SELECT concat(\047not_valid \047, " literal(label) ", \047: rows break it\047);"
        print "\\endif\nSET search_path = \047\047;"
        print "\\endif"
        print "\\else"
        print "SELECT concat(\047not_rebuilt \047, " literal(label) ", \047: \047, replace(:\047why\047, E\047\\n\047, \047 \047));"
        print "\\endif"
        print "\\else"
        print "SET search_path = \047\047;"
        print "SELECT concat(\047notes \047, " literal(label) ");"
        print "\\endif"
        print "\\endif"
    }
    END { for (i = 1; i <= commented; i++) add(comments[i], "") }' "$list" "$work/checks" >"$work/checks.sql" || exit 1
    sql -v ON_ERROR_STOP=0 -v broken_sql="$work/broken.sql" -f "$work/checks.sql" >"$work/checks.said" 2>/dev/null ||
        die "the server was lost while CHECK constraints were added"
    sort_out "$work/checks.said"
}

# Lines go where their first word says; others are of constraints that are NOT VALID.
sort_out() {
    while IFS= read -r line; do
        case $line in
        'not_rebuilt '*) printf '%s\n' "${line#* }" >>"$work/not_rebuilt" ;;
        'notes '*) printf '%s\n' "${line#* }" >>"$work/notes" ;;
        '') ;;
        *) printf '%s\n' "${line#not_valid }" >>"$work/not_valid" ;;
        esac
    done <"$1"
}

# ---------------------------------------------------------------- the steps, in the order of every restore

say "definitions"
pg_restore --list database/schema.dump >"$work/list" || die "pg_restore cannot read database/schema.dump: see above"
build definitions pre-data 1
drop_checks
# Their foreign keys are there already: one after the other, in the order of the list.
# They are as the triggers left them, which do not fire again; who does not own the tables cannot switch those off.
ask_each '$1 == "extension-table" {
    print "SELECT format(\047ALTER TABLE ONLY %s ENABLE %s TRIGGER %I;\047, tgrelid::regclass, CASE tgenabled"
    print "WHEN \047A\047 THEN \047ALWAYS\047 WHEN \047R\047 THEN \047REPLICA\047 ELSE \047\047 END, tgname) FROM pg_trigger"
    print "WHERE NOT tgisinternal AND tgenabled <> \047D\047 AND tgrelid = to_regclass(" literal(relation($2, $3)) ");"
}' >"$work/triggers.sql" || die "cannot ask for the triggers of extensions: see above"
if [ -s "$work/triggers.sql" ]; then
    sed 's/ ENABLE [A-Z]* *TRIGGER / DISABLE TRIGGER /' "$work/triggers.sql" | sql -v ON_ERROR_STOP=0 -f - 2>/dev/null
fi
wanted_jobs=$jobs jobs=1
load_group extensions "rows of extensions"
jobs=$wanted_jobs
sql -v ON_ERROR_STOP=0 -f "$work/triggers.sql" 2>"$work/said"
sed -n 's/^psql:[^ ]*: /trigger of an extension: /p' "$work/said" | grep -v 'must be owner' >>"$work/not_rebuilt"
load_group first "rows"
load_group after-tables "rows of tables whose columns are computed"
say "sequences"
sql -o /dev/null -f database/sequences.sql || die "setting the sequences failed: see above"
# In steps. Partitions' indexes are attached one after the other: two at once, on two levels, do not see each other, and
# the index above stays invalid. All else comes then, as a foreign key to a partitioned table needs that index, which
# pg_restore does not know when it works in parallel.
post_data() {
    steps "$1" <database/schema-post-data.list >"$work/list"
    build "$1" post-data "$2"
}
say "indexes"
post_data indexes "$jobs"
post_data attach 1
load_group after-indexes "rows that name indexes"
say "constraints, triggers"
add_checks
post_data checks "$jobs"
post_data views "$jobs"
post_data rest 1
# A statement a line.
sql -v ON_ERROR_STOP=0 -f database/foreign-keys.sql 2>"$work/said" ||
    die "the server was lost while NOT VALID foreign keys were made"
sed -n 's/^psql:database.foreign-keys.sql:[0-9]*: //p' "$work/said" >>"$work/not_rebuilt"
say "materialized views"
statements=$(records '$1 == "refresh" {
    refresh = "REFRESH MATERIALIZED VIEW " relation($2, $3) ";"
    print refresh "\n\\if :ERROR\n" ENVIRON["search_path"] "\n" refresh "\n\\if :ERROR\nSET search_path = \047\047;"
    print "SELECT concat(\047not_rebuilt \047, " literal("rows of MATERIALIZED VIEW " shown($2, $3) ": ")
    print ", replace(:\047LAST_ERROR_MESSAGE\047, E\047\\n\047, \047 \047));\n\\else"
    print "SET search_path = \047\047;\nSELECT concat(\047notes \047, " literal("MATERIALIZED VIEW " shown($2, $3)) ");\n\\endif\n\\endif"
}') || exit 1
# Where its owner is bound by policies, a view shows the rows that they let through, as at the source.
printf '%s\n' "SET row_security = on;" "$statements" | sql -v ON_ERROR_STOP=0 -f - >"$work/refreshed" 2>/dev/null ||
    die "the server was lost while materialized views were filled"
sort_out "$work/refreshed"
# They fire for all that comes before.
post_data events 1
# ANALYZE of a table reads its foreign partitions, too, on another server: those tables go without.
cat >"$work/analyze.sql" <<'SQL'
WITH RECURSIVE above AS (
    SELECT i.inhparent AS oid FROM pg_catalog.pg_inherits i
    JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid AND c.relkind = 'f'
    UNION SELECT i.inhparent FROM above JOIN pg_catalog.pg_inherits i ON i.inhrelid = above.oid)
SELECT :'path', concat('ANALYZE ', pg_catalog.string_agg(pg_catalog.format('%I.%I', n.nspname, c.relname), ', '))
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE EXISTS (SELECT FROM above) AND c.relkind IN ('r', 'm', 'p') AND n.nspname !~ '^pg_'
  AND n.nspname <> 'information_schema' AND c.oid NOT IN (SELECT oid FROM above)
\gexec
SQL
analyze() { sql -v path="$1" -f "$work/analyze.sql"; }
analyze "SET search_path = '';" 2>"$work/said" || analyze "$search_path" || echo "ANALYZE: see above" >>"$work/not_rebuilt"

# ---------------------------------------------------------------- as many rows as were backed up

say "row counts"
statements=$(records 'function uncounted(schema, table, rows) {
    print "\\if :ERROR"
    print "SELECT pg_catalog.format(\047  %-24s %11s archived %11s restored  DIFFERENT\047, " literal(shown(schema, table)) ", " rows ", \047not\047);"
    print "\\endif"
}
$1 == "table" || $1 == "tree" {
    rows = literal($4)
    only = $1 == "table" ? "ONLY " : ""
    print "SELECT pg_catalog.format(\047  %-24s %11s archived %11s restored  %s\047, " literal(shown($2, $3)) ", " rows ", n,"
    print "CASE WHEN n = " rows " THEN \047equal\047 ELSE \047DIFFERENT\047 END)"
    print "FROM (SELECT count(*) AS n FROM " only relation($2, $3) ") counted;"
    uncounted($2, $3, rows)
}
$1 == "extension-table" {
    line = "\047  %-24s %11s archived %11s restored  %s\047, "
    print "SELECT " literal("SELECT pg_catalog.format(" line literal(shown($2, $3)) ", " literal($4) ", n, " \
        "CASE WHEN n = " literal($4) " THEN \047equal\047 ELSE \047DIFFERENT\047 END) " \
        "FROM (SELECT count(*) AS n FROM ONLY " relation($2, $3) " WHERE (" plain($5) ")) counted") " \\gexec"
    uncounted($2, $3, literal($4))
}') || exit 1
# The planner may call the functions of an index.
counted=$(printf '%s\n' "$search_path" "$statements" | sql -v ON_ERROR_STOP=0 -f -) || die "counting the rows failed: see above"
[ -z "$counted" ] || printf '%s\n' "$counted"
wrong=$(printf '%s\n' "$counted" | grep -c '  DIFFERENT$')

# Last, as one of them may make the database read-only.
case $create$owner in
yes*--no-owner*)
    echo "owner, grants and settings of the database: not with --no-owner; see database/properties.sql" >>"$work/not_rebuilt"
    ;;
yes*)
    say "properties of the database"
    sql -v ON_ERROR_STOP=0 -o /dev/null -f database/properties.sql 2>"$work/said" ||
        die "the server was lost while the database got its properties"
    sed -n 's/^psql:database.properties.sql:[0-9]*: /property of the database: /p' "$work/said" >>"$work/not_rebuilt"
    ;;
esac

# The lists are on a disk that may be full.
echo end >"$work/end" || die "the directory for temporary files, $work, is full: what could not be rebuilt may be listed in part"

# Says one of the lists that were gathered.
listed() {
    [ ! -s "$work/$1" ] || printf '%s:\n%s\n' "$2" "$(sed 's/^/  /' "$work/$1")"
}
masked=$(records '$1 == "masked" { print "  " $2 }')
[ -z "$masked" ] || printf 'passwords that are masked in the archive and have to be set again:\n%s\n' "$masked"
records '$1 == "not-compared" { print $2 }'
listed notes "built with the search_path of the source, as functions name others without their schema"
listed not_valid "came back NOT VALID, as rows of the archive break it"
listed not_rebuilt "not rebuilt"
listed not_loaded "not loaded"
[ "$wrong" = 0 ] || die "tables with another number of rows than the archive: $wrong"
[ ! -s "$work/not_loaded" ] || die "not all files were loaded"
printf 'restored into %s: every row count equal\n' "$PGDATABASE"
[ ! -s "$work/not_rebuilt" ] && [ ! -s "$work/not_valid" ] || exit 3
