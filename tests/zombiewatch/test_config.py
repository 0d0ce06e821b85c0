"""Configuration: what is read, what wins, and what a refusal says to the user."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from zombiewatch import reference
from zombiewatch._nearest import distance, dotted, leaves, nearest
from zombiewatch._values import duration, size
from zombiewatch.config import Config, Follow
from zombiewatch.sources import ConfigError, load, variable

Writer = Callable[[str | bytes], Path]
SETTINGS = sorted(leaves(Config))
THRESHOLDS = {"zombie_task": {"report_grace_s": 30.0, "ratio": 0.5}, "stuck_queue": {"age_s": 60.0}}


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Writer:
    """Write a text to `config.yaml` in an own folder, and return its (relative) path."""
    monkeypatch.chdir(tmp_path)

    def file(text: str | bytes) -> Path:
        data = text if isinstance(text, bytes) else text.encode()
        Path("config.yaml").write_bytes(data)
        return Path("config.yaml")

    return file


def refusal(
    path: Path | None = None,
    env: Mapping[str, str] | None = None,
    overrides: Mapping[str, object] | None = None,
    known: Mapping[str, Mapping[str, float]] | None = None,
) -> str:
    """Return what `load` says when it refuses."""
    with pytest.raises(ConfigError) as caught:
        load(path, env or {}, overrides, detector_thresholds=known)
    return str(caught.value)


class TestDefaults:
    def test_nothing_is_needed(self) -> None:
        """Without file and variables, every default is in force."""
        config = load(None, {})

        assert Config() == config
        assert (config.http.port, config.otlp.port) == (9797, 4318)
        assert (config.abandon_after_s, config.retention.max_age_s) == (7 * 86_400.0, 30 * 86_400.0)
        assert (
            config.store.memory_limit_bytes,
            config.retention.max_bytes,
        ) == (320 * 2**20, 50 * 2**30)

    @pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "---\n", "{}", "\ufeff# BOM\n"])
    def test_an_empty_file_is_fine(self, write: Writer, text: str) -> None:
        """A file that sets nothing is the same as no file."""
        assert Config() == load(write(text), {})

    def test_a_section_that_is_all_commented_out_is_fine(self, write: Writer) -> None:
        """A section or setting with nothing after the colon keeps its default."""
        assert Config() == load(write("http:\n#  port: 1\nfollow:\nstore:\n  hot_rows:\n"), {})

    def test_every_setting_says_what_it_does(self) -> None:
        """Each setting's description is one sentence, and its default is one that is accepted."""
        for line in reference.markdown().splitlines():
            if line.startswith("| `"):
                assert re.search(r"\| [A-Z`][^|]+\. \|$", line), line

    def test_settings_cannot_be_changed_afterwards(self) -> None:
        """A configuration is frozen."""
        with pytest.raises(ValueError, match="frozen"):
            load(None, {}).http.port = 1  # type: ignore[misc]


