"""Settings of what listens: where, how much it takes, and who may speak to it."""

import ipaddress
import re
from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from zombiewatch._nearest import refuse
from zombiewatch._values import KIB, MIB, Bytes, Count, Name, Seconds, Section

_TOKEN: Final = re.compile(r"[!-~]{16,}")


def _usable_token(token: SecretStr) -> SecretStr:
    if not _TOKEN.fullmatch(token.get_secret_value()):
        raise refuse("it must be 16 or more visible ASCII characters, without spaces")
    return token


class Tls(Section):
    """Encryption of a listener: off unless a certificate is set; files in PEM."""

    certificate: Name | None = Field(
        None, description="The file with the listener's certificate, and those that vouch for it."
    )
    key: Name | None = Field(None, description="The file with the certificate's private key.")
    client_ca: Name | None = Field(
        None, description="The file with the authorities that callers need a certificate of."
    )

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if (self.certificate is None) != (self.key is None) or (
            self.client_ca is not None and self.certificate is None
        ):
            lacking = "certificate" if self.certificate is None else "key"
            raise refuse(
                "set certificate and key together; client_ca needs both",
                what=f"{{path}} has no {lacking}",
            )
        return self


class Listener(Section):
    """Where something listens, and who may speak to it."""

    host: Name = Field("127.0.0.1", description="The address to listen on.")
    port: Count = Field(
        0, ge=0, le=65_535, description="The port to listen on; 0 takes a free one."
    )
    token: Annotated[SecretStr, AfterValidator(_usable_token)] | None = Field(
        None,
        description="What callers must send as `Authorization: Bearer …`; 16 characters or more.",
    )
    listen_beyond_loopback_without_token: bool = Field(
        default=False, description="Whether others may reach this without a token, at your risk."
    )
    tls: Tls = Field(default_factory=Tls)
    max_connections: Count = Field(
        2000, ge=1, description="The most connections; beyond it idle ones are closed for new ones."
    )
    idle_timeout_s: Seconds = Field(
        90.0, ge=1, description="How long a connection may wait for a request, or in its headers."
    )

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if self.token or self.listen_beyond_loopback_without_token or is_loopback(self.host):
            return self
        raise refuse(
            "set a token beside it (16 or more characters), or host: 127.0.0.1, or, where something"
            " else keeps strangers out, listen_beyond_loopback_without_token: true",
            at="host",
            what=f"{{path}} is {self.host!r}, which other machines can reach, and no token is set",
        )


def is_loopback(host: str) -> bool:
    """Say whether only this machine reaches *host*."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError:
        raise refuse("it must be an address, or a network like 10.0.0.0/8") from None


class Http(Listener):
    """The page, the JSON API and the metrics."""

    port: Count = Field(
        9797, ge=0, le=65_535, description="The port to listen on; 0 takes a free one."
    )
    user_header: Name | None = Field(
        None,
        description="The header in which a proxy that signs people in says who they are:"
        " X-Forwarded-User. Who is named may change things on the page.",
    )
    proxies: tuple[Annotated[str, AfterValidator(_network)], ...] = Field(
        ("127.0.0.1/32", "::1/128"),
        description="Whose word that header is: addresses or networks. From others it is ignored.",
    )
    may_change: tuple[Name, ...] = Field(
        (), description="Who of those may change things; by default everybody that is named."
    )
    trace_url: Name | None = Field(
        None,
        description="Where a trace is looked at: http://jaeger.example/trace/{trace_id}.",
    )


class Otlp(Listener):
    """The way in for OpenTelemetry: logs and spans over HTTP."""

    port: Count = Field(
        4318, ge=0, le=65_535, description="The port to listen on; 0 takes a free one."
    )
    max_body_bytes: Bytes = Field(
        64 * MIB, ge=KIB, description="The largest request taken, counted after decompression."
    )
    in_flight_max_bytes: Bytes = Field(
        128 * MIB, ge=KIB, description="The requests in hand at once; beyond it senders wait."
    )
    body_timeout_s: Seconds = Field(
        30.0, ge=0.1, description="How long a request may take to come in."
    )
    max_attributes: Count = Field(
        128,
        ge=1,
        description="The most attributes kept of one record; it says how many more it had.",
    )
    max_attribute_bytes: Bytes = Field(
        32 * KIB, ge=64, description="The length at which the name or value of an attribute is cut."
    )
    max_text_bytes: Bytes = Field(
        64 * KIB, ge=64, description="The length at which the text of a record is cut."
    )


class Grpc(Listener):
    """The way in for OpenTelemetry over gRPC; sizes and times are those of `otlp`."""

    enabled: bool = Field(default=True, description="Whether it listens at all.")
    port: Count = Field(
        4317, ge=0, le=65_535, description="The port to listen on; 0 takes a free one."
    )
