#!/usr/bin/env bash
# Install colonywatch as a service on a Debian-like machine, or bring an installation up to date.
# Run it again for an upgrade: state and configuration are kept.
set -euo pipefail
umask 022

usage() {
    cat <<'TEXT'
usage: deploy/install.sh [--source DIR] [--prefix DIR] [--python PATH] [--extras NAMES]
                         [--picker-group GROUP] [--no-start] [--root DIR [--no-packages | --packages-from PYTHON]]

Run as root from a checkout. Installs or upgrades; running it twice is harmless. An upgrade copies
the database, brings it to the new form and asks `colonywatch doctor`: where that finds something
that was well before, or the daemon does not start, the version before is put back with its database.

  --source DIR   the folder that the imager writes into; goes into a fresh
                 /etc/colonywatch/config.yaml (an existing one is never changed)
  --prefix DIR   where the program goes (default: where it is, or /opt/colonywatch)
  --python PATH  the Python to use (default: the first of 3.11 or newer that has venv)
  --extras NAMES further parts, with commas: czi, lif, nd2, oib, zarr (microscopes' own files),
                 notify (further channels for alerts), sila (live interface for pickers);
                 kept for upgrades; 'none' drops them
  --picker-group GROUP
                 whom else the removal plans are for: they go to /var/lib/colonywatch-plans, which
                 this group may read; else nobody but the service reads them
  --no-start     install, but do not enable or start the daemon
  --root DIR     put everything under DIR and touch neither accounts nor systemd
                 (for a look, a package or a test; needs no root)
  --no-packages  leave out the program and its packages (only with --root)
  --packages-from PYTHON
                 install the program, but take the packages that it needs from that Python's
                 environment instead of downloading them (only with --root)
  --help         this text

TORCH_INDEX_URL, where it is set, is the package index that torch alone comes from, such as that of
its builds for processors: https://pytorch.org/get-started/locally names it. From the usual index
torch for Linux comes with libraries for graphics cards, which take some GB more.

examples: sudo deploy/install.sh --source /mnt/imager/captures
          sudo TORCH_INDEX_URL=... deploy/install.sh --source /mnt/imager/captures
TEXT
}

say() { printf '%s\n' "$*"; }
warn() { printf 'warning: %s\n' "$*" >&2; warnings=$((warnings + 1)); }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }
misused() { printf 'error: %s\n\n' "$*" >&2; usage >&2; exit 2; }

account=colonywatch
daemon=colonywatch.service
timer=colonywatch-backup.timer
all_units=(colonywatch.service colonywatch-dashboard.service colonywatch-sila.service
    colonywatch-failed@.service colonywatch-backup.service colonywatch-backup.timer)
prefix=''
root=''
source_folder=''
python=''
extras=''
picker_group=''
start=yes
packages=yes
packages_from=''
torch_index=${TORCH_INDEX_URL:-}
warnings=0
backups_kept=3
# What is unpacked (1.5 GB with torch's build for processors, 6 GB with that for graphics cards) and
# what is downloaded for it.
needed_mib=3072
needed_with_gpu_mib=10240

while (($#)); do
    case $1 in
        --source | --prefix | --python | --extras | --root | --packages-from | --picker-group)
            [[ $# -ge 2 && -n $2 ]] || misused "$1 needs a value"
            case $1 in
                --source) source_folder=$2 ;;
                --prefix) prefix=$2 ;;
                --python) python=$2 ;;
                --extras) extras=$2 ;;
                --root) root=$2 ;;
                --picker-group) picker_group=$2 ;;
                --packages-from) packages_from=$2 packages=borrowed ;;
            esac
            shift 2
            ;;
        --no-start) start=no; shift ;;
        --no-packages) packages=no; shift ;;
        --help | -h) usage; exit 0 ;;
        *) misused "unknown argument: $1" ;;
    esac
done

installed_prefix=$(sed -nE 's#^ExecStart=(/.*)/venv/bin/colonywatch run .*#\1#p' \
    "${root%/}/etc/systemd/system/$daemon" 2>/dev/null || true)
