"""Parts of a sidecar that follow from the configuration alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from collector.forward import Forward, Target
from collector.limits import RecordLimits
from collector.pipeline import Pipeline
from collector.receivers.celery import NEEDS, CelerySetupError, Where
from collector.scrub import Scrub
from collector.store.limits import Limits
from zombiewatch import tls

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from concurrent.futures import Future

    from collector.receivers.celery.receiver import Celery
    from collector.rules import Rule
    from collector.store.journal import Entry
    from model.clock import Clock
    from zombiewatch.config import Config, Listener


def forward_of(config: Config) -> Forward | None:
    """Return what sends on what comes in, if it is to. Raises TlsError."""
    said = config.forward
    if said.endpoint is None:
        return None
    return Forward(
        Target(
            said.endpoint,
            token=said.token.get_secret_value() if said.token else None,
            context=tls.trust("forward", said.ca),
            compress=said.compression == "gzip",
            queue_max_bytes=said.queue_max_bytes,
            timeout_s=said.timeout_s,
            retry_for_s=said.retry_for_s,
        )
    )


def celery_of(
    config: Config, append: Callable[[Entry], Future[int]], clock: Clock
) -> Celery | None:
    """Return what listens to Celery, if there is any. Raises CelerySetupError."""
    said = config.celery
    if said.broker is None:
        return None
    try:
        from collector.receivers.celery.receiver import Celery
    except ImportError:
        raise CelerySetupError(NEEDS) from None

    return Celery(
        Where(
            said.broker.get_secret_value(),
            broker_api=said.broker_api.get_secret_value() if said.broker_api else None,
            results=said.results.get_secret_value() if said.results else None,
            queues=said.queues,
            visibility_s=said.visibility_timeout_s,
            acks_late=said.acks_late,
            look_every_s=said.look_every_s,
            enable_events=said.enable_events,
            key_prefix=said.key_prefix,
            separator=said.separator,
            priority_steps=said.priority_steps,
            results_key_prefix=said.results_key_prefix,
        ),
        append,
        clock,
    )


def secret(listener: Listener) -> str | None:
    """Return the token that *listener* asks for, if any."""
    return listener.token.get_secret_value() if listener.token else None


def pipeline_of(config: Config, rules: Sequence[Rule]) -> Pipeline:
    """Return what makes signals of records, as the configuration and *rules* say."""
    return Pipeline(
        namespace=config.namespace,
        sides=config.sides,
        rules=rules,
        scrub=Scrub(config.scrub.names, config.scrub.texts),
        limits=RecordLimits(
            attributes=config.otlp.max_attributes,
            value_bytes=config.otlp.max_attribute_bytes,
            body_bytes=config.otlp.max_text_bytes,
        ),
    )


def thresholds(config: Config) -> dict[str, dict[str, Any]]:
    """Return what the configuration says of each detector."""
    settings: dict[str, dict[str, Any]] = {
        name: dict(said) for name, said in config.detectors.items()
    }
    settings.setdefault("slow_report", {}).setdefault("bin_s", config.rate_bin_s)
    return settings


def limits(config: Config) -> Limits:
    """Return what the configuration says of the store."""
    store = config.store
    return Limits(
        memory_bytes=store.memory_limit_bytes,
        hot_rows=store.hot_rows,
        settle_s=store.settle_s,
        abandon_s=config.abandon_after_s,
        bin_s=config.rate_bin_s,
        apply_s=config.apply_every_s,
        checkpoint_s=store.checkpoint_every_s,
        segment_rows=store.segment_rows,
        journal_bytes=store.journal_max_bytes,
        min_free_bytes=store.min_free_disk_bytes,
        keep_s=config.retention.max_age_s,
        keep_bytes=config.retention.max_bytes,
        push_gap_s=config.push_gap_tolerance_s,
    )
