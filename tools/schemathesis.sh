#!/bin/sh
# Asks a living service everything that docs/openapi.json allows and much that it does not, and fails where it
# answers with a 5xx that the document does not name.
#
#   tools/schemathesis.sh [EXAMPLES]     so many a route, 25 by default
#
# Needs python3 with venv, and pip's index. The service runs on a free port with a directory of its own and
# without a database, so that runs fail at once; everything goes again at the end.
set -eu

examples=${1:-25}
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
binary=${HUBVAULT:-target/debug/hubvault}
[ -x "$binary" ] || cargo build --locked -p hubvault

tools=target/schemathesis
if [ ! -x "$tools/bin/schemathesis" ]; then
    python3 -m venv "$tools"
    "$tools/bin/pip" install --quiet 'schemathesis>=4,<5'
fi

work=$(mktemp -d)
service=
end() {
    [ -z "$service" ] || kill "$service" 2>/dev/null || true
    [ -z "$service" ] || wait "$service" 2>/dev/null || true
    rm -rf "$work"
}
trap end EXIT INT TERM

mkdir "$work/backups" "$work/config"
export BACKUP_DIR="$work/backups" CONFIG_DIR="$work/config" HTTP_ADDR=127.0.0.1:0 LOG_FORMAT=json
export POSTGRES_HOST=127.0.0.1 POSTGRES_PORT=1 EMAIL_ENABLED=false BACKUP_SCHEDULE='0 0 29 2 *'
printf 'file = []\n' > "$work/config/hubvault.toml"
token=$("$binary" token create fuzz --role admin 2>/dev/null)

"$binary" serve 2> "$work/log" &
service=$!
address=
tries=0
while [ -z "$address" ]; do
    address=$(sed -n 's/.*listening on http:\/\/\([0-9.:]*[0-9]\).*/\1/p' "$work/log" | head -n 1)
    tries=$((tries + 1))
    if [ "$tries" -gt 300 ]; then
        cat "$work/log" >&2
        exit 1
    fi
    sleep 0.1
done

# 503 of /health is an answer that the document names: nothing is proven here.
cat > "$work/schemathesis.toml" <<'TOML'
[[operations]]
include-path = "/health"
checks.not_a_server_error.expected-statuses = ["2xx", "4xx", 503]
TOML

# The service lets twenty requests a second in; more would only show that limit.
cd "$work" # it leaves caches where it runs
"$root/$tools/bin/schemathesis" --config-file "$work/schemathesis.toml" run "$root/docs/openapi.json" \
    --url "http://$address" \
    --header "Authorization: Bearer $token" \
    --checks not_a_server_error \
    --phases examples,coverage,fuzzing \
    --max-examples "$examples" \
    --rate-limit 15/s \
    --request-timeout 40 \
    --seed 1 \
    --no-color
