"""`outlets.sila` of config.yaml: the live interface for pickers."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from monitor.config.values import PathField, Section

_EVERYWHERE = ("0.0.0.0", "::")  # nosec B104 # asked for, not bound to


class SilaConfig(Section):
    """Where `colonywatch sila` listens, and how it proves who it is.

    host : 127.0.0.1 = programs on this machine only; 0.0.0.0 = every network
    names : what clients call this machine, names or addresses; goes into the certificate
    certificate_file, key_file : PEM; None = made once, in the record's folder
    clients_file : PEM with the certificates that clients' own ones must be signed by; None =
        whoever reaches the port is a client
    discovery : announce the server in the local network (mDNS)
    """

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=1, le=65535)] = 50052
    security: Literal["tls", "none"] = "tls"
    names: tuple[str, ...] = Field(default=(), strict=False)
    certificate_file: PathField | None = None
    key_file: PathField | None = None
    clients_file: PathField | None = None
    discovery: bool = False

    @field_validator("host")
    @classmethod
    def _host_is_an_address(cls, value: str) -> str:
        try:
            ipaddress.ip_address(value)
        except ValueError as problem:
            raise ValueError(
                f"{value!r} is not an address to listen on; use 127.0.0.1, 0.0.0.0 or an address "
                f"of "
                "this machine"
            ) from problem
        return value

    @model_validator(mode="after")
    def _is_protected(self) -> Self:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file go together")
        if self.security == "tls":
            return self
        if not self.is_loopback:
            raise ValueError(
                "security: none lets anybody on the network take plans; it is allowed "
                "only with host: 127.0.0.1"
            )
        if self.clients_file is not None or self.certificate_file is not None:
            raise ValueError("certificates need security: tls")
        return self

    @property
    def is_loopback(self) -> bool:
        return ipaddress.ip_address(self.host).is_loopback

    @property
    def is_everywhere(self) -> bool:
        return self.host in _EVERYWHERE
