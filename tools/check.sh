#!/bin/sh
# Holds the compose files, the Kubernetes objects and the systemd unit against their published schemas, and the
# scripts against a shell's grammar. The schemas come with check-jsonschema and kubernetes-validate from PyPI, into
# target/deploy-check. An own mistake is planted first: a check that lets it pass is none.
set -eu
cd "$(dirname "$0")/.."

venv=target/deploy-check
if [ ! -x $venv/bin/kubernetes-validate ]; then
    python3 -m venv $venv
    $venv/bin/pip install --quiet check-jsonschema==0.39.0 kubernetes-validate==1.37.0
fi

fails() {
    if "$@" >/dev/null 2>&1; then
        echo "check.sh: a planted mistake was not found by: $*" >&2
        exit 1
    fi
}

for file in docker-compose.*.yml; do
    $venv/bin/check-jsonschema --quiet --builtin-schema vendor.compose-spec "$file"
    sed 's/^    environment:/    enviroment:/' "$file" >$venv/planted.yml
    fails $venv/bin/check-jsonschema --builtin-schema vendor.compose-spec $venv/planted.yml
    echo "$file is a compose file"
done

# The oldest and the newest version that the tool knows of those that run today.
for file in deploy/kubernetes/*.yaml; do
    for version in 1.31 1.37; do
        $venv/bin/kubernetes-validate --quiet --strict -k $version "$file"
        sed 's/readOnlyRootFilesystem: true/readOnlyRootFileSystem: true/' "$file" >$venv/planted.yml
        fails $venv/bin/kubernetes-validate --strict -k $version $venv/planted.yml
        echo "$file holds for Kubernetes $version"
    done
done

for file in tools/*.sh deploy/scripts/*.sh; do
    "$(basename "$(sed -n '1s/^#!.*[ /]//p' "$file")")" -n "$file"
done
echo "the scripts are scripts"

if command -v systemd-analyze >/dev/null 2>&1; then
    # The program need not be installed here.
    program=$(command -v true)
    sed "s#/usr/local/bin/hubvault serve#$program#" deploy/hubvault.service >$venv/hubvault.service
    systemd-analyze verify "$(pwd)/$venv/hubvault.service"
    # 0 is a service that may do nothing, 10 one that may do everything; times ten.
    systemd-analyze security --offline=true --threshold=20 --no-pager deploy/hubvault.service | tail -n 1
else
    echo "deploy/hubvault.service was not looked at: there is no systemd-analyze here"
fi
