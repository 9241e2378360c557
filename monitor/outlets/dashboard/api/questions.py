"""What the API can be asked, read strictly: what cannot be used is named, never guessed."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, WithJsonSchema

from monitor.culture import PlanStatus
from monitor.outlets.dashboard.choosing import ORDERS, STATES
from monitor.outlets.dashboard.plate_maps import SCALES

MOST = 1_000
_FIRST, _LAST = datetime(1970, 1, 2, tzinfo=UTC), datetime(2262, 1, 1, tzinfo=UTC)


def _in_range(moment: datetime) -> datetime:
    """Earlier and later than anything on record are the same as at the ends."""
    return min(max(moment, _FIRST), _LAST)


Moment = Annotated[AwareDatetime, AfterValidator(_in_range)]
Name = Annotated[str, Field(min_length=1, max_length=300)]
Word = Annotated[str, Field(max_length=100)]
FORMS = {
    "csv": ("text/csv; charset=utf-8", "csv"),
    "csv-de": ("text/csv; charset=utf-8", "csv"),
    "parquet": ("application/vnd.apache.parquet", "parquet"),
}
"""Of exports: media type and the end of the file's name."""
TABLES = ("readings", "colonies", "alerts", "plans")


def _among(names: Iterable[str]) -> AfterValidator:
    allowed = list(names)

    def check(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"is none of {', '.join(allowed)}")
        return text

    return AfterValidator(check)


def _told(names: Iterable[str]) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", "enum": list(names)})


Sort = Annotated[str, _among(ORDERS), _told(ORDERS)]
Shown = Annotated[str, _among(STATES), _told(STATES)]
By = Annotated[str, _among(SCALES), _told(SCALES)]
Form = Annotated[str, _among(FORMS), _told(FORMS)]
Limit = Annotated[int, Field(ge=1, le=MOST, description="How many at most.")]
After = Annotated[int, Field(ge=0, lt=2**62, description="The `next` of the answer before.")]


class Question(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Nothing(Question):
    pass


class AskDishes(Question):
    q: Word = Field(default="", description="Words, each in the name, the label or the source.")
    status: Shown | None = Field(default=None, description="What a dish is shown as.")
    plate: Word = ""
    source: Word = ""
    sort: Sort = "worst"
    ended: bool = Field(default=False, description="Those that have ended, instead.")
    limit: Limit = 100
    offset: Annotated[int, Field(ge=0, le=1_000_000)] = 0


class AskDish(Question):
    dish: Name = Field(description="Its name, as /dishes gives it.")


class AskReadings(Question):
    dish: Name | None = Field(default=None, description="Only of this dish.")
    since: Moment | None = Field(default=None, description="Scanned then or later.")
    until: Moment | None = Field(default=None, description="Scanned then or earlier.")
    after: After = 0
    limit: Limit = 100


class AskColonies(Question):
    dish: Name
    since: Moment | None = Field(
        default=None, description="Default: the 14 days before its last scan."
    )


class AskAlerts(Question):
    dish: Name | None = None
    is_open: bool | None = Field(default=None, description="Default: both.")
    after: After = 0
    limit: Limit = 100


class AskPlans(Question):
    status: PlanStatus | None = None
    limit: Limit = 100


class AskPlates(Question):
    by: By = "fraction"
    plate: Word = ""
    source: Word = ""


class AskExport(Question):
    form: Form = Field(
        default="csv",
        description="csv: RFC 4180. csv-de: as Excel in German opens it (semicolon, decimal comma, "
        "byte order mark). parquet: needs the extra `parquet` on the server.",
    )
    dish: Name | None = None
