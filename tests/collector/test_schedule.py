"""When a job is due: periods, cron, and the two nights a year on which the clock jumps."""

from __future__ import annotations

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collector.schedule import Schedule, refusal_of_cron, usable

BERLIN = "Europe/Berlin"
NIGHTLY = Schedule("backup", cron="30 2 * * *", time_zone=BERLIN)
SECOND, HOUR = 1_000_000, 3_600_000_000


def at(text: str) -> int:
    """Return a time in UTC as microseconds."""
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * SECOND


def dues(one: Schedule, after: str, number: int) -> list[str]:
    """Return so many due times after *after*, in UTC."""
    now, found = at(after), []
    for _ in range(number):
        due = one.next_after(now, None)
        assert due is not None
        found.append(datetime.fromtimestamp(due / SECOND, UTC).strftime("%m-%d %H:%M"))
        now = due
    return found


class TestCron:
    def test_a_zone_moves_with_its_summer_time(self) -> None:
        """02:30 in Berlin is 01:30 UTC in winter and 00:30 in summer."""
        assert dues(NIGHTLY, "2026-01-01", 2) == ["01-01 01:30", "01-02 01:30"]
        assert dues(NIGHTLY, "2026-07-01", 2) == ["07-01 00:30", "07-02 00:30"]

    def test_what_falls_into_the_hour_that_is_left_out_comes_right_after_it(self) -> None:
        """On 29 March 2026 there is no 02:30: cron runs it at 03:00, once, which is 01:00 UTC."""
        assert dues(NIGHTLY, "2026-03-28 12:00", 2) == ["03-29 01:00", "03-30 00:30"]

    def test_what_falls_into_the_hour_that_comes_twice_comes_once(self) -> None:
        """On 25 October 2026 there are two 02:30: cron runs it at the first, 00:30 UTC."""
        assert dues(NIGHTLY, "2026-10-24 12:00", 2) == ["10-25 00:30", "10-26 01:30"]

    @pytest.mark.parametrize("after", ["2026-10-25 00:30", "2026-10-25 01:10", "2026-10-25 01:45"])
    def test_within_the_second_of_the_two_hours_it_does_not_come_again(self, after: str) -> None:
        """Whoever starts in between must not hear of a due time that has passed."""
        assert dues(NIGHTLY, after, 1) == ["10-26 01:30"]

    def test_what_runs_each_quarter_of_an_hour_runs_in_both(self) -> None:
        """With a star in the hour it comes as often as the clock shows it, and skips nothing."""
        quarters = Schedule("sync", cron="*/15 * * * *", time_zone=BERLIN)
        assert (
            dues(quarters, "2026-10-24 23:50", 9)[:9]
            == [f"10-25 {hour:02}:{minute:02}" for hour in range(3) for minute in (0, 15, 30, 45)][
                :9
            ]
        )
        assert dues(quarters, "2026-03-29 00:40", 3) == [
            "03-29 00:45",
            "03-29 01:00",
            "03-29 01:15",
        ]

    def test_words_stand_for_fields(self) -> None:
        """@daily is midnight where the job is."""
        daily = Schedule("report", cron="@daily", time_zone=BERLIN)
        assert dues(daily, "2026-01-01", 1) == ["01-01 23:00"]

    def test_a_leap_day_is_waited_for(self) -> None:
        """Four years are not too far."""
        leap = Schedule("leap", cron="0 0 29 2 *")
        assert dues(leap, "2026-03-01", 1) == ["02-29 00:00"]
        assert leap.latest(at("2024-01-01"), at("2026-11-25"), None) == at("2024-02-29")

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("0 3 * *", "five fields"),
            ("0 0 3 * * *", "five fields"),
            ("@reboot", "five fields"),
            ("60 3 * * *", "Bad minute"),
            ("0 3 * * MOONDAY", "Bad day-of-week"),
            ("0 0 31 2 *", "Bad day-of-month"),
        ],
    )
    def test_what_is_no_cron_is_refused_with_the_field_at_fault(self, text: str, said: str) -> None:
        """Also a day that never comes."""
        assert said in str(refusal_of_cron(text))

    @pytest.mark.parametrize("text", ["0 3 * * *", "*/5 9-17 * * MON-FRI", "@Daily", "0 0 L * *"])
    def test_what_is_cron_is_taken(self, text: str) -> None:
        """Names of days, steps, and words in any case."""
        assert refusal_of_cron(text) is None

    @settings(max_examples=60, deadline=None)
    @given(
        now=st.integers(at("2026-01-01") // SECOND, at("2027-01-01") // SECOND),
        back=st.integers(1, 90 * 24 * 3600),
        cron=st.sampled_from(["30 2 * * *", "*/20 * * * *", "0 9 * * MON", "15 */6 1 * *"]),
        zone=st.sampled_from([BERLIN, "UTC", "America/New_York", "Australia/Lord_Howe"]),
    )
    def test_the_latest_is_the_last_of_those_that_come_one_after_the_other(
        self, now: int, back: int, cron: str, zone: str
    ) -> None:
        """They only ever go forward, and the same one is found from behind."""
        one, after, until = Schedule("x", cron=cron, time_zone=zone), now - back, now
        found, due = None, one.next_after(after * SECOND, None)
        while due is not None and due <= until * SECOND:
            assert due > (found or after * SECOND)
            assert one.has(due, None)
            found, due = due, one.next_after(due, None)
        assert one.latest(after * SECOND, until * SECOND, None) == found


class TestPeriod:
    ONE = Schedule("sync", every_s=3600.0)

    def test_it_is_counted_from_the_last_sign(self) -> None:
        """Each period after the anchor, and the anchor itself is none."""
        assert self.ONE.next_after(0, 5 * SECOND) == HOUR + 5 * SECOND
        assert self.ONE.next_after(HOUR + 5 * SECOND, 5 * SECOND) == 2 * HOUR + 5 * SECOND
        assert self.ONE.has(2 * HOUR + 5 * SECOND, 5 * SECOND)
        assert not self.ONE.has(2 * HOUR, 5 * SECOND)

    def test_without_a_sign_nothing_is_due(self) -> None:
        """Nobody knows when it began."""
        assert (self.ONE.next_after(0, None), self.ONE.latest(0, HOUR, None)) == (None, None)

    def test_the_latest_is_within_its_bounds(self) -> None:
        """After the one, not after the other."""
        assert self.ONE.latest(0, 5 * HOUR - 1, 0) == 4 * HOUR
        assert self.ONE.latest(4 * HOUR, 5 * HOUR - 1, 0) is None
        assert self.ONE.latest(0, HOUR - 1, 0) is None


@pytest.mark.parametrize(
    ("name", "good"),
    [("a", True), ("Büro 世界", True), ("x" * 200, True), ("x" * 201, False), ("", False),
     (" a", False), ("a\n", False), ("a\tb", False), ("a\x00b", False)],
)  # fmt: skip
def test_a_name_is_what_can_be_shown_in_one_line(name: str, *, good: bool) -> None:
    """Neither empty, nor longer than 200 characters, nor with what cannot be seen."""
    assert usable(name) is good


def test_the_zones_are_there() -> None:
    """Small containers have none of their own: the package brings them."""
    assert ZoneInfo("Australia/Lord_Howe").key == "Australia/Lord_Howe"