prefix=${prefix:-${installed_prefix:-/opt/colonywatch}}

# Unit files hold the prefix in plain text, where blanks and percent signs mean something else.
[[ $prefix =~ ^/[A-Za-z0-9._/-]+$ && $prefix != *..* ]] ||
    misused "--prefix must be an absolute path of letters, digits and . _ - / (is '$prefix')"
prefix=${prefix%/}
[[ -z $installed_prefix || $prefix == "$installed_prefix" ]] ||
    fail "--prefix $prefix: it is installed in $installed_prefix; deploy/uninstall.sh first (record and configuration stay)"
case $prefix in
    /bin | /boot | /dev | /etc | /home | /lib | /opt | /proc | /root | /run | /sbin | /srv | /sys | \
        /tmp | /usr | /usr/bin | /usr/lib | /usr/local | /usr/sbin | /var | /var/lib | \
        /var/lib/colonywatch | /etc/colonywatch)
        misused "--prefix needs a folder of its own, such as /opt/colonywatch (is '$prefix')" ;;
    /home/* | /root/* | /tmp/*)
        [[ -n $root ]] || misused "--prefix $prefix: the service account could not reach it" ;;
esac
[[ $packages == yes || -n $root ]] || misused "--no-packages and --packages-from go only with --root"
[[ -z $packages_from || $packages == borrowed ]] ||
    misused "--no-packages and --packages-from exclude each other"
[[ -z $source_folder ]] || source_folder=$(realpath -m -- "$source_folder")

checkout=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
for part in pyproject.toml constraints.txt config.yaml monitor model; do
    [[ -e $checkout/$part ]] || fail "$checkout/$part is missing: run this script from a checkout"
done

staged=no
if [[ -n $root ]]; then
    staged=yes
    mkdir -p -- "$root"
    root=$(cd "$root" && pwd)
    [[ $root != / ]] || misused "--root must not be /: leave it out"
else
    [[ $EUID -eq 0 ]] || fail "must be root: sudo $0 ...   (or --root DIR to look at the result only)"
fi

opt=$root$prefix
known_extras=$(sed -nE '/^\[project.optional-dependencies\]/,/^\[project.scripts\]/s/^([a-z0-9]+) = .*/\1/p' \
    "$checkout/pyproject.toml" | grep -vxE 'dev|bench|docs' | paste -sd' ')
