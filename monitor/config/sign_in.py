"""The section of the configuration on who is let in to the pages."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from monitor.config.values import Positive, Section

# What clients and servers say of themselves; none of it is a person.
_TAKEN = ("authorization", "connection", "cookie", "forwarded", "host", "x-forwarded-for")


class SignInConfig(Section):
    """Accounts are made by `colonywatch users add`; as long as there are none, nobody is asked.

    idle_h : a session ends when it was not used for so long; longest_days : and then in any case
    header : a web server in front says in it who has signed in there; None = it says nothing
    proxies : addresses or networks of that server. What others say in `header`, or of whom they
        speak for (X-Forwarded-For), is not believed
    unknown : who signs in there and has no account: refuse, or make an account that can look
    """

    idle_h: Annotated[float, Field(ge=0.1, le=24 * 365)] = 12.0
    longest_days: Positive = 30.0
    header: str | None = None
    proxies: tuple[str, ...] = Field(default=(), strict=False)
    unknown: Literal["refuse", "viewer"] = "refuse"

    @field_validator("header")
    @classmethod
    def _is_a_header(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if not re.fullmatch(r"[A-Za-z0-9-]{1,60}", value) or value.lower() in _TAKEN:
            raise ValueError("must be the name of a header of its own, such as X-Remote-User")
        return value

    @field_validator("proxies")
    @classmethod
    def _are_addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for one in value:
            try:
                network = ip_network(one)
            except ValueError:
                raise ValueError(
                    f"{one}: is no address or network, such as 127.0.0.1 or 10.0.3.0/24"
                ) from None
            if network.prefixlen == 0:
                raise ValueError(f"{one}: is everybody; name the web server's own address")
        return value

    @model_validator(mode="after")
    def _header_comes_from_somewhere(self) -> Self:
        if self.header is not None and not self.proxies:
            raise ValueError(
                "header is believed only from the web server in front: give its address in "
                "proxies, such as [127.0.0.1]"
            )
        return self

    def is_proxy(self, address: str) -> bool:
        """Is it the web server in front that speaks?"""
        try:
            there = ip_address(address)
        except ValueError:
            return False
        mapped = getattr(there, "ipv4_mapped", None)
        known = [ip_network(one) for one in self.proxies]
        forms = [one for one in (there, mapped) if one is not None]
        return any(one in network for one in forms for network in known)
