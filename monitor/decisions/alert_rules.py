"""What people are alerted to, a row a topic: its words, its limit and, where it follows from a
dish's series alone, its rule.

Not here is differentiation itself: status.py judges it, and mails tell it in numbers. When people
are asked to look is found by looks.py from the same judgement, a passage that nobody told of by
passages.py; course.py puts both in their place. What does not come is found by silence.py for all
of its topics at once, since one cause makes one alert, and what is left of picked regions by
decide.py; their words and limits are here all the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from monitor.config import DifferentiationConfig
from monitor.culture import AlertFamily, AlertKind, AlertTopic, Reading, Severity
from monitor.decisions.notices import (
    JUDGED_AGAIN,
    NOT_WATCHED,
    Change,
    confluent,
    doubtful,
    growth_stopped,
    past_saving,
    rising,
)

Judge = Callable[[bool, Sequence[Reading], float, DifferentiationConfig], Change]
_OF_THE_SERIES = "differentiation."


@dataclass(frozen=True)
class AlertRule:
    """begun, over : what is said in headlines while it lasts, and when it is over

    next_step : what a person does about it
    limit : the key under `decisions` in config.yaml; None = it has none
    judge : the rule, where its family is the course
    looks_back : the key beside its limit that says for how many hours of the series it asks
    unwatched : the sentence that ends it once the limit is taken out
    all_clear : the sentence that ends it, where its family is silence
    is_calm : it asks for a look and alerts nobody
    waits_when_fresh : not judged of a dish that was passaged a short time ago
    """

    begun: str
    over: str
    next_step: str
    limit: str | None = None
    judge: Judge | None = None
    looks_back: str = ""
    unwatched: str = ""
    all_clear: str = ""
    is_calm: bool = False
    waits_when_fresh: bool = False

    def limit_in(self, limits: DifferentiationConfig) -> float | None:
        """Its limit among a dish's own; None = it is not watched."""
        name = (self.limit or "").removeprefix(_OF_THE_SERIES)
        limit: float | None = getattr(limits, name)
        return limit


# Those of the course are judged in this order.
ALERT_RULES: Mapping[AlertTopic, AlertRule] = {
    AlertTopic.RISING: AlertRule(
        "rises fast",
        "no longer rises fast",
        "Look at the image below before the limit is passed.",
        limit="differentiation.rise_above_per_day",
        judge=rising,
        looks_back="trend_h",
        unwatched=NOT_WATCHED,
        waits_when_fresh=True,
    ),
    AlertTopic.CONFLUENT: AlertRule(
        "confluent",
        "no longer confluent",
        "Passage the dish, or raise confluence_above for it.",
        limit="differentiation.confluence_above",
        judge=confluent,
        looks_back="votes_within_h",
        unwatched="Confluence is no longer watched.",
    ),
    AlertTopic.GROWTH_STOPPED: AlertRule(
        "hardly grows",
        "grows again",
        "Look at the cells and their medium.",
        limit="differentiation.growth_below_per_day",
        judge=growth_stopped,
        looks_back="trend_h",
        unwatched="Growth is no longer watched.",
        waits_when_fresh=True,
    ),
    AlertTopic.PLEASE_LOOK: AlertRule(
        "please look",
        "sure again",
        "Look at the image below: are the cells outlined in orange really differentiated? If they "
        "are, treat the dish as you would after an alert.",
        limit="differentiation.raise_above",
        is_calm=True,
        waits_when_fresh=True,
    ),
    AlertTopic.DOUBTFUL: AlertRule(
        "cannot be judged",
        "can be judged again",
        "Look at the dish and at the imager: focus, light, lid, condensation. If the images are as "
        "they should be, the model does not know them: colonywatch train teaches it.",
        limit="differentiation.doubtful_for_h",
        judge=doubtful,
        looks_back="doubtful_for_h",
        unwatched=JUDGED_AGAIN,
    ),
    AlertTopic.PAST_SAVING: AlertRule(
        "past saving, discard it",
        "no longer past saving",
        "Look at the dish; if you agree, discard it, or raise discard_above.",
        limit="differentiation.discard_above",
        judge=past_saving,
        looks_back="votes_within_h",
        unwatched="Dishes past saving are no longer looked for.",
        waits_when_fresh=True,
    ),
    AlertTopic.PASSAGE_SEEN: AlertRule(
        "was it passaged?",
        "judged as usual",
        "Look at the image below. If nobody passaged the dish, its cells may have come off.",
        limit="differentiation.passage_below",
        is_calm=True,
    ),
    AlertTopic.OLD_SERIES: AlertRule(
        "is it the same dish?",
        "goes on as the same dish",
        "If there are other cells now, end the old dish at the time when it ended: colonywatch "
        "dishes end.",
        limit="differentiation.new_series_after_days",
    ),
    AlertTopic.NOT_REMOVED: AlertRule(
        "still has cells that were picked",
        "is rid of the cells picked",
        "Look at the dish and at the picker; what is left is planned again.",
        limit="verification.still_there_below",
    ),
    AlertTopic.NOT_CHECKED: AlertRule(
        "has picked cells that no scan checked",
        "is checked after picking",
        "Look at the dish: is it where it was, and is it being scanned?",
        limit="verification.within_h",
    ),
    AlertTopic.NO_CAPTURE: AlertRule(
        "no new captures",
        "new captures again",
        "Is the dish still in the incubator, and does the imager still visit it?",
        limit="silence.intervals",
        all_clear="New captures of the dish are coming again.",
    ),
    AlertTopic.SAME_PICTURE: AlertRule(
        "the same image again and again",
        "images differ again",
        "Look at the imager: is it stuck, or does it write one frame under new names?",
        limit="silence.same_pictures",
        all_clear="The captures of the dish differ again.",
    ),
    AlertTopic.EQUAL_PICTURES: AlertRule(
        "equal images of several dishes",
        "every dish has images of its own again",
        (
            "Look at the imager: is its camera or its stage stuck? If a file was only "
            "copied or misnamed, remove the wrong one, then run: colonywatch retry"
        ),
        all_clear="Each of these dishes has an image of its own again, or has ended.",
    ),
    AlertTopic.SOURCE_SILENT: AlertRule(
        "no new captures",
        "new captures again",
        "Look at the imager: is it running, and does it write to the folder that colonywatch "
        "watches?",
        limit="silence.intervals",
        all_clear="New captures are coming again, or its dishes have ended.",
    ),
    AlertTopic.SOURCE_GONE: AlertRule(
        "folder gone",
        "folder back",
        "Is the share mounted, and is the machine that serves it running?",
        limit="silence.source_gone_s",
        all_clear="The folder is back.",
    ),
    AlertTopic.DISK_FULL: AlertRule(
        "disk nearly full",
        "room on the disk again",
        "Make room on the disk that holds the record.",
        limit="silence.disk_free_gib",
        all_clear="There is room on the disk again.",
    ),
    AlertTopic.MODEL_REFUSED: AlertRule(
        "model refused, captures are waiting",
        "model accepted again",
        "Repair the model's folder or set another in segmentation.model, then restart.",
        all_clear="No capture is waiting for the model any more.",
    ),
    AlertTopic.WORKER_STUCK: AlertRule(
        "segmentation is stuck",
        "segmentation answers again",
        "Look at colonywatch status and the log; does the machine have enough memory and all its "
        "disks?",
        all_clear="The segmentation process measures captures again.",
    ),
    AlertTopic.IMAGER_CLOCK: AlertRule(
        "the imager's clock is off",
        "the imager's clock is right",
        "Compare the imager's clock with this machine's, and look at the source's timezone.",
        limit="clock.ahead_min",
        all_clear="Captures are dated as they arrive again.",
    ),
    AlertTopic.SCALE_OFF: AlertRule(
        "images look as if taken at another scale",
        "the scale fits the images again",
        "Was the objective or the camera changed? Set the source's pixel_size_um, or say what the "
        "scale is: colonywatch scale",
        all_clear="The assumed scale fits what the images show, or somebody has set it.",
    ),
    AlertTopic.CLOCK_JUMPED: AlertRule(
        "the clock jumped",
        "the clock runs evenly",
        "Check the machine's time and its time server.",
        limit="silence.clock_jump_s",
        all_clear="The clock has run evenly for an hour.",
    ),
}