class TestSources:
    def test_the_file_is_read(self, write: Writer) -> None:
        """Sections, lists, lengths of time and sizes are read from YAML."""
        config = load(
            write(
                "retention: {max_age_s: 1d12h, max_bytes: 10GB}\n"
                "follow:\n- path: /var/log/*.log\n  side: agent\n  expect_every_s: 30s\n"
                "sides: {on: dispatcher}\nlog: {json: true}\n"
            ),
            {},
        )

        assert (config.retention.max_age_s, config.retention.max_bytes) == (129_600.0, 10**10)
        assert (Follow(path="/var/log/*.log", side="agent", expect_every_s=30),) == config.follow
        assert config.sides == {"on": "dispatcher"}
        assert config.log.as_json

    def test_the_environment_wins_over_the_file(self, write: Writer) -> None:
        """A variable replaces its own setting and no other."""
        path = write("retention:\n  max_age_s: 1h\n  max_bytes: 1GiB\n")

        config = load(path, {"ZOMBIEWATCH_RETENTION__MAX_AGE_S": "86400", "HOME": "/"})

        assert (config.retention.max_age_s, config.retention.max_bytes) == (86_400.0, 2**30)

    def test_overrides_win_over_the_environment(self, write: Writer) -> None:
        """What the command line says comes last, dotted or nested, as text or as value."""
        path, env = write("http: {port: 1}"), {"ZOMBIEWATCH_HTTP__PORT": "2"}

        assert load(path, env).http.port == 2
        assert load(path, env, {"http.port": "3"}).http.port == 3
        assert load(path, env, {"http": {"port": 4}}).http.port == 4

    def test_variables_are_yaml(self) -> None:
        """Lists and mappings come from a variable as YAML."""
        env = {
            "ZOMBIEWATCH_FOLLOW": "[{path: a.log, from_end: true}]",
            "ZOMBIEWATCH_SIDES": "{api: dispatcher}",
            "ZOMBIEWATCH_DETECTORS__ZOMBIE_TASK__REPORT_GRACE_S": "2m",
        }
        config = load(None, env, detector_thresholds=THRESHOLDS)

        assert (Follow(path="a.log", from_end=True),) == config.follow
        assert config.sides == {"api": "dispatcher"}
        assert config.detectors == {"zombie_task": {"report_grace_s": 120.0}}

    @pytest.mark.parametrize("token", ["1234567890123456", "@[{'#&*!%:- token", "null" * 4])
    def test_texts_are_taken_as_they_are(self, token: str) -> None:
        """A variable for a text is not read as YAML: a token may look like a number or worse."""
        token = token.replace(" ", "_")
        config = load(None, {"ZOMBIEWATCH_HTTP__TOKEN": token, "ZOMBIEWATCH_NAMESPACE": "123"})

        assert config.http.token is not None
        assert token == config.http.token.get_secret_value()
        assert config.namespace == "123"

    def test_an_empty_variable_is_not_set(self) -> None:
        """Templates often set what nobody chose to nothing; that keeps the default."""
        assert Config() == load(None, {"ZOMBIEWATCH_HTTP__TOKEN": "", "ZOMBIEWATCH_PRESETS": " "})

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("ZOMBIEWATCH_CONFIG", "/etc/zombiewatch.yaml"),
            ("ZOMBIEWATCH_SERVICE_HOST", "10.0.0.1"),
            ("ZOMBIEWATCH_SERVICE_PORT_HTTP", "9797"),
            ("ZOMBIEWATCH_URL", "http://10.0.0.1:9797"),  # what `zombiewatch exec` goes by
            ("ZOMBIEWATCH_PORT", "tcp://10.0.0.1:9797"),
            ("ZOMBIEWATCH_PORT_9797_TCP_ADDR", "10.0.0.1"),
            ("ZOMBIEWATCH_OTLP_PORT", "tcp://10.0.0.1:4318"),
        ],
    )
    def test_variables_that_are_not_ours_are_left_alone(self, name: str, value: str) -> None:
        """Kubernetes sets variables for a Service named zombiewatch; they stop nothing."""
        assert Config() == load(None, {name: value})

    def test_one_alias_for_two_sections_stays_two_sections(self, write: Writer) -> None:
        """A variable changes one of two sections that share an anchor, not both."""
        path = write("http: &a {host: localhost, port: 0}\notlp: *a\n")

        config = load(path, {"ZOMBIEWATCH_HTTP__PORT": "5"})

        assert (config.http.port, config.otlp.port) == (5, 0)


