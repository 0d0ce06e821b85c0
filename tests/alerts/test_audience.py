"""Who is told: owners, critical names, quiet windows, the learning time, what people said."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest

from alerts.audience import Audience, Owner, Which, Window
from model.findings import Finding
from zombiewatch.sayings import SayingError, Sayings, until

if TYPE_CHECKING:
    from pathlib import Path

BERLIN = ZoneInfo("Europe/Berlin")
EVERY_DAY = frozenset(range(7))
HOUR_US = 3_600_000_000
NOW_US = 1_790_000_000_000_000


def at(text: str, zone: ZoneInfo = BERLIN) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=zone).timestamp() * 1e6)


def finding(number: int = 1, **more: str | None) -> Finding:
    one = Finding(number, "zombie_task:ns/t1/1", "zombie_task", "It is a zombie.", NOW_US)
    for name, value in {"service": "api", "queue": None, "name": "sync", **more}.items():
        setattr(one, name, value)
    return one


@pytest.fixture
def sayings(tmp_path: Path) -> Sayings:
    return Sayings(tmp_path / "findings.sqlite")


def audience(sayings: Sayings, **more: object) -> Audience:
    said = {"owners": (), "critical": (), "windows": (), "learning_until_us": 0, **more}
    return Audience(sayings=sayings, **said)  # type: ignore[arg-type]


def placed(one: Finding, to: Audience, now_us: int = NOW_US) -> Finding:
    to.place(one, now_us)
    return one


def test_the_first_owner_that_fits_has_it(sayings: Sayings) -> None:
    """Patterns are of the whole value; what a finding does not have, only `*` fits."""
    owners = [
        Owner("billing", Which(queue="bill-*")),
        Owner("data", Which(service="api", name="s?nc")),
        Owner("all", Which()),
    ]
    to = audience(sayings, owners=owners)
    assert placed(finding(queue="bill-eu"), to).team == "billing"
    assert placed(finding(), to).team == "data"
    assert placed(finding(name="syncs"), to).team == "all"
    assert placed(finding(), audience(sayings)).team is None


def test_one_finding_of_a_critical_name_is_critical(sayings: Sayings) -> None:
    """Names of tasks only; what is for information stays so."""
    to = audience(sayings, critical=["pay*"])
    assert placed(finding(name="payroll"), to).severity == "critical"
    assert placed(finding(name="sync"), to).severity == "warning"
    assert placed(finding(name=None), to).severity == "warning"
    info = finding(name="payroll")
    info.severity = "info"
    assert placed(info, to).severity == "info"


@pytest.mark.parametrize(
    ("moment", "quiet"),
    [
        ("2026-11-23T21:59:59", False),  # a Monday
        ("2026-11-23T22:00:00", True),
        ("2026-11-24T05:59:59", True),
        ("2026-11-24T06:00:00", False),
        ("2026-11-24T22:00:00", False),  # Tuesday is not among its days
        ("2026-11-23T05:00:00", False),  # nor is Sunday
    ],
)
def test_a_window_past_midnight_belongs_to_the_day_on_which_it_begins(
    sayings: Sayings, moment: str, *, quiet: bool
) -> None:
    """On Mondays from ten in the evening until six in the morning, by the clock on the wall."""
    window = Window(Which(), 22 * 60, 6 * 60, frozenset({0}), BERLIN, "nightly")
    one = placed(finding(), audience(sayings, windows=[window]), at(moment))
    assert (one.muted, one.muted_why) == (("quiet", "nightly") if quiet else (None, None))


def test_a_window_keeps_to_the_wall_clock_when_that_is_changed() -> None:
    """From two to three: an hour that does not exist in spring, and comes twice in autumn."""
    window = Window(Which(), 2 * 60, 3 * 60, EVERY_DAY, BERLIN, "nightly")
    spring = [window.holds(at("2026-03-29T00:00:00") + k * HOUR_US // 2) for k in range(10)]
    autumn = [window.holds(at("2026-10-25T00:00:00") + k * HOUR_US // 2) for k in range(10)]
    assert spring == [False] * 10
    assert autumn == [False] * 4 + [True] * 4 + [False] * 2
    assert not window.holds(10**19)


def test_a_window_is_for_whom_it_is_meant(sayings: Sayings) -> None:
    """A window of one service leaves the others alone."""
    window = Window(Which(service="batch-*"), 0, 0, EVERY_DAY, BERLIN, "always")
    to = audience(sayings, windows=[window])
    assert placed(finding(service="batch-eu"), to).muted == "quiet"
    assert placed(finding(), to).muted is None


def test_a_new_installation_learns_first(sayings: Sayings) -> None:
    """Nobody is told until the time is over; a restart does not begin it anew."""
    assert sayings.first_start_us(NOW_US) == NOW_US
    assert sayings.first_start_us(NOW_US + HOUR_US) == NOW_US
    to = audience(sayings, learning_until_us=NOW_US + HOUR_US)
    assert placed(finding(), to, NOW_US + HOUR_US - 1).muted == "learning"
    assert placed(finding(), to, NOW_US + HOUR_US).muted is None


def test_an_acknowledgement_holds_for_that_finding(sayings: Sayings, tmp_path: Path) -> None:
    """The same subject found anew is another finding; a restart forgets nothing."""
    sayings.say(finding(7), "ack", reason=" on it ", by="ann", until_us=None, now_us=NOW_US)
    for file in (sayings, Sayings(tmp_path / "findings.sqlite")):
        one = placed(finding(7), audience(file))
        assert (one.muted, one.muted_why) == ("acknowledged", "on it (ann)")
        assert placed(finding(8), audience(file)).muted is None
    sayings.undo(finding(7), by="bob", now_us=NOW_US + 1)
    for file in (sayings, Sayings(tmp_path / "findings.sqlite")):
        assert placed(finding(7), audience(file)).muted is None


def test_with_an_end_it_holds_for_the_subject_until_then(sayings: Sayings) -> None:
    """However often it is found again, and not a moment longer."""
    sayings.say(finding(7), "dismiss", reason="slow", by="ann", until_us=NOW_US + 9, now_us=NOW_US)
    to = audience(sayings)
    assert placed(finding(8), to, NOW_US + 8).muted == "dismissed"
    assert placed(finding(7), to, NOW_US + 9).muted is None


def test_all_that_was_said_is_kept(sayings: Sayings) -> None:
    """What is said later takes back what was said before; who and when stays on record."""
    sayings.say(finding(), "ack", reason="on it", by="ann", until_us=None, now_us=NOW_US)
    sayings.say(finding(), "dismiss", reason="noise", by="bob", until_us=None, now_us=NOW_US + 1)
    sayings.undo(finding(), by="cy", now_us=NOW_US + 2)
    told = [
        (one.action, one.by, one.undone_by, one.undone_us) for one in sayings.history(finding().key)
    ]
    assert told == [
        ("acknowledged", "ann", "bob", NOW_US + 1),
        ("dismissed", "bob", "cy", NOW_US + 2),
    ]
    with pytest.raises(SayingError, match="neither acknowledged nor dismissed"):
        sayings.undo(finding(), by="cy", now_us=NOW_US + 3)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        ({"reason": "  "}, "a reason is needed"),
        ({"reason": "x" * 501}, "500 characters"),
        ({"by": " "}, "say who you are"),
        ({"by": "x" * 101}, "100 characters"),
        ({"until_us": NOW_US}, "in the past"),
    ],
)
def test_what_nobody_could_understand_later_is_refused(
    sayings: Sayings, words: dict[str, object], why: str
) -> None:
    """Every saying has a reason, a name, and an end that is yet to come."""
    said = {"reason": "on it", "by": "ann", "until_us": None, "now_us": NOW_US, **words}
    with pytest.raises(SayingError, match=why):
        sayings.say(finding(), "ack", **said)  # type: ignore[arg-type]
    assert sayings.history(finding().key) == []


def test_an_end_is_a_time_or_a_length_from_now() -> None:
    """As people write them."""
    assert until(None, NOW_US) is None
    assert until("2h", NOW_US) == NOW_US + 2 * HOUR_US
    assert until("1d12h", NOW_US) == NOW_US + 36 * HOUR_US
    assert until("2026-11-26T08:00Z", NOW_US) == at("2026-11-26T08:00", ZoneInfo("UTC"))
    for text in ("tomorrow", "2026-13-45T08:00Z", "", "-5m", "9" * 400):
        with pytest.raises(SayingError, match="write a length like 30m"):
            until(text, NOW_US)
