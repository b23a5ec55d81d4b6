#!/bin/sh
# Builds what a release offers for this machine's architecture, into target/package: the Debian package, a tar with
# the program, its manual pages, completions for shells, the systemd unit and the example configuration, and a bill of
# materials (CycloneDX).
#
# Installs cargo-deb and cargo-sbom into target/tools, in the versions pinned here.
set -eu
cd "$(dirname "$0")/.."

out=target/package
program=target/release/hubvault
cargo install --quiet --locked --root target/tools cargo-deb@3.8.0 cargo-sbom@0.10.0
PATH=$PWD/target/tools/bin:$PATH

cargo build --release --locked --package hubvault
version=$($program --version | cut -d ' ' -f 2)
name=hubvault-$version-$(uname -m)-linux-gnu
rm -rf $out
mkdir -p $out/man $out/completions "$out/$name"
$program man --dir $out/man
$program completions bash >$out/completions/hubvault
$program completions zsh >$out/completions/_hubvault
$program completions fish >$out/completions/hubvault.fish

# Debian wants a changelog of the package; that of the program is beside it.
cat >$out/changelog.Debian <<CHANGES
hubvault ($version-1) stable; urgency=medium

  * Built from the release $version; its changes are in changelog.gz.

 -- The hubvault authors <hubvault@packages.invalid>  $(date -R)
CHANGES
cargo deb --no-build --package hubvault --output $out
cp -R $program $out/man $out/completions README.md LICENSE hubvault.example.toml deploy/hubvault.service "$out/$name"
tar --owner=0 --group=0 --numeric-owner -C $out -czf "$out/$name.tar.gz" "$name"
rm -r "${out:?}/$name"
cargo sbom --cargo-package hubvault --output-format cyclone_dx_json_1_6 >"$out/$name.cdx.json"
ls -l $out/hubvault*