for name in ${extras//,/ }; do
    [[ $extras == none || " $known_extras " == *" $name "* ]] ||
        misused "--extras: no part is called '$name' (there are: $known_extras)"
done
if [[ -z $extras && -f $opt/extras ]]; then extras=$(<"$opt/extras"); fi
[[ $extras != none ]] || extras=''
etc=$root/etc/colonywatch
state=$root/var/lib/colonywatch
units=$root/etc/systemd/system
command=$root/usr/local/bin/colonywatch
cache=/var/cache/colonywatch

# ---------------------------------------------------------------- what this machine offers

is_usable_python() {
    "$1" - <<'CODE' 2>/dev/null
import sys
if sys.version_info < (3, 11):
    sys.exit(1)
import ensurepip, sqlite3, ssl, venv
CODE
}

is_out_of_reach() {  # an interpreter below a private home cannot be used by the service account
    [[ $(realpath -- "$("$1" -c 'import sys; print(sys.base_prefix)')") =~ ^/(root|home)(/|$) ]]
}

if [[ -n $python ]]; then
    python=$(command -v -- "$python") || fail "--python: no such program"
    is_usable_python "$python" ||
        fail "--python $python: needs Python 3.11 or newer with venv (apt install python3-venv)"
else
    for candidate in {/usr/bin,/usr/local/bin}/python3{.11,.12,.13,.14,} \
        "$(command -v python3.11 || true)" "$(command -v python3 || true)"; do
        if [[ -x $candidate ]] && is_usable_python "$candidate"; then
            python=$candidate
            break
        fi
    done
    [[ -n $python ]] ||
        fail "no Python 3.11 or newer with venv here: apt install python3 python3-venv, or name one with --python"
fi
if [[ $staged == no ]] && is_out_of_reach "$python"; then
    fail "$python lies in a private home, where the account $account cannot reach it; name another with --python"
fi
python_version=$("$python" -c 'import platform; print(platform.python_version())')

systemd=no
if [[ $staged == no ]]; then
    if [[ -d /run/systemd/system ]] && command -v systemctl >/dev/null; then
        systemd=yes
    elif command -v systemctl >/dev/null; then
        warn "systemd is here but not running (a container?): the units are installed, but nothing is enabled or started"
    else
        warn "no systemd here: the units are installed for later, nothing is enabled or started"
    fi
    for program in useradd runuser flock; do
        command -v "$program" >/dev/null || fail "$program is missing: apt install util-linux passwd"
    done
fi

nearest() {  # the deepest existing folder above a path
    local path=$1
    while [[ ! -d $path ]]; do path=$(dirname -- "$path"); done
    printf '%s' "$path"
}
free_mib() { df -Pm -- "$(nearest "$1")" | awk 'NR == 2 { print $4 }'; }

refuse_if_too_little_is_free() {  # $1: MiB needed, $2: for what
    local free
    free=$(free_mib "$opt")
    ((free >= $1)) ||
        fail "$prefix: $free MiB free, $1 MiB needed for $2; free some, choose another --prefix${3:-}"
}
[[ $packages != yes ]] || refuse_if_too_little_is_free "$needed_mib" "the program"
free=$(free_mib "$state")
((free >= 2048)) || warn "/var/lib/colonywatch: only $free MiB free for database and images"

if [[ $staged == no ]]; then
    exec 9>/run/lock/colonywatch-install.lock
    flock -n 9 || fail "another installation is running"
fi

# ---------------------------------------------------------------- if something goes wrong

release=''   # the new virtual environment while it is not in use yet
scratch=''
stopped=()   # units that we stopped and that have to come back whatever happens
was_well=''  # what doctor said before
finished=no
at_exit() {
    local code=$?
    [[ -z $scratch ]] || rm -rf -- "$scratch"
    if [[ $finished == no ]]; then
        [[ -z $release ]] || rm -rf -- "$release"
        if ((${#stopped[@]})); then
            say "starting again what was running: ${stopped[*]}" >&2
            systemctl start "${stopped[@]}" || true
        fi
        ((code)) && printf 'NOT installed; a program that was there before is untouched.\n' >&2
    fi
    exit "$code"
}
trap at_exit EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# ---------------------------------------------------------------- account and folders

say "checkout   $checkout"
say "python     $python ($python_version)"
say "program    $opt"

owner=()
if [[ $staged == no ]]; then
    getent group "$account" >/dev/null || groupadd --system "$account"
    if getent passwd "$account" >/dev/null; then
        say "account    $account (is there)"
    else
        useradd --system --gid "$account" --home-dir /var/lib/colonywatch --no-create-home \
            --shell /usr/sbin/nologin --comment 'Colonywatch' "$account"
        say "account    $account (made)"
    fi
    owner=(--owner=root --group="$account")
fi

install -d -m 0755 -- "$opt" "$units" "$(dirname -- "$command")"
if [[ $staged == no && -d $etc && $(stat -c %G -- "$etc") != "$account" ]]; then
    # Left by an uninstallation that kept it.
    chgrp -R --no-dereference "$account" -- "$etc"
fi
install -d -m 0750 ${owner[@]+"${owner[@]}"} -- "$etc"
if [[ $staged == no ]]; then
    if [[ -d $state && $(stat -c %U -- "$state") != "$account" ]]; then
        # Left by an uninstallation that kept it.
        chown -R --no-dereference "$account:$account" -- "$state"
    fi
    install -d -m 0750 --owner="$account" --group="$account" -- "$state" "$state/backups" "$cache"
else
    install -d -m 0750 -- "$state" "$state/backups"
fi

as_account() {
    if [[ $staged == yes ]]; then
        "$@"
    else
        (cd / && umask 027 && runuser -u "$account" -- env "MPLCONFIGDIR=$cache" "XDG_CACHE_HOME=$cache" "$@")
    fi
}

# ---------------------------------------------------------------- the program, beside the old one

stamp=$(date -u +%Y%m%dT%H%M%S.%3NZ)
previous=''
[[ ! -L $opt/venv ]] || previous=$(readlink -f -- "$opt/venv")
[[ ! -e $opt/venv-$stamp ]] || fail "$opt/venv-$stamp exists: try again"
release=$opt/venv-$stamp
scratch=$(mktemp -d -- "$opt/.install.XXXXXX")

brings_gpu_libraries() {  # says pip, before anything is downloaded: what the chosen torch needs
    "$release/bin/python" -m pip install --quiet --no-input --disable-pip-version-check --dry-run \
        --ignore-installed --no-deps --report - --constraint "$checkout/constraints.txt" \
        ${torch_index:+--index-url "$torch_index"} torch 2>/dev/null |
        "$release/bin/python" -c '
import json, sys
needed = json.load(sys.stdin)["install"][0]["metadata"].get("requires_dist", [])
sys.exit(not any("nvidia" in one or "cuda" in one for one in needed))
' 2>/dev/null
}

install_packages() {
    # Downloads are unpacked beside the target: /tmp is often a small piece of memory.
    (cd / && TMPDIR=$scratch "$release/bin/python" -m pip install --quiet --no-input --no-cache-dir \
        --disable-pip-version-check --constraint "$checkout/constraints.txt" "$@") ||
        fail "pip could not install the packages (see above)"
}

case $packages in
    yes)
        "$python" -m venv -- "$release"
        if brings_gpu_libraries; then
            refuse_if_too_little_is_free "$needed_with_gpu_mib" \
                "torch with its libraries for graphics cards" ", or set TORCH_INDEX_URL (see --help)"
            say "packages   into $release; with torch's build for graphics cards, some 6 GB"
        else
            say "packages   into $release; some minutes, 1.5 GB"
        fi
        [[ -z $torch_index ]] || install_packages --no-deps --index-url "$torch_index" torch
        install_packages "$checkout${extras:+[$extras]}"
        ;;
    borrowed)
        "$python" -m venv --without-pip -- "$release"
        lent=("$packages_from" -m pip --quiet --no-input --disable-pip-version-check)
        if ! { "${lent[@]}" wheel --no-deps --no-index --no-build-isolation --wheel-dir "$scratch" "$checkout" &&
            "${lent[@]}" --python "$release/bin/python" install --no-deps --no-index "$scratch"/*.whl; }; then
            fail "--packages-from $packages_from: could not install the program (see above); that environment needs pip and hatchling"
        fi
        "$packages_from" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' \
            >"$("$release/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/borrowed.pth"
        ;;
    no) "$python" -m venv --without-pip -- "$release" ;;
esac
if [[ $packages != no ]]; then
    version=$(as_account "$release/bin/colonywatch" --version) ||
        fail "$release/bin/colonywatch does not start as $account (see above)"
    say "version    $version"
fi
install -m 0755 -- "$checkout/deploy/notify-failed.sh" "$opt/notify-failed.sh"
install -m 0644 -- "$checkout/deploy/README.md" "$opt/README.md"

# ---------------------------------------------------------------- configuration, once

write_fresh_config() {  # $1: source folder
    "$python" - "$checkout/config.yaml" "$1" <<'CODE'
"""Print the default configuration with the installed machine's folders in it.

The text is changed line by line and not read and written as YAML, so that its comments, which are
the manual, stay.
"""
import json
import re
import sys

default, source_folder = sys.argv[1:]
wanted = {
    ("sources", "path"): json.dumps(source_folder, ensure_ascii=False),
    ("record", "folder"): "/var/lib/colonywatch",
}
section = ""
lines = []
for line in open(default, encoding="utf-8").read().splitlines():
    top = re.match(r"([a-z_]+):", line)
    if top:
        section = top[1]
    key = re.match(r"(\s+(?:-\s+)?([a-z_]+):\s*)([^\s#]+|\"[^\"]*\")?(\s+#.*)?$", line)
    if key and (section, key[2]) in wanted:
        value = wanted.pop((section, key[2]))
        comment = (key[4] or "").strip()
        column = len(line) - len(comment) if comment else 0
        line = (key[1].rstrip() + " " + value + " ").ljust(column) + comment
        line = line.rstrip()
    lines.append(line)
if wanted:
    missing = ", ".join(".".join(names) for names in wanted)
    sys.exit(f"{default}: no line for {missing}; the installed configuration would be wrong")
print("\n".join(lines))
CODE
}

if [[ -e $etc/config.yaml ]]; then
    say "config     $etc/config.yaml (is there, kept)"
    if [[ -n $source_folder ]] && ! grep -qF -- "$source_folder" "$etc/config.yaml"; then
        warn "--source $source_folder is not used, since $etc/config.yaml exists: put it there under sources"
    fi
else
    if [[ -n $source_folder ]]; then
        folder=$source_folder
    else
        folder=/var/lib/colonywatch/captures
        as_account mkdir -p -m 0750 -- "$root$folder"
        warn "no --source given: the daemon watches the empty folder $folder; put your imager's folder into $etc/config.yaml under sources"
    fi
    write_fresh_config "$folder" >"$scratch/config.yaml" || fail "no configuration was written (see above)"
    install -m 0640 ${owner[@]+"${owner[@]}"} -- "$scratch/config.yaml" "$etc/config.yaml"
    say "config     $etc/config.yaml (made)"
fi
# The program's own reading of it decides, before anything that runs is touched.
configured() {  # configured PYTHON-EXPRESSION: of `config`, read as the daemon will read it
    as_account "$release/bin/python" -c "
import sys
from pathlib import Path
from monitor.config import load_config
from monitor.errors import ConfigError
try:
    config = load_config(Path(sys.argv[1]))
except ConfigError as problem:
    sys.exit(str(problem))
print($1)" "$etc/config.yaml"
}
database_url=''
copy=''
if [[ $packages != no ]]; then
    if database_url=$(configured 'config.record.database_url'); then
        while IFS= read -r folder; do
            [[ -n $folder && $staged == no ]] || continue
            if ! as_account test -d "$folder"; then
                warn "the source folder $folder is not there, or $account may not look into it; see $prefix/README.md"
            elif ! as_account test -r "$folder" || ! as_account test -x "$folder"; then
                warn "$account may not read $folder: usermod -aG $(stat -c %G -- "$folder") $account, or another way of $prefix/README.md"
            fi
        done < <(configured '"\n".join(str(source.path) for source in config.sources)')
        if [[ $(configured 'config.outlets.email.server') == None ]]; then
            warn "no mail server is configured, so alerts reach nobody but a folder: set outlets.email in $etc/config.yaml, then 'colonywatch alerts test'"
        fi
    else
        fail "$etc/config.yaml is not valid (see above): mend it and run this again"
    fi
fi

# ---------------------------------------------------------------- is it well now?

# A staged tree has a record of its own only where its configuration says so.
has_record=no
if [[ $packages != no && $staged == no ]]; then has_record=yes; fi
if [[ $staged == yes && $database_url == sqlite:///"$root"/* ]]; then has_record=yes; fi

what_fails() {  # what_fails PROGRAM: a line for each thing that its doctor finds broken
    local said
    said=$(as_account "$1" doctor --json --config "$etc/config.yaml" 2>"$scratch/doctor") || true
    "$python" -c '
import json, sys
try:
    found = json.loads(sys.argv[1])
    for one in found:
        if one["ok"] is False:
            print(one["what"] + ": " + " ".join(one["text"].split()))
except (ValueError, TypeError, KeyError):
    print("doctor: does not run: " + " ".join(open(sys.argv[2]).read().split())[-500:])
' "$said" "$scratch/doctor"
}
if [[ $has_record == yes && -n $previous && -x $previous/bin/colonywatch ]]; then
    was_well=$(what_fails "$previous/bin/colonywatch")
fi

# ---------------------------------------------------------------- change over

install -d -m 0700 -- "$scratch/before"
for unit in "${all_units[@]}"; do
    [[ ! -e $units/$unit ]] || cp -p -- "$units/$unit" "$scratch/before/"
done

roll_back() {  # roll_back WHY: the version before is in its place again, with its database
    printf 'error: %s\nputting back the version before\n' "$1" >&2
    [[ $systemd == no ]] || systemctl stop "$daemon" || true
    ln -sfn -- "${previous##*/}" "$scratch/venv"
    mv -fT -- "$scratch/venv" "$opt/venv"
    for unit in "${all_units[@]}"; do
        rm -f -- "$units/$unit"
        [[ ! -e $scratch/before/$unit ]] || cp -p -- "$scratch/before/$unit" "$units/$unit"
    done
    if [[ -n $copy ]]; then
        as_account cp -- "$copy" "$database.back" && as_account mv -f -- "$database.back" "$database" &&
            as_account rm -f -- "$database-wal" "$database-shm" ||
            fail "the database could not be put back: it lies in $copy"
        say "database   put back from $copy" >&2
    fi
    rm -rf -- "$release"
    if [[ $systemd == yes ]]; then
        systemctl daemon-reload
        systemctl reset-failed "$daemon" 2>/dev/null || true
        ((${#stopped[@]} == 0)) || systemctl start "${stopped[@]}" || true
    fi
    finished=yes
    printf 'NOT upgraded: %s runs as before\n' "$("$opt/venv/bin/colonywatch" --version 2>/dev/null || echo 'the version before')" >&2
    exit 1
}

if [[ $systemd == yes ]]; then
    for unit in "$daemon" colonywatch-dashboard.service colonywatch-sila.service; do
        if systemctl is-active --quiet "$unit"; then
            say "stopping   $unit"
            systemctl stop "$unit"
            stopped+=("$unit")
        fi
    done
fi

case $database_url in
    sqlite:///*)
        database=${database_url#sqlite:///}
        database=${database%%\?*}
        if [[ $has_record == yes && -s $database ]]; then
            copy=$state/backups/before-upgrade-$stamp.sqlite
            size=$(($(stat -c %s -- "$database") / 1048576))
            ((size < $(free_mib "$state"))) ||
                fail "/var/lib/colonywatch: no room for a copy of the database ($size MiB); free some and run this again"
            as_account "$release/bin/python" - "$database" "$copy" <<'CODE' || fail "the database could not be copied (see above)"
import os
import sqlite3
import sys
from contextlib import closing

database, copy = sys.argv[1:]
os.umask(0o077)
with closing(sqlite3.connect(database)) as present, closing(sqlite3.connect(copy + ".part")) as new:
    present.backup(new)
    (verdict,) = new.execute("PRAGMA quick_check").fetchone()
if verdict != "ok":
    sys.exit(f"{database}: is damaged ({verdict}); not upgraded")
os.replace(copy + ".part", copy)
CODE
            say "backup     $copy"
            find "$state/backups" -maxdepth 1 -type f -name 'before-upgrade-*.sqlite' |
                sort -r | tail -n "+$((backups_kept + 1))" | as_account xargs -r -d '\n' rm -f --
        fi
        ;;
    '') ;;
    *) [[ -z $previous ]] || warn "the database is not SQLite: no copy was taken (use its own tool, such as pg_dump)" ;;
esac

for unit in "${all_units[@]}"; do
    sed "s#/opt/colonywatch#$prefix#g" -- "$checkout/deploy/$unit" >"$scratch/$unit"
    install -m 0644 -- "$scratch/$unit" "$units/$unit"
done

# Typed by root it would otherwise leave files in the state folder that the daemon cannot write.
cat >"$scratch/command" <<TEXT
#!/bin/sh
# colonywatch as the account of the service, whoever calls.
program=$prefix/venv/bin/colonywatch
umask 027
caches="MPLCONFIGDIR=$cache XDG_CACHE_HOME=$cache"
case \$(id -un) in
    $account) as= ;;
    root) as="runuser -u $account --" ;;
    *) as="sudo -u $account --" ;;
