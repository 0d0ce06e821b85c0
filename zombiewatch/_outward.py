"""Settings of what is sent elsewhere: what came in, and what zombiewatch says of itself."""

from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from zombiewatch._nearest import refuse
from zombiewatch._values import KIB, MIB, Bytes, Name, Seconds, Section


def _usable_url(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
        raise refuse("it must be like http://127.0.0.1:4318, without /v1/logs and the like")
    return url.rstrip("/")


Url = Annotated[str, AfterValidator(_usable_url)]


class Forward(Section):
    """Where what came in over OTLP is sent on, unchanged; never at the cost of taking it in."""

    endpoint: Url | None = Field(
        None, description="The OTLP/HTTP endpoint's base address; without one nothing is sent."
    )
    token: SecretStr | None = Field(
        None, description="What is sent there as `Authorization: Bearer …`."
    )
    ca: Name | None = Field(
        None, description="The file with the authorities that vouch for it, else the system's."
    )
    compression: Literal["none", "gzip"] = Field("none", description="How bodies are packed.")
    queue_max_bytes: Bytes = Field(
        64 * MIB, ge=KIB, description="The most that waits, in memory; then the oldest is dropped."
    )
    timeout_s: Seconds = Field(10.0, gt=0, description="How long one attempt may take.")
    retry_for_s: Seconds = Field(
        300.0, ge=0, description="How long one request is tried again before it is dropped."
    )


class Telemetry(Section):
    """What zombiewatch says of itself as an OpenTelemetry service, over OTLP/HTTP."""

    endpoint: Url | None = Field(
        None, description="The collector's base address; without one nothing is said."
    )
    token: SecretStr | None = Field(
        None, description="What is sent there as `Authorization: Bearer …`."
    )
    interval_s: Seconds = Field(10.0, ge=0.1, description="How often spans and metrics are sent.")
