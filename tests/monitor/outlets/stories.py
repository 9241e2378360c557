"""A dish's series with plain values, for the tests of plots and mails."""

from datetime import UTC, datetime, timedelta

from monitor.culture import Alert, AlertKind, DishStatus, Reading

START = datetime(2026, 10, 24, 3, 0, tzinfo=UTC)


def reading(number, fraction, *, hours=6.0, dish="3500003816/A1", **changes):
    values = {
        "id": number + 1,
        "dish": dish,
        "scan_id": number + 1,
        "version": 1,
        "at": START + timedelta(hours=hours * number),
        "captures": 20,
        "background_um2": 4.0e7,
        "undifferentiated_um2": 3.0e7,
        "differentiated_um2": 5.0e6,
        "differentiated_fraction": fraction,
        "confluence": 0.45,
        "uncertainty": 0.08,
        "pixel_size_um": 1.0,
        "model_sha256": "0123456789abcdef" * 4,
        "settings_sha256": "fedcba9876543210" * 4,
        "colonies": 31,
    }
    return Reading(**(values | changes))


def series(*fractions, hours=6.0, dish="3500003816/A1"):
    return tuple(
        reading(number, fraction, hours=hours, dish=dish)
        for number, fraction in enumerate(fractions)
    )


def alert(readings, kind=AlertKind.RAISED, status=DishStatus.DIFFERENTIATING):
    last = readings[-1]
    return Alert(
        id=5,
        dish=last.dish,
        kind=kind,
        status=status,
        reading_id=last.id,
        at=last.at,
        fraction=last.differentiated_fraction,
        created_at=last.at + timedelta(minutes=3),
    )
