"""Mail: the server, who gets which alert, when nobody is disturbed."""

from __future__ import annotations

import re
from datetime import time
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from monitor.config.outlets import Addressed, DigestConfig
from monitor.config.values import PathField as _PathField
from monitor.config.values import Positive as _Positive
from monitor.config.values import Section as _Section
from monitor.config.values import TimeOfDay as _TimeOfDay


class RecipientConfig(Addressed):
    """Somebody who gets mail. In config.yaml also the address alone.

    digest : of the day; None = who gets warnings gets it
    """

    address: str
    digest: bool | None = None

    @field_validator("address")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        if not re.fullmatch(r"[^@\s<>,;]+@[^@\s<>,;]+", value):
            raise ValueError(f"{value!r} is not a mail address (name@host)")
        return value


class QuietHoursConfig(_Section):
    """From `begin` to `end`, over midnight where `end` is the earlier one, by the lab's clock."""

    begin: _TimeOfDay = time(22)
    end: _TimeOfDay = time(7)

    @model_validator(mode="after")
    def _is_a_span(self) -> Self:
        if self.begin == self.end:
            raise ValueError("begin and end are the same; leave quiet_hours out, or null, for none")
        return self


class EmailConfig(_Section):
    """server : None = no server: each mail is written as a file into `mailbox`.

    ca_file : certificates (PEM) of who signed the server's, beside those that the machine trusts
    mailbox : folder for mails; None = ``mailbox`` in the record's folder
    gather_s : what is not critical waits so long for others of its source, to share a mail
    quiet_hours : None = none
    """

    server: str | None = None
    port: Annotated[int, Field(ge=1, le=65535)] = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    ca_file: _PathField | None = None
    username: str | None = None
    password_file: _PathField | None = None
    sender: str = "colonywatch@localhost"
    recipients: tuple[RecipientConfig, ...] = Field(
        default=(RecipientConfig(address="culture-room@localhost"),), strict=False
    )
    gather_s: Annotated[float, Field(ge=0, le=3600)] = 60.0
    quiet_hours: QuietHoursConfig | None = None
    digest: DigestConfig = DigestConfig()
    mailbox: _PathField | None = None
    timeout_s: _Positive = 20.0

    @field_validator("recipients", mode="before")
    @classmethod
    def _addresses_may_stand_alone(cls, value: object) -> object:
        if not isinstance(value, list | tuple):
            return value
        return [{"address": one} if isinstance(one, str) else one for one in value]

    @field_validator("recipients")
    @classmethod
    def _addresses_differ(cls, value: tuple[RecipientConfig, ...]) -> tuple[RecipientConfig, ...]:
        addresses = [one.address for one in value]
        for address in addresses:
            if addresses.count(address) > 1:
                raise ValueError(f"{address} is listed twice")
        return value

    @model_validator(mode="after")
    def _password_goes_with_a_user(self) -> Self:
        if (self.username is None) != (self.password_file is None):
            raise ValueError("username and password_file go together: set both or neither")
        if self.username and self.security == "none":
            raise ValueError(
                "a password is not sent over an unencrypted connection: use starttls or tls"
            )
        return self

    @property
    def digest_readers(self) -> tuple[RecipientConfig, ...]:
        return tuple(
            one
            for one in self.recipients
            if (one.from_severity == "warning" if one.digest is None else one.digest)
        )

    @property
    def addresses(self) -> tuple[str, ...]:
        return tuple(one.address for one in self.recipients)