class TestRefusals:
    def test_an_unknown_setting_names_the_nearest(self, write: Writer) -> None:
        """The refusal says where, what, which was meant, and what there is."""
        text = refusal(write("# ours\nretention:\n  max_agee_s: 1\n"))

        assert text == (
            "config.yaml:3: retention.max_agee_s is not a setting;"
            " did you mean retention.max_age_s? (settings of retention: max_age_s, max_bytes)"
        )

    def test_a_setting_in_the_wrong_section_is_found(self, write: Writer) -> None:
        """A name that is right elsewhere is named with its section."""
        text = refusal(write("max_age_s: 1d\n"))

        assert "max_age_s is not a setting; did you mean retention.max_age_s? (settings:" in text

    def test_a_setting_unlike_any_is_to_be_removed(self, write: Writer) -> None:
        """Where nothing comes near, nothing is guessed."""
        assert "frobnicate is not a setting; remove it (settings:" in refusal(
            write("frobnicate: 1")
        )

    def test_all_problems_are_told_at_once(self, write: Writer) -> None:
        """File, variables and command line are refused together, each with its place."""
        text = refusal(
            write("http:\n  port: 70000\nfollow:\n- service: x\n- path: a\n  sides: agent\n"),
            {"ZOMBIEWATCH_HTTP_PORT": "1", "ZOMBIEWATCH_EVALUATE_EVERY_S": "0.1"},
            {"log.level": "infos"},
        )

        assert (
            text
            == """\
The configuration has 6 problems:
  environment: ZOMBIEWATCH_HTTP_PORT sets nothing; did you mean ZOMBIEWATCH_HTTP__PORT?
  config.yaml:2: http.port is 70000; it must be at most 65535
  config.yaml:4: follow[0].path is missing; add it: it has no default
  config.yaml:6: follow[1].sides is not a setting; did you mean follow[1].side? \
(settings of follow[1]: path, service, side, from_end, expect_every_s)
  ZOMBIEWATCH_EVALUATE_EVERY_S: evaluate_every_s is 0.1; it must be at least 0.2
  command line: log.level is 'infos'; it must be 'debug', 'info', 'warning' or 'error'; \
did you mean info?"""
        )

    @given(data=st.data())
    def test_one_wrong_letter_in_a_setting_is_mended(self, data: st.DataObject) -> None:
        """Any setting misspelt by one edit is refused, and the right one is among those named."""
        path = data.draw(st.sampled_from(SETTINGS))
        index = data.draw(st.integers(0, len(path) - 1))
        right = path[index]
        wrong = data.draw(one_edit(right))
        assume(not any(one[: index + 1] == (*path[:index], wrong) for one in SETTINGS))
        text = refusal(overrides={".".join((*path[:index], wrong)): 1})

        named = re.search(r"did you mean (.*?)\?", text)
        assert named, text
        assert dotted((*path[:index], right)) in named[1].split(" or ")

    @given(data=st.data())
    def test_one_wrong_letter_in_a_variable_is_mended(self, data: st.DataObject) -> None:
        """Any variable misspelt by one edit is refused, and the right one is among those named."""
        right = variable(data.draw(st.sampled_from(SETTINGS)))
        bare = right.removeprefix("ZOMBIEWATCH_")
        wrong = "ZOMBIEWATCH_" + data.draw(one_edit(bare, string.ascii_uppercase + "_"))
        assume(wrong not in {variable(one) for one in SETTINGS})
        text = refusal(env={wrong: "1"})

        named = re.search(r"did you mean (.*?)\?", text)
        assert named, text
        assert right in named[1].split(" or ")

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("http: 3", "http is 3; it must be a mapping: names with values, one to a line"),
            ("http:\n  port: '80'", "http.port is '80'; it must be a whole number"),
            ("scrub: {texts: ['(x']}", "scrub.texts[0] is '(x'; it must be a pattern that RE2"),
            ("scrub: {names: ['(?=x)']}", "invalid perl operator"),
            ("http: {port: true}", "http.port is true; it must be a whole number"),
            ("celery: {broker: 'sqs://u:pw@h'}", "celery.broker begins with sqs://; it must be"),
            ("celery: {broker: pw}", "celery.broker is no address; it must be like redis://"),
            ("celery: {results: 'redis://h/1'}", "celery.broker is not set; name the broker too"),
            ("namespace: no", "namespace is false; it must be text; put it in quotes"),
            ("namespace: a/b", "namespace is 'a/b'; it must be 1 to 64 letters"),
            ("follow: a.log", "follow is 'a.log'; it must be a list: one item to a line"),
            ("sides: {api: agnet}", "sides.api is 'agnet'; it must be 'dispatcher' or 'agent'"),
            (
                "rate_bin_s: soon",
                "rate_bin_s is 'soon'; it must be a number of seconds, or like 30s",
            ),
            ("rate_bin_s: .inf", "rate_bin_s is inf; it must be a number of seconds, or like 30s"),
            ("retention: {max_bytes: 1.5}", "it must be a number of bytes, or like 512MiB or 10GB"),
            ("owners: [{service: a}]", "owners[0].team is missing"),
            ("quiet: [{begins: '25:00', ends: '06:00'}]", "quiet[0].begins is '25:00'; it must be"),
            ("quiet: [{begins: 22:00, ends: '06:00'}]", "quiet[0].begins is 1320; it must be text"),
            (
                "quiet: [{begins: '22:00', ends: '06:00', time_zone: Berlin}]",
                "quiet[0].time_zone is 'Berlin'; it must be the name of a time zone",
            ),
            ("log: {json: maybe}", "log.json is 'maybe'; it must be true or false"),
            ("otlp: {port: 9797}", "http.port and otlp.port are both 9797; give one of the two"),
            (
                "rules: [{fase: started}]",
                "rules[0].fase is not a setting; did you mean rules[0].phase",
            ),
            (
                "rules: [{phase: begun}]",
                "rules[0].phase is 'begun'; 'begun' is not a phase; phases",
            ),
            ("http: {host: ''}", "http.host is ''; it must not be empty"),
            (
                "schedules: [{name: a}]",
                "schedules[0] has no every_s or cron; set one of the two, like cron: '0 3 * * *'",
            ),
            (
                "schedules: [{name: a, every_s: 1h, cron: '@daily'}]",
                "schedules[0] has both every_s and cron; remove one of the two",
            ),
            (
                "schedules: [{name: a, every_s: 1h, time_zone: UTC}]",
                "schedules[0].time_zone belongs to cron, and every_s is set; remove it",
            ),
            ("schedules: [{name: a, cron: '0 3 * *'}]", "it must have five fields (minute hour"),
            (
                "schedules: [{name: a, cron: '0 3 * * 9'}]",
                "schedules[0].cron is '0 3 * * 9'; cron does not understand it: Bad day-of-week",
            ),
            (
                "schedules: [{name: a, cron: '@daily', time_zone: Berlin}]",
                "schedules[0].time_zone is 'Berlin'; it must be the name of a time zone",
            ),
            (
                "schedules: [{name: a/b, every_s: 1h}]",
                "schedules[0].name is 'a/b'; it must be 1 to",
            ),
            (
                "schedules: [{name: a, every_s: 1h}, {name: a, cron: '@daily'}]",
                "two schedules are called a; give each its own name",
            ),
            ("schedules: [{name: a, evry_s: 1h}]", "did you mean schedules[0].every_s"),
            ("pings: none", "pings is 'none'; it must be 'any' or 'declared-only'"),
        ],
    )
    def test_a_wrong_value_says_what_it_must_be(self, write: Writer, text: str, said: str) -> None:
        """Each wrong value is shown with what would be right."""
        assert said in refusal(write(text))

    def test_a_key_that_stands_twice_is_refused(self, write: Writer) -> None:
        """YAML would keep the last of two silently."""
        assert refusal(write("http:\n  port: 1\nlabels_max: 3\nhttp:\n  port: 2\n")).endswith(
            "config.yaml:4: http is set twice, first in line 1; keep one of the two\n"
            "  config.yaml:5: http.port is set twice, first in line 2; keep one of the two"
        )

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("a: 1\nb: [1, 2\n", "config.yaml:3: is not valid YAML"),
            ("http:\n\tport: 1\n", "config.yaml:2: is not valid YAML"),
            ("http:\n\tport: 1\n", "indent with spaces, not tabs"),
            ("a: 1\n---\nb: 2\n", "config.yaml:2: is not valid YAML"),
            ("a: 1\n---\nb: 2\n", "remove the second ---"),
            ("? [a, b]\n: 1\n", "config.yaml:1: has a list or mapping as the name of a setting"),
            ("- a\n- b\n", "config.yaml:1: holds no settings"),
            ("namespace: !!python/object:os.system x\n", "config.yaml:1: is not valid YAML"),
            ("namespace: 2024-99-99\n", "config.yaml: holds a date or number that is none"),
            ("a: 1\nb: \x00\n", "config.yaml:2: holds a character that YAML does not allow"),
            ("[" * 5000, "config.yaml: is nested too deeply"),
            (b"a: \xff\n", "config.yaml: is not text in UTF-8"),
        ],
    )
    def test_what_is_not_yaml_says_where(self, write: Writer, text: str, said: str) -> None:
        """A broken file is refused with its line, where that is known."""
        assert said in refusal(write(text))

    def test_a_file_that_is_not_there_is_refused(self, tmp_path: Path) -> None:
        """A named file must exist; a folder is none."""
        assert "there is no such file; make it" in refusal(tmp_path / "none.yaml")
        assert "cannot be read" in refusal(tmp_path)

    def test_a_broken_variable_is_refused(self) -> None:
        """A variable that is not YAML says its name."""
        assert refusal(env={"ZOMBIEWATCH_FOLLOW": "[{"}).startswith(
            "ZOMBIEWATCH_FOLLOW: follow is not valid YAML"
        )

    @given(st.text(max_size=200))
    def test_any_text_is_read_or_refused(self, text: str) -> None:
        """No text, however broken, raises anything but `ConfigError`."""
        with suppress(ConfigError):
            load(None, {"ZOMBIEWATCH_FOLLOW": text, "ZOMBIEWATCH_DETECTORS": text})


