#!/bin/sh
# The name and the arguments of the Bash system: mails ADMIN_EMAILS what came of a backup.
# `hubvault backup` does so by itself; this sends it once more, or tells of a failure elsewhere.
# Exit codes: 0 sent, 1 not.
set -u

usage() {
    echo "Usage: $0 SUCCESS|FAILURE FILE [MESSAGE]"
    echo
    echo "  SUCCESS FILE            the success mail of that archive, once more, to ADMIN_EMAILS"
    echo "  FAILURE FILE [MESSAGE]  a failure mail with MESSAGE; FILE may be empty"
}

say() {
    level=$1
    shift
    printf '[%s] [%s] %s\n' "$(date '+%Y-%m-%d %H:%M:%S')" "$level" "$*"
}

case "${1-}" in
-h | --help)
    usage
    exit 0
    ;;
esac
if [ $# -lt 2 ] || [ $# -gt 3 ]; then
    usage >&2
    exit 1
fi
status=$1
file=$2
message=${3-}

case $status in
SUCCESS)
    if [ -z "$file" ]; then
        usage >&2
        exit 1
    fi
    say INFO "Sending the success mail of ${file##*/}..."
    hubvault mail send success --backup "$file"
    code=$?
    ;;
FAILURE)
    text=${message:-"The backup failed."}
    [ -z "$file" ] || text="$text (${file##*/})"
    say INFO "Sending the failure mail..."
    hubvault mail send failure --message "$text"
    code=$?
    ;;
*)
    usage >&2
    exit 1
    ;;
esac

case $code in
0)
    say SUCCESS "Email sent"
    exit 0
    ;;
3)
    say WARN "Email sent, with the warnings above" >&2
    exit 0
    ;;
*)
    say ERROR "The email was not sent" >&2
    exit 1
    ;;
esac
