"""Secrets are taken out before anything is kept."""

from __future__ import annotations

import json

import orjson
import pytest

from collector.scrub import MARK, Scrub, is_secret
from model.signals import unpack
from tests.collector._taken import log_body, taken


@pytest.mark.parametrize(
    "name",
    [
        "authorization", "Authorization", "http.request.header.authorization", "cookie",
        "http.response.header.set-cookie", "set_cookie", "Proxy-Authorization", "access_token",
        "accessToken", "API_TOKEN", "token", "x-auth-token", "db.password", "dbPassword", "PASSWD",
        "client_secret", "clientSecret", "api_key", "apiKey", "X-API-Key", "aws.secret.access.key",
        "AWS_SECRET_ACCESS_KEY", "private_key", "credentials",
    ],
)  # fmt: skip
def test_a_secret_is_known_by_its_name(name: str) -> None:
    """In any spelling: the value of an attribute, and of a key of a JSON line, is not kept."""
    line = json.dumps({"msg": "x", name: "s3cr3t"}).encode() + b"\n"
    found, counts = taken(
        ("logs+json", log_body({"attributes": {name: "s3cr3t"}})), ("lines", line)
    )
    assert counts == {"secrets_scrubbed": 2}
    for one in found:
        assert unpack(one["attr_keys"], one["attr_values"])[name] == MARK


@pytest.mark.parametrize(
    "name",
    [
        "task.token_count", "gen_ai.usage.input_tokens", "max_tokens", "k8s.secret.name",
        "token.type", "secretary", "authority", "cookies_enabled_total", "password_length",
        "request.id", "task.id", "monkey", "api.keyboard",
    ],
)  # fmt: skip
def test_what_only_speaks_of_secrets_stays(name: str) -> None:
    """Counts, names and kinds of them, and words that merely hold such a word."""
    assert not is_secret(name)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            "sent Authorization: Bearer eyJhbGciOi.J9-x_y= to x",
            "sent Authorization: Bearer [] to x",
        ),
        ("bearer abc123", "bearer []"),
        ("curl -H 'Authorization: Basic dXNlcjpwYXNz'", "curl -H 'Authorization: Basic []'"),
        ('{"a": 1, "api_key": "x\\"y", "n": 2}', '{"a": 1, "api_key": "[]", "n": 2}'),
        ('[{"dbPassword" : "hunter2"}]', '[{"dbPassword" : "[]"}]'),
        ("basic knowledge of the bearer is enough", None),
        ("the token count is 5", None),
    ],
)
def test_a_secret_is_known_by_its_form(said: str, told: str | None) -> None:
    """In texts, values, lines that are no JSON, and messages of heartbeats."""
    beat = {"task_id": "t", "ts_us": 1_790_000_000_000_000, "message": said}
    found, counts = taken(
        ("logs+json", log_body({"body": {"stringValue": said}, "attributes": {"x": said}})),
        ("lines", json.dumps({"msg": said}).encode() + b"\n"),
        ("lines", b"at once: " + said.encode() + b"\n" if said[0] not in "[{" else b"{}\n"),
        ("heartbeat", orjson.dumps(beat)),
    )
    clean = said if told is None else told.replace("[]", MARK)
    assert (found[0]["body"], found[1]["body"], found[3]["body"]) == (clean, clean, clean)
    assert unpack(found[0]["attr_keys"], found[0]["attr_values"]) == {"x": clean}
    assert unpack(found[1]["attr_keys"], found[1]["attr_values"]) == {"msg": clean}
    if said[0] not in "[{":
        assert found[2]["body"] == "at once: " + clean
    assert bool(counts.get("secrets_scrubbed")) == (told is not None)


def test_secrets_within_maps_are_taken_out() -> None:
    """At any depth, by their names."""
    said = {"headers": {"authorization": "x", "accept": "y", "more": {"token": 5}}}
    deep = {"list": [{"password": {"old": "x"}}, 1]}
    [one], _ = taken(("logs+json", log_body({"attributes": {**said, **deep}})))
    told = unpack(one["attr_keys"], one["attr_values"])
    assert json.loads(told["headers"]) == {
        "authorization": MARK, "accept": "y", "more": {"token": MARK},
    }  # fmt: skip
    assert json.loads(told["list"]) == [{"password": MARK}, 1]


def test_more_can_be_named_as_secret() -> None:
    """By patterns on names and on texts."""
    scrub = Scrub(names=(r"(?i)\bssn$",), texts=(r"\b\d{4}-\d{4}-\d{4}\b",))
    said = {"user.ssn": "078-05", "note": "card 1111-2222-3333 used", "assn": "kept"}
    body = {"stringValue": "card 1111-2222-3333"}
    [one], counts = taken(("logs+json", log_body({"body": body, "attributes": said})), scrub=scrub)
    assert unpack(one["attr_keys"], one["attr_values"]) == {
        "user.ssn": MARK, "note": f"card {MARK} used", "assn": "kept",
    }  # fmt: skip
    assert one["body"] == f"card {MARK}"
    assert counts == {"secrets_scrubbed": 3}


def test_a_secret_in_a_column_of_ours_is_none() -> None:
    """What fills a column is read after it was scrubbed, not before."""
    [one], _ = taken(("logs+json", log_body({"attributes": {"task.name": "run Bearer abc123"}})))
    assert one["task_name"] == f"run Bearer {MARK}"
