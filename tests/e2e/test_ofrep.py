"""Programs read the switches with the official OpenFeature SDK and its OFREP provider."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import pytest
from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason

from tests.e2e._sidecar import Answer, Running, call, named, zombiewatch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openfeature.client import OpenFeatureClient

TOKEN: Final = "a-token-of-this-test"  # noqa: S105
DEEDS: Final = ("degrade.pause_dispatch", "degrade.shed", "degrade.fallback")


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One on which work is turned away from L2 on, a level sooner than by default."""
    settings = {"degrade": {"look_every_s": 0.2, "flags": {"shed": "L2"}}}
    with Running(tmp_path_factory.mktemp("ofrep"), settings) as running:
        yield running
        assert running.stop() == 0, running.log


@pytest.fixture(scope="module")
def client(sidecar: Running) -> Iterator[OpenFeatureClient]:
    """What a dispatcher has: one client, and a context for each service."""
    api.set_provider(OFREPProvider(sidecar.url()), "test")
    yield api.get_client("test")
    api.clear_providers()


def put(sidecar: Running, service: str, level: str, length: str = "1h") -> None:
    done = zombiewatch(
        "switch", "set", service, level, "--for", length, "--reason", "a test", "--by", "ann",
        "--url", sidecar.url(),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def asked(sidecar: Running, path: str, body: Any, **headers: str) -> Answer:
    said = body if isinstance(body, bytes) else json.dumps(body).encode()
    to = f"{sidecar.url()}/ofrep/v1/evaluate/flags{path}"
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    return call("POST", to, said, {"Content-Type": "application/json", **given})


@pytest.mark.parametrize(
    ("level", "number", "deeds"),
    [
        ("L1", 1, (False, False, False)),
        ("L2", 2, (True, True, False)),
        ("L3", 3, (True, True, True)),
    ],
)
def test_the_sdk_reads_what_is_set(
    sidecar: Running,
    client: OpenFeatureClient,
    level: str,
    number: int,
    deeds: tuple[bool, bool, bool],
) -> None:
    """The level as a number, each deed from its level on; who set it and until when beside it."""
    service = named("orders")
    who = EvaluationContext(service)
    put(sidecar, service, level)
    got = client.get_integer_details("degrade.level", -1, who)
    assert (got.value, got.variant, got.reason) == (number, level, Reason.TARGETING_MATCH)
    assert got.flag_metadata["set_by"] == "ann"
    assert got.flag_metadata["dry_run"] is False
    assert str(got.flag_metadata["expires_at"]).endswith("Z")
    assert tuple(client.get_boolean_value(key, not on, who) for key, on in zip(DEEDS, deeds, strict=True)) == deeds  # fmt: skip  # noqa: E501


def test_where_nothing_is_set_nothing_is_to_be_done(client: OpenFeatureClient) -> None:
    """Whatever default the program has: it was answered."""
    who = EvaluationContext(named("calm"))
    got = client.get_integer_details("degrade.level", -1, who)
    assert (got.value, got.variant, got.reason) == (0, "L0", Reason.STATIC)
    assert [client.get_boolean_value(key, default_value=True, evaluation_context=who) for key in DEEDS] == [False] * 3  # fmt: skip  # noqa: E501


def test_what_is_forced_off_is_off(sidecar: Running, client: OpenFeatureClient) -> None:
    """And says so: it is not as if nobody had said anything."""
    service = named("orders")
    put(sidecar, service, "L0")
    got = client.get_boolean_details("degrade.shed", True, EvaluationContext(service))
    assert (got.value, got.variant, got.reason) == (False, "off", Reason.DISABLED)


def test_an_unknown_flag_leaves_the_program_its_default(client: OpenFeatureClient) -> None:
    """With the protocol's word for it."""
    got = client.get_boolean_details("degrade.nothing", True, EvaluationContext("orders"))
    assert (got.value, got.error_code) == (True, ErrorCode.FLAG_NOT_FOUND)
    assert "degrade.pause_dispatch" in str(got.error_message)


def test_who_does_not_say_for_which_service_is_told(client: OpenFeatureClient) -> None:
    """No level would be true of all services."""
    got = client.get_boolean_details("degrade.shed", True)
    assert (got.value, got.error_code) == (True, ErrorCode.TARGETING_KEY_MISSING)


def test_all_flags_are_read_at_once_and_not_again(sidecar: Running) -> None:
    """The answer bears an ETag; who has it already is answered 304, until something changes."""
    service = named("orders")
    body = {"context": {"targetingKey": service}}
    first = asked(sidecar, "", body)
    assert first.status == 200
    assert {one["key"]: one["value"] for one in first.json()["flags"]} == {
        "degrade.level": 0, **dict.fromkeys(DEEDS, False),
    }  # fmt: skip
    tag = first.headers["etag"]
    again = asked(sidecar, "", body, If_None_Match=tag)
    assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
    put(sidecar, service, "L2")
    changed = asked(sidecar, "", body, If_None_Match=tag)
    assert changed.status == 200
    assert changed.headers["etag"] != tag


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("/degrade.level", b"{", 400, "PARSE_ERROR"),
        ("/degrade.level", b"", 400, "TARGETING_KEY_MISSING"),
        ("/degrade.level", {}, 400, "TARGETING_KEY_MISSING"),
        ("/degrade.level", {"context": {"targetingKey": ""}}, 400, "TARGETING_KEY_MISSING"),
        ("/degrade.level", {"context": {"targetingKey": 7}}, 400, "INVALID_CONTEXT"),
        ("/degrade.level", {"context": "orders"}, 400, "INVALID_CONTEXT"),
        ("/degrade.level", [], 400, "INVALID_CONTEXT"),
        ("", {}, 400, "TARGETING_KEY_MISSING"),
        ("/none", {"context": {"targetingKey": "x"}}, 404, "FLAG_NOT_FOUND"),
        ("/%ff", {"context": {"targetingKey": "x"}}, 404, "FLAG_NOT_FOUND"),
    ],
)
def test_what_cannot_be_answered_is_refused_as_the_protocol_has_it(
    sidecar: Running, path: str, body: Any, status: int, code: str
) -> None:
    """A code that every SDK knows, and a sentence for whoever reads its log."""
    answer = asked(sidecar, path, body)
    assert (answer.status, answer.json()["errorCode"]) == (status, code)
    assert answer.json()["errorDetails"]


def test_a_token_is_asked_for_where_one_is_set(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The provider's `headers_factory` brings it."""
    with Running(tmp_path_factory.mktemp("token"), {"http": {"token": TOKEN}}) as guarded:
        who = EvaluationContext("orders")
        api.set_provider(OFREPProvider(guarded.url()), "without")
        got = api.get_client("without").get_boolean_details("degrade.shed", True, who)
        assert (got.value, got.error_code) == (True, ErrorCode.GENERAL)
        headers = {"Authorization": f"Bearer {TOKEN}"}
        api.set_provider(OFREPProvider(guarded.url(), headers_factory=lambda: headers), "with")
        got = api.get_client("with").get_boolean_details("degrade.shed", True, who)
        assert (got.value, got.error_code) == (False, None)
    api.clear_providers()
