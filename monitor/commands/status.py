"""`status`: is the daemon alive, what does it watch, what waits, what went wrong?"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rich.table import Table

from monitor.capture.watch_kinds import watch_kind, watched_below
from monitor.commands.common import (
    ConfigOption,
    JsonOption,
    StateOption,
    begin_logging,
    cell,
    open_config,
    open_store,
    out,
    print_json,
    say,
    show_table,
    shown,
)
from monitor.config import Config
from monitor.culture import PlanStatus
from monitor.host.clock import utc_now
from monitor.record.pick_logs import PickLogState
from monitor.record.processes import ProcessLife
from monitor.record.store import Store

TROUBLED_SHOWN = 20
TROUBLED_LISTED = 10_000


def status(
    as_json: JsonOption = False, config: ConfigOption = None, state: StateOption = None
) -> None:
    """Is the daemon alive, what does it watch, what is waiting, what went wrong?

    Example: colonywatch status --json
    """
    begin_logging()
    settings = open_config(config, state)
    with open_store(settings) as store:
        document = describe(store, settings)
    if as_json:
        print_json(document)
    else:
        _show_status(document)


def describe(store: Store, config: Config) -> dict[str, Any]:
    """The JSON form of `status`."""
    daemons = store.processes.living("daemon", utc_now())
    alive = [daemon for daemon in daemons if daemon.alive]
    outbox = store.outbox.counts()
    dishes = store.dishes.dishes()
    return {
        "daemon": _daemon(alive[0] if alive else daemons[0] if daemons else None),
        "captures": store.captures.counts(),
        "sources": _sources(config, alive),
        "dishes": len(dishes),
        "dishes_in_doubt": [
            {"dish": dish.name, "doubts": list(dish.last.why_in_doubt)}
            for dish in dishes
            if dish.ended_at is None and dish.last is not None and dish.last.in_doubt
        ],
        "last_captures": {
            dish.name: dish.last_capture_at.isoformat() for dish in dishes if dish.last_capture_at
        },
        "freshly_passaged": {
            dish.name: dish.judged_from.isoformat()
            for dish in dishes
            if dish.judged_from is not None and dish.ended_at is None
        },
        "alerts_open": len(store.alerts.alerts(open_only=True)),
        "outbox_pending": outbox.pending,
        "outbox_failed": outbox.failed,
        "undelivered": [
            {
                "channel": message.channel,
                "subject": message.subject_id,
                "attempts": message.attempts,
                "next_try_at": (None if message.failed_at else message.next_try_at.isoformat()),
                "last_error": message.last_error,
            }
            for message in store.outbox.undelivered()
            if message.last_error != "withdrawn"
        ],
        "troubled": [
            {
                "file": shown(capture.path),
                "state": str(capture.state),
                "reason": capture.reason,
                "message": shown(capture.message or ""),
                "next_try_at": capture.next_try_at.isoformat() if capture.next_try_at else None,
            }
            for capture in store.unfinished.troubled(limit=TROUBLED_LISTED)
        ],
        "troubled_by_reason": [
            {"state": str(state), "reason": reason, "captures": count}
            for (state, reason), count in store.unfinished.troubled_by_reason().items()
        ],
        "pick_logs": _pick_logs(store, alive),
        "formats_not_written": [
            {"plan": plan.id, "dish": plan.dish, "format": name, "message": why}
            for plan in store.plans.all([PlanStatus.EXPORTED])
            for name, why in (plan.handover.unwritten if plan.handover is not None else ())
        ],
        "record": shown(config.record.folder),
    }


def _pick_logs(store: Store, alive: list[ProcessLife]) -> list[dict[str, Any]]:
    """What the picker wrote and could not be used, as long as it lies there as it is."""
    unused = store.pick_logs.latest((PickLogState.REFUSED, PickLogState.PARTLY_READ))
    found = [
        {
            "file": shown(one.path),
            "state": str(one.state),
            "reason": one.reason,
            "message": shown(one.message or ""),
        }
        for one in unused
        if one.path.is_file()
    ]
    for daemon in alive:
        for path, why in daemon.detail.get("pick_logs_out_of_reach", {}).items():
            found.append(
                {
                    "file": shown(path),
                    "state": "out of reach",
                    "reason": "unreadable",
                    "message": shown(why),
                }
            )
    return found


def _daemon(life: ProcessLife | None) -> dict[str, Any]:
    if life is None:
        return {"alive": False}
    return {
        "alive": life.alive,
        "pid": life.pid,
        "host": life.host,
        "started_at": life.started_at.isoformat(),
        "last_sign_of_life": life.beat_at.isoformat(),
        "model": life.detail.get("model"),
        "runner": life.detail.get("runner"),
        "in_work": life.detail.get("in_work", 0),
        "progress": life.detail.get("progress"),
        "stopped": life.detail.get("stopped") or None,
    }


def _sources(config: Config, alive: list[ProcessLife]) -> list[dict[str, Any]]:
    said = {
        source["name"]: source for daemon in alive for source in daemon.detail.get("sources", [])
    }
    found = []
    for source in config.sources:
        live = said.get(source.name)
        kind, why = watch_kind(source.path, source.watch)
        below = (
            live.get("below", [])
            if live
            else [asdict(one) for one in watched_below(source.path, source.watch, kind)]
        )
        found.append(
            {
                "name": source.name,
                "path": shown(source.path),
                "watched_by": live["watched_by"] if live else kind,
                "why": live["why"] if live else why,
                "present": source.path.is_dir(),
                "mounts_below": [{**one, "path": shown(one["path"])} for one in below],
                "not_seen": [shown(text) for text in live.get("troubles", [])] if live else [],
                "settling": live["settling"] if live else 0,
                "found_by_rescan": live["found_by_rescan"] if live else 0,
                "left_out": live.get("left_out", {}) if live else {},
            }
        )
    return found


def _show_status(document: dict[str, Any]) -> None:
    daemon = document["daemon"]
    if daemon["alive"]:
        out.print(f"[green]●[/] daemon alive, pid {daemon['pid']}, since {daemon['started_at']}")
        if daemon["stopped"]:
            say(f"nothing is measured: {shown(daemon['stopped'])}")
    elif "pid" in daemon:
        out.print(f"[red]●[/] daemon not running, last sign of life {daemon['last_sign_of_life']}")
    else:
        out.print("[yellow]●[/] daemon not running; start it with: colonywatch run")
    sources = Table("source", "folder", "watched by", "there", "found by rescan only")
    for source in document["sources"]:
        sources.add_row(
            source["name"],
            cell(source["path"]),
            source["watched_by"],
            "yes" if source["present"] else "[red]no[/]",
            str(source["found_by_rescan"]),
        )
    if document["sources"]:
        show_table(sources)
    for source in document["sources"]:
        _show_source(source)
    captures = document["captures"]
    out.print(
        f"captures: {captures['recorded']} recorded, {captures['waiting']} waiting, "
        f"{captures['unreadable']} unreadable; {_several(document['dishes'], 'dish', 'dishes')}"
    )
    for one in document["dishes_in_doubt"][:TROUBLED_SHOWN]:
        say(f"{shown(one['dish'])}: last scan in doubt: {', '.join(one['doubts'])}")
    if len(document["dishes_in_doubt"]) > TROUBLED_SHOWN:
        more = len(document["dishes_in_doubt"]) - TROUBLED_SHOWN
        say(f"and the last scans of {_several(more, 'other dish', 'other dishes')}; see: dishes")
    out.print(
        f"open alerts: {document['alerts_open']}; messages waiting: {document['outbox_pending']}, "
        f"given up: {document['outbox_failed']}"
    )
    for name, judged_from in document["freshly_passaged"].items():
        say(f"{shown(name)}: freshly passaged, its share is judged from {judged_from} on")
    for message in document["undelivered"]:
        say(f"undelivered {message['channel']} {message['subject']}: {message['last_error']}")
    if len(document["troubled"]) > TROUBLED_SHOWN:
        counted = ", ".join(
            f"{one['captures']} {one['state']} ({one['reason']})"
            for one in document["troubled_by_reason"]
        )
        say(f"{counted}; the newest {TROUBLED_SHOWN}, all of them with --json:")
    for capture in document["troubled"][:TROUBLED_SHOWN]:
        again = f", next try {capture['next_try_at']}" if capture["next_try_at"] else ""
        say(f"{capture['state']} ({capture['reason']}){again}: {capture['message']}")
    for one in document["pick_logs"][:20]:
        say(f"pick log {one['file']}: {one['state']} ({one['reason']}): {one['message']}")
    for one in document["formats_not_written"]:
        say(
            f"plan {one['plan']} of {one['dish']}: {one['format']} is not written: {one['message']}"
        )
    if document["captures"]["unreadable"]:
        say("when the cause is fixed: colonywatch retry")


def _show_source(source: dict[str, Any]) -> None:
    for one in source["mounts_below"]:
        say(
            f"{source['name']}: {one['path']} is a mount in it ({one['file_system']}), watched "
            f"by {one['watched_by']}: {one['why']}"
            if one["watched_by"] != "not"
            else f"{source['name']}: {one['path']} is a mount in it, and left out: {one['why']}"
        )
    for text in source["not_seen"]:
        say(f"{source['name']}: {text}")
    if source["left_out"]:
        which = ", ".join(f"{count} of {shown(why)}" for why, count in source["left_out"].items())
        say(f"{source['name']}: left out: {which} (settings `channel` and `plane`)")


def _several(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"