esac
# The account cannot even look for a config.yaml in a private folder such as /root.
\$as test -x . || cd /
exec \$as env \$caches "\$program" "\$@"
TEXT
if [[ -e $command ]] && ! grep -q '^# colonywatch as the account of the service' "$command"; then
    warn "$command is not ours: left as it is; call $prefix/venv/bin/colonywatch instead"
else
    install -m 0755 -- "$scratch/command" "$command"
fi

ln -sfn -- "venv-$stamp" "$scratch/venv"
mv -fT -- "$scratch/venv" "$opt/venv"
printf '%s\n' "$extras" >"$opt/extras"

if [[ -n $picker_group ]]; then
    plans=/var/lib/colonywatch-plans
    if [[ $staged == no ]]; then
        getent group "$picker_group" >/dev/null || fail "--picker-group: there is no group $picker_group"
        # What is made in it belongs to its group.
        install -d -m 2750 --owner="$account" --group="$picker_group" -- "$plans"
    else
        install -d -m 2750 -- "$root$plans"
    fi
    install -d -m 0755 -- "$units/$daemon.d"
    printf '[Service]\nReadWritePaths=%s\n' "$plans" >"$units/$daemon.d/plans.conf"
    grep -qF -- "$plans" "$etc/config.yaml" ||
        warn "set outlets.removal.folder: $plans in $etc/config.yaml, so that plans go to where $picker_group reads them"
