#!/bin/sh
# Tries what users install: `cargo install`, then the Debian package on a fresh Debian 12 in a directory, with its
# dependencies, user, unit, manual pages, completions and configuration; a proven backup; and its removal, which
# leaves the backups. For root, with a Debian mirror; takes what tools/package.sh built. Removes what it made.
set -eu
cd "$(dirname "$0")/.."
[ "$(id -u)" = 0 ] || { echo "package-smoke.sh: run it as root (chroot and mounts)" >&2; exit 1; }
deb=$(ls target/package/*.deb)

step() { printf '\n== %s (%s s)\n' "$1" "$(($(date +%s) - began))"; }
fail() { echo "package-smoke.sh: $1" >&2; exit 1; }
began=$(date +%s)

work=$(mktemp -d)
root=$work/root
clean() {
    code=$?
    rm -rf --one-file-system "$work"
    exit $code
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
# A namespace of its own: what is mounted and started in it is gone with it.
inside() {
    # shellcheck disable=SC2016 # for the other shell
    unshare --mount --pid --fork --kill-child ${network:+--net} sh -eu -c '
        root=$1
        shift
        mount -t proc proc "$root/proc"
        mount --rbind /dev "$root/dev"
        exec chroot "$root" env -i PATH="$PATH" HOME=/root DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 "$@"
    ' sh "$root" "$@"
}
network=''
PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:$PATH

step "cargo install"
cargo install --quiet --locked --path crates/hubvault --root "$work/cargo" --target-dir target
"$work/cargo/bin/hubvault" --version

step "A fresh Debian 12"
mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null |
    sed -n -e 's/^URIs: *\([^ ]*\).*/\1/p' -e 's/^deb \(\[[^]]*\] \)\{0,1\}\([^ ]*\) .*/\2/p' |
    grep '/debian/\{0,1\}$' | head -n 1)
[ -n "$mirror" ] || fail "no Debian mirror in /etc/apt/sources.list*"
command -v debootstrap >/dev/null || { apt-get update -qq; apt-get install -y -qq --no-install-recommends debootstrap; }
debootstrap --variant=minbase --include=ca-certificates bookworm "$root" "$mirror" >"$work/log" ||
    { tail "$work/log"; exit 1; }
# Pages of the manual and documents are part of what is tried.
rm -f "$root"/etc/dpkg/dpkg.cfg.d/*
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod +x "$root/usr/sbin/policy-rc.d"
inside apt-get install -y -qq --no-install-recommends lintian man-db >"$work/log" 2>&1 || { tail "$work/log"; exit 1; }

step "lintian"
cp "$deb" "$root/tmp/hubvault.deb"
inside lintian --tag-display-limit 0 --allow-root --fail-on error /tmp/hubvault.deb

step "The package with what it depends on and recommends"
inside apt-get install -y -qq /tmp/hubvault.deb >"$work/log" 2>&1 || { tail "$work/log"; exit 1; }
inside hubvault --version
inside id hubvault
[ "$(inside stat -c '%a %U %G' /usr/lib/systemd/system/hubvault.service)" = '644 root root' ] || fail "no unit"
inside systemd-analyze verify --man=no hubvault.service
# At boot and where systemd runs, this happens by itself.
inside systemd-tmpfiles --create hubvault.conf
for want in '/var/backups/hubvault 700 hubvault hubvault' '/etc/hubvault 750 root hubvault'; do
    [ "$(inside stat -c '%n %a %U %G' "${want%% *}")" = "$want" ] || fail "not as it should be: $want"
done
grep -q /etc/hubvault/hubvault.toml "$root/var/lib/dpkg/info/hubvault.conffiles" || fail "the configuration is no conffile"

step "Manual pages and completions"
for page in hubvault hubvault-backup hubvault-restore hubvault-config-check; do
    inside man --warnings --encoding=UTF-8 1 "$page" >"$work/page" 2>"$work/complaints" || fail "man 1 $page"
    [ -s "$work/page" ] && [ ! -s "$work/complaints" ] || { cat "$work/complaints"; fail "man 1 $page complains"; }
done
# shellcheck disable=SC2016 # for the other shell
inside bash -c '. /usr/share/bash-completion/completions/hubvault && complete -p hubvault'

step "A backup as the package is configured"
cat >"$root/tmp/session.sh" <<'SESSION'
pg_conftool 15 main set port 5432
pg_conftool 15 main set listen_addresses ''
pg_ctlcluster 15 main start
as() { runuser -u "$@"; }
as postgres -- createuser hubvault
as postgres -- psql -q -c 'GRANT pg_read_all_data TO hubvault' -c 'CREATE TABLE users (id int PRIMARY KEY)'
sed -i '1i file = []' /etc/hubvault/hubvault.toml
cat >>/etc/hubvault/hubvault.toml <<'TOML'
[scope]
tables = ["users"]
window = []
[email]
enabled = false
TOML
# 3: one disk holds the database and the archives.
as hubvault -- hubvault config check || [ $? = 3 ]
as hubvault -- hubvault backup
as hubvault -- hubvault status
pg_ctlcluster 15 main stop
SESSION
# Ports of its own, too.
network=none
inside sh -eu /tmp/session.sh
network=''

step "Removal"
inside apt-get purge -y -qq hubvault >"$work/log" 2>&1 || { tail "$work/log"; exit 1; }
[ ! -e "$root/usr/bin/hubvault" ] && [ ! -e "$root/etc/hubvault/hubvault.toml" ] || fail "purging leaves files"
inside find /var/backups/hubvault -name '*.tar.gz' | grep . || fail "purging removed backups"

step "All well"
