"""What people answer to alerts on a page. The same answer twice counts once, an old one never."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from monitor.culture import Alert
from monitor.record.alerts import alert_row, alert_told, rest_until
from monitor.record.database import Database
from monitor.record.tables import AuditRow


@dataclass(frozen=True)
class Answered:
    """The alert as it stands now. is_new : False where nothing was written, since somebody had
    answered, or the alert had ended, after the page was shown
    """

    alert: Alert
    is_new: bool


class AnswerRecord:
    def __init__(self, database: Database) -> None:
        self._database = database

    def answer(
        self,
        alert_id: int,
        *,
        who: str,
        note: str | None,
        snooze_until: datetime | None,
        keep_snooze: bool = False,
        as_of: str,
        now: datetime,
    ) -> Answered:
        """Somebody knows of the alert; until `snooze_until`, no mails on what it is about, unless
        critical; None = from now on they go again.

        keep_snooze : that stays as it is
        as_of : `standing` of the alert as the person saw it
        Raises UsageError where there is no alert of this number.
        """
        with self._database.writing() as session:
            row = alert_row(session, alert_id)
            alert = alert_told(session, row)
            if standing(alert) != as_of or alert.closed_at is not None:
                return Answered(alert, is_new=False)
            row.acknowledged_at, row.acknowledged_by, row.note = now, who, note
            subject = str(alert_id)
            session.add(
                AuditRow(at=now, who=who, what="alert acknowledged", subject=subject, note=note)
            )
            if not keep_snooze and row.snoozed_until != snooze_until:
                rest_until(session, row, snooze_until, now)
                what = "alert snoozed" if snooze_until is not None else "alert's snooze ended"
                until = None if snooze_until is None else snooze_until.isoformat()
                session.add(AuditRow(at=now, who=who, what=what, subject=subject, note=until))
            return Answered(alert_told(session, row), is_new=True)


def standing(alert: Alert) -> str:
    """Changes with each answer and with the alert's end."""
    moments = (alert.acknowledged_at, alert.snoozed_until, alert.closed_at)
    return "/".join("" if one is None else one.isoformat() for one in moments)
