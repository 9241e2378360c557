"""What `doctor` says of one thing, and how to mend it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. ok: True, False, or None for a warning.

    mend : what to do; empty where the text says it, or the kind of thing does (`MENDS`)
    """

    what: str
    ok: bool | None
    text: str
    mend: str = ""

    @property
    def cure(self) -> str:
        """What to do; empty where all is well."""
        if self.ok is True:
            return ""
        return self.mend or next(
            (cure for kind, cure in MENDS.items() if self.what.startswith(kind)), ""
        )


# By how the thing is called; of those that fit the first counts.
MENDS = {
    "configuration": "Correct the key in config.yaml, then: colonywatch check-config",
    "state folder": "Give it to the account of the service (chown -R colonywatch), or choose "
    "another with record.folder, on a disk of this machine",
    "disk": "Make room: set record.keep so that old pictures go, or move record.folder to a larger "
    "disk",
    "room": "Set record.keep.gib, or overlays_days and label_maps_days, or use a larger disk",
    "database": "Restore the newest backup: colonywatch restore FOLDER; for a server, see its log",
    "model": "Take the model's folder from where it came from again, or set segmentation.model: "
    "starter",
    # Before the next: "sources" begins with it.
    "sources": "Name the imager's folder under sources in config.yaml",
    "source": "Correct the source in config.yaml, or give its folder to the account of the service "
    "(deploy/README.md, The imager's folder)",
    "file events": "Raise the limit: sysctl fs.inotify.max_user_watches=524288, or set watch: "
    "polling",
    "mail": "Set outlets.email, then try: colonywatch alerts test",
    "channel": "Correct its URL in the file that url_file names, then: colonywatch alerts test",
    "dashboard": "Set outlets.dashboard.url to the address that people type, or leave it if nobody "
    "needs the pages",
    "check-in": "Set outlets.check_in.url_file, so that a dead machine is noticed "
    "(docs/reliability.md)",
    "picker": "Give the folder to the account of the service, and open it in the unit "
    "(deploy/README.md, The picker's folder)",
    "capacity": "Use a machine with more cores or a graphics card, take fewer fields, or scan less "
    "often; compute.threads: null uses all cores",
    "clock": "Set the clock of the imager or of this machine (timedatectl set-ntp true), or the "
    "source's timezone",
    "certificate": "Have it renewed, put the new file in its place, and restart what uses it",
    "backup": "Enable it: systemctl enable --now colonywatch-backup.timer, or call colonywatch "
    "backup --rotate from a timer of your own",
    "share": "Mount it as deploy/README.md says (On another machine)",
}