class TestListening:
    @pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost"])
    def test_loopback_needs_no_token(self, host: str) -> None:
        """Whoever is on the machine may speak to it."""
        assert host == load(None, {}, {"http.host": host}).http.host

    @pytest.mark.parametrize(
        "host", ["192.168.1.1", "::", "10.0.0.1", "example.org", "localhost.org"]
    )
    @pytest.mark.parametrize("section", ["http", "otlp", "grpc"])
    def test_beyond_loopback_a_token_is_needed(self, host: str, section: str) -> None:
        """An open port is refused with the three ways out."""
        text = refusal(env={f"ZOMBIEWATCH_{section.upper()}__HOST": host})

        assert text.startswith(
            f"ZOMBIEWATCH_{section.upper()}__HOST: {section}.host is '{host}',"
            " which other machines can reach, and no token is set; set a token beside it"
        )
        assert "host: 127.0.0.1" in text
        assert "listen_beyond_loopback_without_token: true" in text

    def test_a_token_or_consent_opens_it(self) -> None:
        """With a token, or with the risk taken on, any address is fine."""
        assert load(None, {}, {"http.host": "::", "http.token": "x" * 16}).http.host == "::"
        consent = {"otlp.host": "::", "otlp.listen_beyond_loopback_without_token": True}
        assert load(None, {}, consent).otlp.host == "::"

    @pytest.mark.parametrize("token", ["short", "x" * 15, "with a space in it", "ünicode-" * 4])
    def test_a_weak_token_is_refused_and_not_shown(self, token: str) -> None:
        """A token must be long and fit a header; no message repeats it."""
        text = refusal(env={"ZOMBIEWATCH_HTTP__TOKEN": token})

        assert "http.token is not usable; it must be 16 or more visible ASCII" in text
        assert token not in text

    def test_a_token_is_not_shown(self) -> None:
        """A configuration can be printed without its tokens."""
        assert "secret" not in repr(load(None, {}, {"http.token": "secret-secret-secret"}))


