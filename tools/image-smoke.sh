#!/bin/sh
# Builds the image for real and tries it, without a container engine and without a registry of images:
# buildah with chroot isolation, over two base images made from Debian's packages and the Rust toolchain of this
# machine. For Debian 12 and root; CI may run it. Removes what it made.
#
#   tools/image-smoke.sh [DIRECTORY]    where it works; 8 GB, gone afterwards (default: a new one in $TMPDIR)
#
#   PG_MAJOR      the major version; 15 is what Debian 12 has
#   TARGET_CACHE  a Cargo target directory to build in and to leave behind, so that the next time is quicker
#
# The published base images hold more than these, so the size printed at the end is that of this image; what
# hubvault adds to any base is printed beside it.
set -eu

pg=${PG_MAJOR:-15}
source=$(cd "$(dirname "$0")/.." && pwd)
[ "$(id -u)" = 0 ] || { echo "image-smoke.sh: run it as root (chroot and mounts)" >&2; exit 1; }

step() { printf '\n== %s (%s s)\n' "$1" "$(($(date +%s) - began))"; }
began=$(date +%s)

missing=''
for program in buildah debootstrap; do
    command -v $program >/dev/null 2>&1 || missing="$missing $program"
done
if [ -n "$missing" ]; then
    step "Installing$missing"
    apt-get update -qq
    # shellcheck disable=SC2086 # a list of words
    DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
fi

