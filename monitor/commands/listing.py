"""All commands: how each is called, where it is found, what `colonywatch --help` says of it.

A summary is the first paragraph of the command's own help, word for word: it stands here so that
the list of all commands loads none of them.
"""

from __future__ import annotations

from monitor.commands.loading import Entry

# In the order in which --help lists them.
COMMANDS = (
    Entry(
        "demo",
        "demo:demo",
        "Watch a virtual incubator: four dishes over days, one of which starts to differentiate.",
    ),
    Entry("run", "upkeep:run", "The daemon: watch the sources until SIGTERM or Ctrl-C."),
    Entry(
        "serve",
        "serve:serve",
        "The dashboard: dishes, alerts and plans in a browser, until SIGTERM or Ctrl-C.",
    ),
    Entry(
        "process",
        "process:process",
        "Run the whole pipeline once over files or folders (backfill). Safe to "
        "repeat: what is known is not analysed again.",
    ),
    Entry(
        "segment",
        "segment:segment",
        "Segment images into undifferentiated, differentiated and background.",
    ),
    Entry(
        "status",
        "status:status",
        "Is the daemon alive, what does it watch, what is waiting, what went wrong?",
    ),
    Entry("history", "history:history", "A dish's series, oldest scan first."),
    Entry(
        "check-config",
        "settings:check_config",
        "Check a configuration; all problems are shown at once, with file, key and what is "
        "allowed.",
    ),
    Entry(
        "name-test",
        "name_test:name_test",
        "Show what file names parse to, and by which preset; for a folder, which "
        "preset fits it, which channels, planes and projections it has, and which of them "
        "are analysed.",
    ),
    Entry(
        "doctor",
        "settings:doctor",
        "Check this machine for what would keep the daemon from working.",
    ),
    Entry(
        "support",
        "support:support",
        "Write what helps to find a fault into one file, without secrets or pictures.",
    ),
    Entry(
        "train",
        "training:train",
        "Fine-tune the model on labelled fields of your own (3 to 10 are enough to begin).",
    ),
    Entry(
        "evaluate",
        "training:evaluate",
        "Measure a model on labelled fields, and write a report.",
    ),
    Entry(
        "calibrate",
        "calibrate:calibrate",
        "Fit a calibration from taught points, check it, and record it.",
    ),
    Entry(
        "scale",
        "scale:scale",
        "The scale at which captures without a pixel size are read: list, set, estimate anew.",
    ),
    Entry(
        "sila",
        "sila:sila",
        "Serve dish states and removal plans to SiLA 2 clients until SIGTERM or Ctrl-C.",
    ),
    Entry(
        "simulate",
        "upkeep:simulate",
        "The virtual incubator alone: captures as OME-TIFF, the exact truth beside them in "
        "OUT-truth.",
    ),
    Entry("backup", "backup:backup", "Copy the record while the daemon runs."),
    Entry(
        "pictures",
        "pictures:pictures",
        "Overlays and label maps: how many there are, which are gone; make these again.",
    ),
    Entry(
        "restore",
        "restore:restore",
        "Make a backup the record again. Stop the daemon first (unless its record is gone).",
    ),
    Entry(
        "retry",
        "upkeep:retry",
        "Retry waiting and unreadable captures and undelivered messages now.",
    ),
    Entry(
        "report-failure",
        "failure:report_failure",
        "Tell everybody who gets alerts that a service is down and will not restart by itself.",
    ),
    Entry(
        "reprocess",
        "upkeep:reprocess",
        "Measure recorded captures again that another model, or other settings, measured: "
        "after a change of model, tool, limits of regions, channel or pixel size; and those "
        "that a sidecar or a companion, new or changed since, describes differently. "
        "Adds readings, overwrites none.",
    ),
    Entry(
        "dishes",
        "dishes:app",
        "Dishes with their latest reading; end, passage, rename, annotate them.",
    ),
    Entry("alerts", "alerts:app", "Alerts: list, acknowledge, snooze, test; what was sent."),
    Entry("removals", "removals:app", "Removal plans: list, show, decide, export."),
    Entry(
        "audit",
        "audit:app",
        "The audit trail: who decided what and why; is it whole; a signed copy of it.",
    ),
    Entry("users", "users:app", "Accounts of the dashboard: add, list, change."),
    Entry("models", "models:app", "Models: list, show, verify."),
    Entry("benchmark", "benchmark:app", "Benchmarks: speed, accuracy."),
)
