#!/bin/sh
# The name and the manner of the Bash system: takes one backup. Settings come from the environment, as before.
# Exit codes: 0 there is a backup (warnings are on standard error), 1 there is none.
set -u

say() {
    level=$1
    shift
    printf '[%s] [%s] %s\n' "$(date '+%Y-%m-%d %H:%M:%S')" "$level" "$*"
}

case "${1-}" in
'') ;;
-h | --help)
    echo "Usage: $0"
    echo "Takes one backup; the settings come from the environment (hubvault config show)."
    exit 0
    ;;
*)
    echo "Usage: $0" >&2
    echo "$0 takes no arguments, and was given: $*" >&2
    exit 1
    ;;
esac

say INFO "Starting lightweight backup..."
report=$(hubvault backup --no-progress)
code=$?
case $code in
0 | 3)
    # The first line of the report is the archive with its size: "<path>  12.3 MB".
    first=${report%%"
"*}
    path=${first%%  *}
    size=$(printf '%s' "${first#"$path"}" | tr -d ' ')
    say SUCCESS "Backup completed: ${path##*/} ($size)"
    # What hubvault warns of ends its report.
    body=${report%%"
Warnings ("*}
    printf '%s\n' "$body"
    printf '%s' "${report#"$body"}" >&2
    if [ $code -eq 3 ]; then
        printf '\n' >&2
        say WARN "The backup was made, with the warnings above" >&2
    fi
    exit 0
    ;;
130 | 143)
    say ERROR "The backup was interrupted; nothing was published unless said above" >&2
    ;;
*)
    say ERROR "The backup failed (hubvault ended with $code); nothing was published" >&2
    ;;
esac
[ -z "$report" ] || printf '%s\n' "$report"
exit 1