class TestDetectors:
    def test_thresholds_and_overrides_are_read(self, write: Writer) -> None:
        """Thresholds are numbers, lengths or sizes; overrides select by service, queue or name."""
        path = write(
            "detectors:\n  zombie_task:\n    enabled: false\n    report_grace_s: 2m\n"
            "    overrides:\n    - {name: 'sync_*', report_grace_s: 1h}\n"
            "    - {queue: 7, ratio: 1}\n"
        )

        assert load(path, {}, detector_thresholds=THRESHOLDS).detectors == {
            "zombie_task": {
                "enabled": False,
                "report_grace_s": 120.0,
                "overrides": [
                    {"name": "sync_*", "report_grace_s": 3600.0},
                    {"queue": "7", "ratio": 1.0},
                ],
            }
        }

    def test_unknown_names_are_refused_with_the_nearest(self, write: Writer) -> None:
        """Detectors, thresholds and what overrides hold are all checked, where they are known."""
        path = write(
            "detectors:\n  zombie_tusk: {}\n  stuck_queue:\n    age: 1\n  zombie_task:\n"
            "    overrides:\n    - {names: a, ratio: 1}\n"
        )

        assert (
            refusal(path, known=THRESHOLDS)
            == """\
The configuration has 4 problems:
  config.yaml:2: there is no detector zombie_tusk; did you mean detectors.zombie_task? \
(stuck_queue, zombie_task)
  config.yaml:4: detectors.stuck_queue.age is not a setting; did you mean \
detectors.stuck_queue.age_s? (settings of detectors.stuck_queue: enabled, overrides, age_s)
  config.yaml:7: detectors.zombie_task.overrides[0].names is not a setting; did you mean \
detectors.zombie_task.overrides[0].name? (settings of detectors.zombie_task.overrides[0]: \
service, queue, name, report_grace_s, ratio)
  config.yaml:6: detectors.zombie_task.overrides is [{'names': 'a', 'ratio': 1}]; \
each override needs service, queue or name, and at least one threshold"""
        )

    def test_a_policy_that_counts_findings_of_no_detector_is_refused(self, write: Writer) -> None:
        """It would never raise a level, and nobody would know."""
        path = write(
            "degrade:\n  policies:\n  - service: shop\n"
            "    rungs: [{level: L1, findings: [zombie_tusk]}]\n"
        )
        assert (
            refusal(path, known=THRESHOLDS)
            == "config.yaml:4: there is no detector zombie_tusk; did you mean zombie_task?"
        )

    @pytest.mark.parametrize(
        ("settings", "said"),
        [
            ({"enabled": 3}, "detectors.zombie_task.enabled is 3.0; it must be true or false"),
            ({"ratio": True}, "detectors.zombie_task.ratio is True; it must be a number"),
            ({"overrides": 1}, "overrides is 1.0; it must be a list of mappings"),
            ({"ratio": {}}, "ratio is {}; it must be a number of seconds, or like 30s"),
        ],
    )
    def test_a_wrong_kind_is_refused(self, settings: dict[str, object], said: str) -> None:
        """`enabled` is a truth value, `overrides` a list, a threshold a number."""
        assert said in refusal(overrides={"detectors": {"zombie_task": settings}})


