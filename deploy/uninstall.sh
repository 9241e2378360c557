#!/usr/bin/env bash
# Take away what install.sh put on this machine. State and configuration stay unless --purge.
set -euo pipefail

usage() {
    cat <<'TEXT'
usage: deploy/uninstall.sh [--purge [--yes]] [--prefix DIR] [--root DIR]

Run as root. Stops the daemon and removes units, program, command and account. Without --purge
/var/lib/colonywatch (the record) and /etc/colonywatch stay and belong to root until the next
installation. The imager's folders are never touched.

  --purge        remove the record and the configuration as well; asks first
  --yes          do not ask
  --prefix DIR   where the program was installed (default: what the unit says)
  --root DIR     undo a staged installation under DIR (no account, no systemd)
  --help         this text
TEXT
}

say() { printf '%s\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }
misused() { printf 'error: %s\n\n' "$*" >&2; usage >&2; exit 2; }

account=colonywatch
prefix=''
root=''
purge=no
yes=no

while (($#)); do
    case $1 in
        --prefix | --root)
            [[ $# -ge 2 && -n $2 ]] || misused "$1 needs a value"
            if [[ $1 == --prefix ]]; then prefix=$2; else root=$2; fi
            shift 2
            ;;
        --purge) purge=yes; shift ;;
        --yes) yes=yes; shift ;;
        --help | -h) usage; exit 0 ;;
        *) misused "unknown argument: $1" ;;
    esac
done
prefix=${prefix:-$(sed -nE 's#^ExecStart=(/.*)/venv/bin/colonywatch run .*#\1#p' \
    "${root%/}/etc/systemd/system/colonywatch.service" 2>/dev/null || true)}
prefix=${prefix:-/opt/colonywatch}
[[ $prefix =~ ^/[A-Za-z0-9._/-]+$ && $prefix != *..* ]] ||
    misused "--prefix must be the absolute path given to install.sh (is '$prefix')"
prefix=${prefix%/}

staged=no
if [[ -n $root ]]; then
    staged=yes
    root=$(cd "$root" 2>/dev/null && pwd) || fail "--root: no such folder"
    [[ $root != / ]] || misused "--root must not be /: leave it out"
else
    [[ $EUID -eq 0 ]] || fail "must be root: sudo $0 ..."
fi

opt=$root$prefix
etc=$root/etc/colonywatch
state=$root/var/lib/colonywatch
cache=$root/var/cache/colonywatch
units=$root/etc/systemd/system
command=$root/usr/local/bin/colonywatch

if [[ $purge == yes && $yes == no ]]; then
    [[ -d $state ]] && say "the record: $(du -sh -- "$state" | cut -f1) in $state"
    [[ -t 0 ]] || fail "--purge without a terminal to ask at: add --yes if you mean it"
    read -r -p "Delete the record and the configuration for good? Type 'purge': " answer
    [[ $answer == purge ]] || fail "nothing was removed"
fi

if [[ $staged == no ]]; then
    if [[ -d /run/systemd/system ]] && command -v systemctl >/dev/null; then
        for unit in colonywatch-backup.timer colonywatch-backup.service colonywatch-sila.service \
            colonywatch-dashboard.service colonywatch.service; do
            [[ -e $units/$unit ]] || continue
            say "stopping   $unit"
            systemctl disable --quiet --now "$unit" || fail "$unit does not stop; see journalctl -u $unit"
        done
    else
        say "systemd is not running: nothing to stop or to disable"
    fi
fi

for unit in colonywatch.service colonywatch-dashboard.service colonywatch-sila.service \
    colonywatch-failed@.service colonywatch-backup.service colonywatch-backup.timer; do
    rm -f -- "$units/$unit"
    if [[ -d $units/$unit.d ]]; then
        if [[ $purge == yes ]]; then
            rm -rf -- "${units:?}/$unit.d"
        else
            say "kept       $units/$unit.d (your own settings)"
        fi
    fi
done
if [[ $staged == no && -d /run/systemd/system ]] && command -v systemctl >/dev/null; then
    systemctl daemon-reload
    systemctl reset-failed 'colonywatch*' 2>/dev/null || true
fi

if [[ -f $command ]] && grep -q '^# colonywatch as the account of the service' "$command"; then
    rm -f -- "$command"
fi
# Only what install.sh made: the prefix may hold something else as well.
rm -rf -- "$opt"/venv "$opt"/venv-*Z "$opt"/.install.* "$opt/notify-failed.sh" "$opt/README.md" "$opt/extras"
if [[ -d $opt ]]; then
    rmdir -- "$opt" 2>/dev/null || say "kept       $opt (holds files that are not ours)"
fi
rm -rf -- "$cache"
say "removed    units, command, $opt"

if [[ $purge == yes ]]; then
    rm -rf -- "$state" "$etc" "$root/var/lib/colonywatch-plans"
    say "removed    $state, $etc"
else
    if [[ $staged == no ]]; then
        # The number of the account that goes away may be given to another one later.
        for kept in "$state" "$etc"; do
            [[ ! -d $kept ]] || chown -R --no-dereference root:root -- "$kept"
        done
    fi
    say "kept       $state, $etc"
fi

if [[ $staged == no ]] && getent passwd "$account" >/dev/null; then
    if [[ $(id -u "$account") -ge 1000 ]]; then
        say "kept       the account $account: it is not a system account, so not made by install.sh"
    else
        # Whoever called a command as this account has a session that ends some seconds later.
        for ((try = 1; ; try++)); do
            if problem=$(userdel "$account" 2>&1); then break; fi
            ((try < 20)) || fail "the account $account could not be removed: $problem"
            sleep 1
        done
        ! getent group "$account" >/dev/null || groupdel "$account"
        say "removed    the account $account"
    fi
fi
say "uninstalled."
