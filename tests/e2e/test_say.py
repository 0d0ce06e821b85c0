"""People's say: a finding is acknowledged, dismissed, taken back, by hand and over HTTP."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e._scheduler import QUICK, Scheduler
from tests.e2e._sidecar import Running, call, eventually, zombiewatch

if TYPE_CHECKING:
    from collections.abc import Iterator

SETTINGS = {
    **QUICK,
    "owners": [{"team": "night-shift", "service": "api"}],
    "evaluate_every_s": 0.2,
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A sidecar that has found one zombie."""
    with Running(tmp_path_factory.mktemp("say"), SETTINGS) as sidecar:
        Scheduler(sidecar).loses("lost")
        yield sidecar
        assert sidecar.stop() == 0, sidecar.log


def number(sidecar: Running) -> int:
    (one,) = sidecar.findings("all", detector="zombie_task")
    return int(one["id"])


def say(sidecar: Running, *words: str) -> tuple[int, str, str]:
    done = zombiewatch("findings", *words, "--url", sidecar.url())
    return done.returncode, done.stdout, done.stderr


def counted(sidecar: Running) -> tuple[int, int]:
    """Return how many zombies tell somebody, and how many nobody."""
    text = call("GET", f"{sidecar.url()}/metrics").body.decode()
    lines = [line for line in text.splitlines() if 'detector="zombie_task"' in line]
    told = [x for x in lines if x.startswith("zombiewatch_findings{") and 'team="night-shift"' in x]
    muted = [x for x in lines if x.startswith("zombiewatch_findings_muted{")]
    return (
        sum(int(float(line.rsplit(" ", 1)[1])) for line in told),
        sum(int(float(line.rsplit(" ", 1)[1])) for line in muted),
    )


def test_a_finding_is_acknowledged_dismissed_and_told_again(found: Running) -> None:
    """It stays on record all the while; whom nobody is told of is counted apart."""
    one = number(found)
    eventually((1, 0), lambda: counted(found))
    code, said, errors = say(found, "ack", str(one), "--reason", "on it", "--by", "ann")
    assert (code, errors) == (0, "")
    assert said == f"Finding {one} (zombie_task lost/1) is acknowledged: on it (ann).\n"
    assert "acknowledged: on it (ann)" in " ".join(say(found)[1].split())
    eventually((0, 1), lambda: counted(found))

    assert say(found, "dismiss", str(one), "--reason", "a test", "--until", "2h")[0] == 0
    assert say(found) == (0, "Nothing found (open).\n", "")
    assert "lost/1" in say(found, "--state", "dismissed")[1]
    eventually((0, 1), lambda: counted(found))

    code, said, _ = say(found, "undo", str(one))
    assert (code, said) == (
        0,
        f"Finding {one} (zombie_task lost/1) tells who it concerns.\n",
    )
    eventually((1, 0), lambda: counted(found))
    kept = found.get(f"/api/v1/findings/{one}").json()
    assert kept["team"] == "night-shift"
    assert [each["action"] for each in kept["said"]] == ["acknowledged", "dismissed"]
    assert all(each["undone_at"] for each in kept["said"])
    assert say(found, "undo", str(one)) == (
        1,
        "",
        f"zombiewatch: finding {one} is neither acknowledged nor dismissed\n",
    )


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["ack", "999999", "--reason", "x"], "there is no finding 999999"),
        (["ack", "{one}", "--reason", " "], "a reason is needed"),
        (["ack", "{one}", "--reason", "x", "--until", "soon"], "until is 'soon': write a length"),
        (["ack", "{one}", "--reason", "x", "--until", "2001-01-01T00:00Z"], "is in the past"),
    ],
)
def test_what_cannot_be_kept_is_refused(found: Running, words: list[str], why: str) -> None:
    """With the way to mend it, and without a change."""
    words = [word.format(one=number(found)) for word in words]
    code, said, errors = say(found, *words)
    assert (code, said) == (1, "")
    assert errors.startswith("zombiewatch: ")
    assert why in errors


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"by=me&reason=x", {"Content-Type": "application/x-www-form-urlencoded"}, 415),
        (b'{"by":"me","reason":"x"}', {"Content-Type": "text/plain"}, 415),
        (b"{", {"Content-Type": "application/json"}, 400),
        (b'{"by":"me","reason":"x","untl":"2h"}', {"Content-Type": "application/json"}, 400),
        (b'{"reason":"x"}', {"Content-Type": "application/json"}, 400),
    ],
)
def test_what_a_page_of_somebody_else_could_send_changes_nothing(
    found: Running, body: bytes, headers: dict[str, str], status: int
) -> None:
    """A form or plain text needs no permission across sites; JSON does. And it must be sound."""
    url = f"{found.url()}/api/v1/findings/{number(found)}/ack"
    answer = call("POST", url, body, headers)
    assert answer.status == status
    assert "error" in json.loads(answer.body)
    one: dict[str, Any] = found.get(f"/api/v1/findings/{number(found)}").json()
    assert one["muted"] is None