class TestUnits:
    @pytest.mark.parametrize(
        ("text", "seconds"),
        [("30s", 30), ("10m", 600), ("2h", 7200), ("7d", 604_800), ("1h 30m", 5400), ("1.5", 1.5)],
    )
    def test_lengths_of_time(self, text: str, seconds: float) -> None:
        """A length is a number and a unit, or several of them added."""
        assert seconds == duration(text)

    @pytest.mark.parametrize(
        ("text", "count"),
        [("512MiB", 2**29), ("10GB", 10**10), ("1.5 KiB", 1536), ("7", 7), ("1Ti", 2**40)],
    )
    def test_sizes(self, text: str, count: int) -> None:
        """A size is a number and a unit of 1000s or, with an i, of 1024s."""
        assert count == size(text)

    @pytest.mark.parametrize("text", ["", "s", "1x", "-1s", "1 2", "½h", "1h30", True, None, []])
    def test_what_is_no_length_is_refused(self, text: object) -> None:
        """Nothing is guessed."""
        with pytest.raises(ValueError, match="a number of seconds"):
            duration(text)

    @given(st.integers(0, 10**9))
    def test_the_reference_shows_what_can_be_read(self, value: int) -> None:
        """What is shown as a default means that default when it is written back."""
        assert value == duration(reference.shown("x_s", float(value)))
        assert value == size(reference.shown("x_bytes", value))


class TestNearest:
    @given(st.text("ab_", max_size=6), st.text("ab_", max_size=6))
    def test_distance_is_a_distance(self, one: str, other: str) -> None:
        """Nothing is 0 from itself only, and the way back is as long."""
        assert (distance(one, other) == 0) == (one == other)
        assert distance(one, other) == distance(other, one) <= max(len(one), len(other))

    def test_a_name_without_its_unit_is_near(self) -> None:
        """The commonest slip is to leave the unit away, or to write dashes."""
        assert nearest("memory_limit", ["memory_limit_bytes", "x"]) == ["memory_limit_bytes"]
        assert nearest("Max-Age-S", ["max_age_s", "max_bytes"]) == ["max_age_s"]


class TestReference:
    def test_every_setting_is_in_it(self) -> None:
        """Each setting stands in the reference with its variable."""
        text = reference.markdown()

        for path in SETTINGS:
            assert f"`{variable(path)}`" in text
        assert "| `retention.max_age_s` | `30d` | seconds, more than 0s |" in text
        assert "| `store.hot_rows` | `1_000_000` | rows, at least 1_000 |" in text

    def test_every_default_can_be_written_back(self) -> None:
        """The defaults as shown, given as variables, change nothing."""
        rows = re.findall(
            r"^\| `[^`\[]+` \| `([^`]+)` \|.*`(ZOMBIEWATCH_\w+)`",
            reference.markdown(),
            re.MULTILINE,
        )
        env = {name: default for default, name in rows if default != "none"}

        assert len(env) > 20
        assert Config() == load(None, env)


def one_edit(word: str, letters: str = string.ascii_lowercase + "_") -> st.SearchStrategy[str]:
    """Return words that differ from *word* by one added, dropped, changed or swapped letter."""
    at, letter = st.integers(0, len(word) - 1), st.sampled_from(letters)
    return st.one_of(
        st.builds(lambda i, c: word[:i] + c + word[i:], at, letter),
        st.builds(lambda i: word[:i] + word[i + 1 :], at),
        st.builds(lambda i, c: word[:i] + c + word[i + 1 :], at, letter),
        st.builds(lambda i: word[:i] + word[i : i + 2][::-1] + word[i + 2 :], at),
    ).filter(lambda wrong: wrong not in ("", word))