if [ $# -gt 0 ]; then
    work=$1
    mkdir "$work"
else
    work=$(mktemp -d)
fi
store() {
    buildah --storage-driver vfs --root "$work/store" --runroot "$work/run" "$@"
}
clean() {
    code=$?
    store umount --all >/dev/null 2>&1 || true
    store rm --all >/dev/null 2>&1 || true
    rm -rf --one-file-system "$work"
    exit $code
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# The machine's own mirror: the first that serves Debian, in either of the two forms that apt knows.
mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null |
    sed -n -e 's/^URIs: *\([^ ]*\).*/\1/p' -e 's/^deb \(\[[^]]*\] \)\{0,1\}\([^ ]*\) .*/\2/p' |
    grep '/debian/\{0,1\}$' | head -n 1)
[ -n "$mirror" ] || { echo "image-smoke.sh: no Debian mirror in /etc/apt/sources.list*" >&2; exit 1; }

# One directory becomes one image: its tag, then what `buildah config` is to say.
import() {
    tag=$1
    directory=$2
    shift 2
    container=$(store from scratch)
    root=$(store mount "$container")
    cp -a "$directory/." "$root/"
    store umount "$container" >/dev/null
    store config "$@" "$container"
    store commit --quiet --rm "$container" "$tag" >/dev/null
    rm -rf --one-file-system "$directory"
}

step "A base image with PostgreSQL $pg"
debootstrap --variant=minbase --include="ca-certificates,postgresql-$pg" bookworm "$work/postgres" "$mirror" >"$work/log" ||
    { tail "$work/log"; exit 1; }
rm -rf "$work"/postgres/var/cache/apt/archives/*.deb "$work"/postgres/var/lib/apt/lists/*
path=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
import "docker.io/library/postgres:$pg-bookworm" "$work/postgres" \
    --env "PATH=$path:/usr/lib/postgresql/$pg/bin" --stop-signal SIGINT

step "A base image with this machine's Rust ($(rustc --version))"
debootstrap --variant=minbase --include=ca-certificates,gcc,libc6-dev,autoconf,automake,libtool,make,nasm \
    bookworm "$work/rust" "$mirror" >"$work/log" ||
    { tail "$work/log"; exit 1; }
sysroot=$(rustc --print sysroot)
mkdir -p "$work/rust/usr/local/rust" "$work/rust/usr/local/cargo/registry"
for part in bin lib libexec; do
    [ ! -d "$sysroot/$part" ] || cp -a "$sysroot/$part" "$work/rust/usr/local/rust/"
done
import docker.io/library/rust:1.95-bookworm "$work/rust" \
    --env "PATH=/usr/local/rust/bin:$path" --env CARGO_HOME=/usr/local/cargo

step "The image"
# What Cargo has here already is not fetched again.
registry=${CARGO_HOME:-$HOME/.cargo}/registry
cache=${TARGET_CACHE:-}
[ -d "$registry" ] || registry=''
[ -z "$cache" ] || mkdir -p "$cache"
store bud --isolation chroot --pull-never --layers=false \
    ${registry:+--volume "$registry:/usr/local/cargo/registry"} ${cache:+--volume "$cache:/src/target"} \
    --build-arg "PG_MAJOR=$pg" --build-arg "REVISION=$(git -C "$source" rev-parse HEAD 2>/dev/null || echo unknown)" \
    --format docker --tag hubvault:smoke "$source"

step "What it is"
container=$(store from --pull-never hubvault:smoke)
store inspect --type image --format \
    'user {{.Docker.Config.User}}, entry {{.Docker.Config.Entrypoint}} {{.Docker.Config.Cmd}}, stop {{.Docker.Config.StopSignal}}, health {{.Docker.Config.Healthcheck}}' hubvault:smoke
store images
run() { store run --isolation chroot "$container" -- "$@"; }
run hubvault --version
[ "$(run id -u)" = 1001 ] || { echo "image-smoke.sh: it does not run as 1001" >&2; exit 1; }
run hubvault config check || [ $? = 3 ]
run sh -c 'test -w /var/log/backup.log && test -w /backups && test ! -w /config && test -x /scripts/backup-monitor.sh'
run sh -c "/usr/lib/postgresql/$pg/bin/initdb --version"

step "A backup and its drill, root read-only, as 1001"
root=$(store mount "$container")
printf 'of this, hubvault: '
du -sh "$root/usr/local/bin/hubvault" | cut -f1
printf 'unpacked: '
du -shx "$root" | cut -f1
cat >"$work/lib.sh" <<LIB
set -eu
PATH=/usr/lib/postgresql/$pg/bin:/usr/local/bin:/usr/bin:/bin
export PATH HOME=/home/hubvault BACKUP_DIR=/backups CONFIG_DIR=/config LOG_FILE=/var/log/backup.log
export POSTGRES_HOST=/tmp POSTGRES_PORT=5433 POSTGRES_USER=postgres POSTGRES_DB=postgres EMAIL_ENABLED=false
LIB
cat >"$work/backup.sh" <<'SESSION'
. /tmp/lib.sh
if touch /usr/local/bin/probe 2>/dev/null; then
    echo "the root can be written" >&2
    exit 1
fi
initdb -D /tmp/source -U postgres >/dev/null
pg_ctl -w -D /tmp/source -l /tmp/source.log -o "-k /tmp -p 5433 -c listen_addresses=''" start >/dev/null
psql -q -h /tmp -p 5433 -U postgres -c "CREATE TABLE users (id int PRIMARY KEY, name text)" \
    -c "INSERT INTO users SELECT n, 'user ' || n FROM generate_series(1, 1000) n"
/scripts/backup-lightweight.sh | tee /tmp/said
grep -q '^proven: ' /tmp/said
grep -q '\[SUCCESS\] Backup completed: critical_backup_' /tmp/said
hubvault list
tar -tzf /backups/critical_backup_*.tar.gz | grep -q '^database/users.sql$'
/scripts/backup-monitor.sh nonsense >/dev/null 2>&1 && exit 1
# A second container takes over from the first: a run each minute, none twice, none left out.
runs() { hubvault list --json | grep -c '"state": "proven"'; }
wait_for_runs() {
    tries=0
    until [ "$(runs)" -ge "$1" ]; do
        tries=$((tries + 1))
        [ $tries -lt 900 ] || { hubvault list >&2; echo "waited in vain for $1 runs" >&2; exit 1; }
        sleep 0.2
    done
}
export BACKUP_SCHEDULE='* * * * *' TZ=UTC
hubvault serve 2>/tmp/old.log & old=$!
wait_for_runs 2
hubvault serve 2>/tmp/new.log & new=$!
kill -TERM $old
wait $old
grep -q 'stopped' /tmp/old.log
wait_for_runs 4
kill -TERM $new
wait $new
hubvault list
minutes=$(hubvault list --json | sed -n 's/.*"started_at": "\(.\{16\}\).*/\1/p' | sort)
[ "$minutes" = "$(echo "$minutes" | uniq)" ] || { echo "made twice: $minutes" >&2; exit 1; }
hubvault check time disk
pg_ctl -D /tmp/source -m fast stop >/dev/null
SESSION
# As the first process, as a container engine starts it: it collects orphans, and ends on SIGTERM by itself.
cat >"$work/first.sh" <<'SESSION'
. /tmp/lib.sh
export BACKUP_SCHEDULE='0 0 29 2 *'
sh -c 'sleep 0.1 & exec true'
exec hubvault serve
SESSION
# A namespace of its own: what is mounted and started in it is gone with it. What is kept in /backups stays.
inside() {
    # shellcheck disable=SC2016 # for the other shell
    unshare --mount --pid --fork --kill-child sh -eu -c '
        root=$1
        mount --bind "$root" "$root"
        mount -o remount,bind,ro "$root"
        mount -t proc proc "$root/proc"
        mount --rbind /dev "$root/dev"
        mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
        mount --bind "$2/backups" "$root/backups"
        mount -t tmpfs -o mode=0755,uid=1001,gid=1001 tmpfs "$root/var/log"
        cp "$2/lib.sh" "$2/$3" "$root/tmp/"
        chmod 0644 "$root/tmp/lib.sh" "$root/tmp/$3"
        exec chroot --userspec=1001:1001 "$root" /bin/sh "/tmp/$3"' sh "$root" "$work" "$1"
}
mkdir -m 0700 "$work/backups"
chown 1001:1001 "$work/backups"
inside backup.sh

step "The service as the first process, stopped"
# Read afresh, as after a start of the machine: tools/idle-memory.sh says why.
sync "$root/usr/local/bin/hubvault"
dd if="$root/usr/local/bin/hubvault" iflag=nocache count=0 2>/dev/null
inside first.sh 2>"$work/first.log" & namespace=$!
tries=0
until grep -q 'next run at' "$work/first.log"; do
    tries=$((tries + 1))
    [ $tries -lt 150 ] || { cat "$work/first.log" >&2; exit 1; }
    sleep 0.2
done
# What was started in the background is a shell, which started unshare, which started it.
first=$namespace
until [ "$(cat "/proc/$first/comm")" = hubvault ]; do
    first=$(cut -d ' ' -f 1 "/proc/$first/task/$first/children")
    [ -n "$first" ] || { echo "hubvault does not run" >&2; exit 1; }
done
[ "$(awk '/^NSpid/ { print $NF }' "/proc/$first/status")" = 1 ] || { echo "it is not the first process" >&2; exit 1; }
resident=$(awk '/^VmRSS/ { print $2 }' "/proc/$first/status")
echo "idle it holds $resident kB"
[ "$resident" -lt 20000 ] || { echo "that is more than 20 MB" >&2; exit 1; }
asked=$(date +%s)
kill -TERM "$first"
wait $namespace || { echo "it ended with $?" >&2; exit 1; }
echo "ended within $(($(date +%s) - asked)) s"
grep -q '"stopped"' "$work/first.log"

step "All well"
