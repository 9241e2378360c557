#!/usr/bin/env bash
# notify-failed.sh UNIT: say that UNIT has failed for good.
#
# Writes one line of priority crit to the system log and, where a `sendmail` is installed, mails
# the last lines of the unit's journal to $COLONYWATCH_ADMIN (default: root).
# Exit: 0 told, 1 the mail could not be handed over, 2 misused.
set -euo pipefail

if [[ $# -ne 1 || ! $1 =~ ^[A-Za-z0-9:_.@\\-]+$ ]]; then
    echo "usage: notify-failed.sh UNIT" >&2
    exit 2
fi
unit=$1
admin=${COLONYWATCH_ADMIN:-root}
machine=$(uname -n)
PATH=$PATH:/usr/sbin:/usr/lib

show() {  # show PROPERTY: the unit's property, or "unknown"
    systemctl show --property="$1" --value -- "$unit" 2>/dev/null || echo unknown
}

result=$(show Result)
status=$(show ExecMainStatus)
reason="result ${result:-unknown}, exit status or signal ${status:-unknown}"
case $status in
    78) advice="The configuration is bad: run 'colonywatch check-config', mend it, then 'systemctl restart $unit'." ;;
    *) advice="See 'journalctl -u $unit'; then 'systemctl reset-failed $unit' and 'systemctl start $unit'." ;;
esac
summary="$unit is DOWN on $machine and will not start again by itself ($reason). $advice"

# A leading <2> is journald's mark for priority crit.
logger --priority daemon.crit --tag colonywatch -- "$summary" 2>/dev/null || echo "<2>$summary"

if ! command -v sendmail >/dev/null; then
    echo "no sendmail on this machine: nobody was mailed"
    exit 0
fi
{
    printf 'To: %s\n' "$admin"
    printf 'Subject: [colonywatch] %s is DOWN on %s\n' "$unit" "$machine"
    printf 'Auto-Submitted: auto-generated\n'
    printf 'Content-Type: text/plain; charset=utf-8\n\n'
    printf '%s\n\nUntil then no culture is watched and no alert is sent.\n\n' "$summary"
    printf 'Last lines of its journal:\n\n'
    journalctl --no-pager --lines=40 --output=short-iso --unit="$unit" 2>&1 || true
} | sendmail -t -oi || {
    echo "<3>the mail to $admin could not be handed over" >&2
    exit 1
}
echo "mail to $admin handed over"
