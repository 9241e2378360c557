"""Everything this package raises on purpose.

MonitorError             text fit to be shown to a person as it is: what, which, what now
  ConfigError            the configuration cannot be used; fatal, exit 78
  UsageError             a command was asked for something that does not exist; exit 2
  RecordError            the database cannot be used
    RecordGoneError      its file was deleted or replaced while it was in use
  ModelRefusedError      the model's files do not match their manifest or canary
  WorkerError            the segmentation process cannot be started
  CaptureError           this capture only: unreadable, or waiting if `transient`
    LeftOutError         nothing is the matter with it; another picture of its field is looked at
  CalibrationError       no stage coordinates can be given
  PickLogError           what a picker says it did cannot be used
  PickingError           a picker that is connected asks for or tells what cannot be
  OutletError            not delivered: kept and tried again; `permanent` = do not try; `setting` =
                         once that has changed
"""

from __future__ import annotations


class MonitorError(Exception):
    """Base of all errors that are meant for a person's eyes."""


class ConfigError(MonitorError):
    """The configuration cannot be used; the text lists every problem found.

    rest : what can be made of it without what is wrong in it; only for looking on
    """

    def __init__(self, message: str, *, rest: object | None = None) -> None:
        super().__init__(message)
        self.rest = rest


class UsageError(MonitorError):
    """A command was asked for something that does not exist or makes no sense."""


class RecordError(MonitorError):
    """The database cannot be opened, migrated or written."""


class RecordGoneError(RecordError):
    """The database's file was deleted or replaced under a program that has it open."""


class ModelRefusedError(MonitorError):
    """A model whose hash, classes or canary do not match what its manifest promises."""


class WorkerError(MonitorError):
    """The segmentation process dies before it can take a capture."""


class CaptureError(MonitorError):
    """No honest reading can be made from this capture.

    reason : short machine-readable code, for example ``truncated``, ``blank``, ``no-name-match``
    transient : trying again later can help (locked, no permission, share gone, half written)
    """

    def __init__(self, message: str, *, reason: str, transient: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.transient = transient

    def __reduce__(self) -> tuple[object, ...]:
        # Exceptions cross the border of the worker process by pickle, which would drop keywords.
        return (_capture_error, (str(self), self.reason, self.transient))


def _capture_error(message: str, reason: str, transient: bool) -> CaptureError:
    return CaptureError(message, reason=reason, transient=transient)


class LeftOutError(CaptureError):
    """The picture is of a channel, a plane or a projection that is not looked at. It is no capture.

    what : such as ``channel w2 (DAPI)``, under which it is counted
    """

    def __init__(self, message: str, what: str) -> None:
        super().__init__(message, reason="left-out")
        self.what = what

    def __reduce__(self) -> tuple[object, ...]:
        return (LeftOutError, (str(self), self.what))


class CalibrationError(MonitorError):
    """No stage coordinates can be given: no calibration, a degenerate one, or an expired one."""


class PickLogError(MonitorError):
    """What a picker says it did cannot be used.

    reason : short machine-readable code, for example ``half-written``, ``unknown-plan``
    """

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class PickingError(MonitorError):
    """What a connected picker asks for or tells is refused.

    reason : "unknown-plan", "not-available", "not-taken-by-you" or "refused"
    """

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class OutletError(MonitorError):
    """A message or file could not be delivered.

    permanent : as things are, trying again cannot help (address refused, message refused)
    unreachable : nobody answers there, or nothing is taken from us, so others that go the same way
        need not be tried now
    setting : key of the configuration that cures it; the message waits until it has changed
    of_recipient : it is this recipient who is refused; a setting cures it, waiting does not
    too_large : a smaller message may go
    """

    def __init__(
        self,
        message: str,
        *,
        permanent: bool = False,
        unreachable: bool = False,
        setting: str | None = None,
        of_recipient: bool = False,
        too_large: bool = False,
    ) -> None:
        super().__init__(message)
        self.permanent = permanent
        self.unreachable = unreachable
        self.setting = setting
        self.of_recipient = of_recipient
        self.too_large = too_large