fi

if [[ $has_record == yes && -n $previous ]]; then
    [[ $systemd == no ]] || systemctl daemon-reload
    now_fails=$(what_fails "$release/bin/colonywatch")
    worse=$(comm -13 <(cut -d: -f1 <<<"$was_well" | sort -u) <(cut -d: -f1 <<<"$now_fails" | sort -u) |
        sed '/^$/d')
    if [[ -n $worse ]]; then
        roll_back "doctor of the new version finds what was well before: $(grep -F -- "$worse" <<<"$now_fails" | head -3)"
    fi
    say "doctor     finds nothing that was well before"
fi
finished=yes

discard_old_releases() {
    local old
    for old in "$opt"/venv-*Z; do
        [[ $old == "$release" ]] || rm -rf -- "$old"
    done
}

if [[ $systemd == yes ]]; then
    systemctl daemon-reload
    if [[ $start == yes ]]; then
        systemctl reset-failed "$daemon" 2>/dev/null || true
        say "starting   $daemon"
        began=$(date +%s)
        if ! systemctl enable --quiet --now "$daemon"; then
            journalctl --no-pager --lines=25 --since="@$began" --unit="$daemon" >&2 || true
            [[ -z $previous ]] || roll_back "the daemon did not start (see above)"
            printf 'error: installed, but the daemon did not start (see above)\n' >&2
            exit 1
        fi
        systemctl enable --quiet --now "$timer" ||
            warn "$timer does not start, so nobody makes backups: systemctl status $timer"
        for unit in ${stopped[@]+"${stopped[@]}"}; do
            [[ $unit == "$daemon" ]] || systemctl start "$unit"
        done
    elif ((${#stopped[@]})); then
        warn "--no-start: left stopped: ${stopped[*]}"
    fi
fi
discard_old_releases

# ---------------------------------------------------------------- what now

say
say "installed. $(if ((warnings)); then echo "($warnings warnings, see above)"; fi)"
if [[ $staged == yes ]]; then
    say "staged under $root only: no account was made, systemd was not touched"
elif [[ $systemd == no ]]; then
    say "skipped, since systemd is not running: daemon-reload, enable, start"
    say "  by hand: runuser -u $account -- $prefix/venv/bin/colonywatch run --config /etc/colonywatch/config.yaml"
elif [[ $start == no ]]; then
    say "  start:     systemctl enable --now $daemon"
else
    say "  is it up?  colonywatch status"
    say "  journal:   journalctl -u colonywatch -f"
fi
say "  configure: $etc/config.yaml, then systemctl restart colonywatch"
say "  read:      $prefix/README.md"
