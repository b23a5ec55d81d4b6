#!/bin/sh
# The whole suite against each version of PostgreSQL that `tools/install-postgres.sh versions` fetched, with
# the client programs of 18; or against those that are named: tools/suite-on-versions.sh 13 18
set -eu

cd "$(dirname "$0")/.."
fetched=$PWD/target/postgres
[ $# -gt 0 ] || set -- 13 14 15 16 17 18
# The clients from PyPI are built without TLS, which these tests are about.
without_tls='--skip connection::tls_trusts_only_the_configured_authority'

mkdir -p target/reliability
for major; do
    log=target/reliability/suite-on-$major.log
    PATH="$fetched/$major/bin:$fetched/client-18/bin:$PATH"
    export PATH
    # shellcheck disable=SC2086 # two words
    if ${CARGO:-cargo} test -p hubvault --test suite --locked -- $without_tls >"$log" 2>&1; then
        echo "the suite on PostgreSQL $major: $(grep '^test result' "$log")"
    else
        tail -n 40 "$log" >&2
        echo "the suite on PostgreSQL $major: failed, see $log" >&2
        exit 1
    fi
done
