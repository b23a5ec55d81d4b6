#!/bin/sh
# The name and the commands of the Bash system: looks whether the backups are all right.
# Exit codes: 0 they are (warnings are on standard error), 1 they are not.
set -u

usage() {
    echo "Usage: $0 [COMMAND]"
    echo
    echo "  health-check  every check (what happens without a command)"
    echo "  status        the newest backup, the next run, who is told, what is at risk"
    echo "  test-alert    send a test by every channel"
    echo "  check-time    is the newest proven backup young enough? (BACKUP_MAX_AGE_HOURS)"
    echo "  check-size    is its size as it should be? (BACKUP_MIN_SIZE_MB, BACKUP_MAX_SIZE_MB)"
    echo "  check-files   are all archives there and whole?"
    echo "  check-disk    is there room for the next backup?"
    echo "  check-db      can the database be read?"
}

say() {
    level=$1
    shift
    printf '[%s] [%s] %s\n' "$(date '+%Y-%m-%d %H:%M:%S')" "$level" "$*"
}

# A name for people, then hubvault's own words.
look() {
    what=$1
    shift
    say INFO "Running $what..."
    hubvault "$@"
    case $? in
    0)
        say SUCCESS "$what passed"
        exit 0
        ;;
    3)
        say WARN "$what passed, with the warnings above" >&2
        exit 0
        ;;
    *)
        say ERROR "$what failed" >&2
        exit 1
        ;;
    esac
}

if [ $# -gt 1 ]; then
    usage >&2
    exit 1
fi
case "${1-health-check}" in
health-check) look "health check" check ;;
status) look "status" status ;;
test-alert) look "test alert" alert test ;;
check-time) look "time check" check time ;;
check-size) look "size check" check size ;;
check-files) look "file check" check files ;;
check-disk) look "disk check" check disk ;;
check-db) look "database check" check database ;;
-h | --help)
    usage
    ;;
*)
    echo "Unknown command: $1" >&2
    usage >&2
    exit 1
    ;;
esac
