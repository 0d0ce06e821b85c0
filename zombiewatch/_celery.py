"""Settings of a Celery installation that is heard on its broker."""

from collections.abc import Callable
from typing import Annotated, Final, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, model_validator

from collector.receivers.celery import RABBITMQ, REDIS, SEPARATOR
from zombiewatch._nearest import refuse
from zombiewatch._values import Count, Name, Seconds, Section

_LIKE_REDIS: Final = "redis://127.0.0.1:6379/0 (or rediss://, unix://)"
_LIKE_RABBITMQ: Final = "amqp://user:password@127.0.0.1:5672// (or amqps://)"


def _one_of(schemes: tuple[str, ...], like: str) -> Callable[[SecretStr], SecretStr]:
    def usable(url: SecretStr) -> SecretStr:
        scheme = urlsplit(url.get_secret_value()).scheme
        if scheme not in schemes:
            raise refuse(  # whole, it may hold a password
                f"it must be like {like}",
                what=f"{{path}} begins with {scheme}://" if scheme else "{path} is no address",
            )
        return url

    return usable


Broker = Annotated[
    SecretStr, AfterValidator(_one_of(REDIS + RABBITMQ, f"{_LIKE_REDIS}, or {_LIKE_RABBITMQ}"))
]
Results = Annotated[SecretStr, AfterValidator(_one_of(REDIS, _LIKE_REDIS))]
Api = Annotated[
    SecretStr,
    AfterValidator(_one_of(("http", "https"), "http://user:password@127.0.0.1:15672")),
]


class Celery(Section):
    """A Celery installation: only read, unless `enable_events` is set."""

    broker: Broker | None = Field(
        None, description="The broker's URL, as Celery has it; without one it is not listened to."
    )
    broker_api: Api | None = Field(
        None,
        description="RabbitMQ's management API, the user in it; without it only those queues are"
        " looked at that are named, or that something was sent to.",
    )
    results: Results | None = Field(
        None,
        description="The result backend's URL, as Celery has it; without one no result is missed.",
    )
    queues: tuple[Name, ...] = Field(
        (), description="The queues that are looked at; without any, all that are known."
    )
    visibility_timeout_s: Seconds | None = Field(
        None,
        gt=0,
        description="How long the broker waits for the end of a message: of Redis"
        " `broker_transport_options['visibility_timeout']`, without a value 3600 s; of RabbitMQ"
        " `consumer_timeout`, without a value 1800 s.",
    )
    acks_late: bool = Field(
        default=False,
        description="Whether `task_acks_late` is set. On Redis it is seen, task by task.",
    )
    look_every_s: Seconds = Field(10.0, ge=1, description="How often queues are looked at.")
    enable_events: bool = Field(
        default=False,
        description="Whether workers are told, by remote control, to send task events.",
    )
    key_prefix: str = Field("", description="The broker's `global_keyprefix`, if it is set.")
    separator: str = Field(
        SEPARATOR, description="The broker's `sep` (Redis), if `broker_transport_options` has it."
    )
    priority_steps: tuple[Count, ...] = Field(
        (), description="The broker's `priority_steps` (Redis), likewise; else 0, 3, 6 and 9."
    )
    results_key_prefix: str = Field(
        "", description="The result backend's `global_keyprefix`, if it is set."
    )

    @model_validator(mode="after")
    def _heard_at_all(self) -> Self:
        more = (self.results, self.broker_api, self.enable_events or None)
        if self.broker is None and any(one is not None for one in more):
            raise refuse("name the broker too", at="broker", what="{path} is not set")
        return self