@dataclass(frozen=True)
class Notice:
    """A topic that begins or ends with the newest reading, and the sentence for it."""

    topic: AlertTopic
    kind: AlertKind
    text: str


def judge_notices(
    open_topics: Collection[AlertTopic],
    readings: Sequence[Reading],
    limits: DifferentiationConfig,
    *,
    is_fresh: bool = False,
) -> tuple[Notice, ...]:
    """What the newest reading begins or ends.

    readings : one a scan, oldest first, the newest last
    is_fresh : the dish was passaged a short time ago
    """
    if not readings:
        return ()
    found = []
    for topic, rule in ALERT_RULES.items():
        if rule.judge is None or (is_fresh and rule.waits_when_fresh):
            continue
        is_open, limit = topic in open_topics, rule.limit_in(limits)
        if limit is not None:
            change = rule.judge(is_open, readings, limit, limits)
        else:
            change = (AlertKind.CLEARED, rule.unwatched) if is_open else None
        if change is not None:
            found.append(Notice(topic, *change))
    return tuple(found)


def severity_of(topic: AlertTopic) -> Severity:
    """How bad it is where nothing else says so."""
    rule = ALERT_RULES.get(topic)
    return Severity.NOTICE if rule is not None and rule.is_calm else Severity.WARNING


def silence_words(topic: AlertTopic, *, is_over: bool) -> str | None:
    """What is said of a silence; None where the topic is none."""
    return _words(topic, is_over) if topic.family is AlertFamily.SILENCE else None


def notice_words(topic: AlertTopic, *, is_over: bool) -> str | None:
    """What is said of a notice on a dish; None where the topic is none."""
    return _words(topic, is_over) if topic.family is not AlertFamily.SILENCE else None


def words_of(topic: AlertTopic) -> str | None:
    """What is said while it lasts; None of differentiation, which is told in numbers."""
    return _words(topic, is_over=False)


def _words(topic: AlertTopic, is_over: bool) -> str | None:
    rule = ALERT_RULES.get(topic)
    if rule is None:
        return None
    return rule.over if is_over else rule.begun
