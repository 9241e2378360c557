#!/usr/bin/env bash
# notify-failed.sh UNIT: say that UNIT has failed for good.
#
# Writes one line of priority crit to the system log and tells everybody who gets alerts, with the
# last lines of the unit's journal, through the configured mail server (`colonywatch
# report-failure`). Where that fails, it mails $COLONYWATCH_ADMIN (default: root) through the mail
# server of this machine, else through `sendmail`, if one is installed.
# Exit: 0 told, 1 nobody could be told, 2 misused.
set -euo pipefail

if [[ $# -ne 1 || ! $1 =~ ^[A-Za-z0-9:_.@\\-]+$ ]]; then
    echo "usage: notify-failed.sh UNIT" >&2
    exit 2
fi
unit=$1
admin=${COLONYWATCH_ADMIN:-root}
machine=$(uname -n)
program=${COLONYWATCH_PROGRAM:-$(dirname -- "$(readlink -f -- "$0")")/venv/bin/colonywatch}
config=${COLONYWATCH_CONFIG:-/etc/colonywatch/config.yaml}
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

journal() { journalctl --no-pager --lines=40 --output=short-iso --unit="$unit" 2>&1 || true; }

# It may itself be what is broken, or hang.
if [[ -x $program ]] &&
    journal | timeout 240 "$program" report-failure "$unit" --reason "$reason. $advice" --config "$config"; then
    exit 0
fi
echo "<3>colonywatch itself could not tell anybody (see above)" >&2

message() {
    printf 'To: %s\n' "$admin"
    printf 'Subject: [colonywatch] %s is DOWN on %s\n' "$unit" "$machine"
    printf 'Auto-Submitted: auto-generated\n'
    printf 'Content-Type: text/plain; charset=utf-8\n\n'
    printf '%s\n\nUntil then no culture is watched and no alert is sent.\n\n' "$summary"
    printf 'Last lines of its journal:\n\n'
    journal
}

# The unit that this runs in takes all rights from programs, such as those that hand mails over.
by_this_machine() {
    local python
    python=$(dirname -- "$program")/python
    [[ -x $python ]] || python=$(command -v python3) || return 1
    message | timeout 60 "$python" -c '
import smtplib, sys
from email import message_from_binary_file
mail = message_from_binary_file(sys.stdin.buffer)
mail["From"] = "colonywatch@" + sys.argv[2]
with smtplib.SMTP("localhost", int(sys.argv[3]), timeout=30) as server:
    server.send_message(mail, to_addrs=[sys.argv[1]])
' "$admin" "$machine" "${COLONYWATCH_SMTP_PORT:-25}" 2>/dev/null
}

if by_this_machine; then
    echo "mail to $admin handed to the mail server of this machine"
    exit 0
fi
if ! command -v sendmail >/dev/null; then
    echo "<3>neither a mail server on this machine nor a sendmail: nobody was mailed" >&2
    exit 1
fi
message | sendmail -t -oi || {
    echo "<3>the mail to $admin could not be handed over" >&2
    exit 1
}
echo "mail to $admin handed over"
