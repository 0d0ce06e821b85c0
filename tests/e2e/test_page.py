"""The page in a real browser: it is read, it keeps itself up to date, it changes what it may."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e._browser import Looking, chromium
from tests.e2e._otlp import log, logs
from tests.e2e._scheduler import QUICK, Scheduler
from tests.e2e._sidecar import Running, call, eventually, named, zombiewatch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser

pytestmark = pytest.mark.slow

TOKEN: Final = "a-token-of-this-test"  # noqa: S105
FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}
VIEWS: Final = ("/", "/findings", "/queues", "/timeouts", "/sources", "/switches")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as made:
        yield made


@pytest.fixture(scope="module")
def sidecar(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """One that may be read by everybody here, with a zombie, a queue, a limit and calls."""
    with Running(tmp_path_factory.mktemp("page"), QUICK) as running:
        scheduler = Scheduler(running, "night")
        scheduler.says("queue.sampled", queue__name="night", queue__depth=12.0,
                       queue__oldest_age_s=4.0, queue__consumers=2.0)  # fmt: skip
        scheduler.says("task.dispatched", "limited", task__timeout_s=2.0)
        scheduler.loses("lost-1")
        yield running
        assert running.stop() == 0, running.log


def looked(browser: Browser, sidecar: Running, **how: bool) -> Looking:
    return Looking(browser, sidecar.url(), **how)


# Reading


def test_a_zombie_is_seen_opened_and_its_timeline_read(browser: Browser, sidecar: Running) -> None:
    """From across the room, by its incident, its finding, and its ID."""
    seen = looked(browser, sidecar)
    page = seen.go("/")
    expect(page.locator("#state")).to_have_attribute("data-state", "trouble")
    expect(page.get_by_role("heading", name="disagreement")).to_be_visible()
    seen.shot("overview")
    page.locator(".incidents a").first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("zombie task")
    expect(page.locator("svg.tl title").first).to_contain_text("lost-1")
    page.get_by_role("link", name="lost-1").first.click()
    expect(page.get_by_text("Do:")).to_be_visible()
    expect(page.get_by_role("link", name="runbook")).to_have_attribute(
        "href", "/runbooks/zombie_task"
    )
    expect(page.locator("#records tbody tr")).not_to_have_count(0)
    seen.shot("finding")

    page.keyboard.press("/")
    page.keyboard.type("lost-1")
    page.keyboard.press("Enter")
    page.wait_for_url("**/tasks/lost-1")
    expect(page.get_by_role("heading", level=1)).to_contain_text("lost-1")
    rows = page.locator("#records tbody tr:visible")
    whole = rows.count()
    page.get_by_label("Only those that contain").fill("no such words")
    expect(rows).to_have_count(0)
    page.get_by_label("Only those that contain").fill("")
    expect(rows).to_have_count(whole)
    page.locator("[data-seq]").first.click()
    expect(page.locator("tr.picked")).to_have_count(1)

    page.goto(f"{seen.url}/find?q={named('nobody')}")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Nothing is known of")
    assert [one for one in seen.troubles if "404" not in one] == []
    seen.close()


def test_it_is_up_to_date_without_a_reload(browser: Browser, tmp_path: Path) -> None:
    """Nothing, trouble, well again; when the sidecar is gone it says so, and comes back."""
    with Running(tmp_path / "sidecar", QUICK) as running:
        seen = Looking(browser, running.url())
        page = seen.go("/")
        expect(page.locator("#state")).to_have_attribute("data-state", "waiting")
        page.evaluate("window.stayed = true")
        scheduler = Scheduler(running, "night")
        scheduler.loses("lost-1")
        expect(page.locator("#state")).to_have_attribute("data-state", "trouble")
        expect(page.locator("#news")).to_contain_text("1 disagreement confirmed")
        scheduler.settles("lost-1")
        expect(page.locator("#state")).to_have_attribute("data-state", "calm")
        assert seen.troubles == []
        running.kill()
        expect(page.locator("#lost")).to_be_visible(timeout=15_000)
        running.again()
        expect(page.locator("#lost")).to_be_hidden(timeout=30_000)
        assert page.evaluate("window.stayed") is True
        seen.close()


def test_what_somebody_types_or_opens_survives_an_update(
    browser: Browser, sidecar: Running
) -> None:
    """The text, the place of the cursor, and what is unfolded."""
    seen = looked(browser, sidecar)
    page = seen.go("/tasks/lost-1")
    page.locator("#records summary").first.click()
    field = page.get_by_label("Only those that contain")
    field.fill("dispatched")
    updated = page.locator("#records").element_handle()
    Scheduler(sidecar, "night").loses(named("lost"))
    page.wait_for_function("old => !old.isConnected", arg=updated)
    expect(field).to_have_value("dispatched")
    expect(field).to_be_focused()
    expect(page.locator("#records details[open]").first).to_be_attached()
    assert seen.troubles == []
    seen.close()


@pytest.mark.parametrize("narrow", [False, True], ids=["wide", "narrow"])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_every_view_can_be_read_by_everybody(
    browser: Browser, sidecar: Running, *, dark: bool, narrow: bool
) -> None:
    """No barrier that axe knows of, nothing beyond the edge, nothing in the console."""
    zombie = sidecar.findings("open", detector="zombie_task", verdict="confirmed")[0]
    seen = looked(browser, sidecar, dark=dark, narrow=narrow)
    more = (f"/findings/{zombie['id']}", f"/incidents/{zombie['id']}", "/tasks/lost-1")
    for view in (*VIEWS, *more):
        page = seen.go(view)
        found = Axe().run(page)
        assert found.violations_count == 0, f"{view}: {found.generate_report()}"
        over = page.evaluate("document.scrollingElement.scrollWidth - innerWidth")
        assert over <= 0, view
        name = view.strip("/").replace("/", "-") or "overview"
        seen.shot(f"{name}{'-dark' * dark}{'-narrow' * narrow}")
    assert seen.troubles == []
    seen.close()


def test_every_view_is_there_as_json(sidecar: Running) -> None:
    """The same figures, for programs."""
    for view in ("overview", "findings", "incidents", "queues", "timeouts", "sources", "switches"):
        assert "now" in sidecar.get(f"/api/v1/{view}").json()
    said = sidecar.get("/api/v1/overview").json()
    assert said["state"] == "trouble"
    zombies = next(one for one in said["tiles"] if one["name"] == "zombies")
    assert zombies["value"] >= 1
    eventually(
        ["night"],
        lambda: [one["queue"] for one in sidecar.get("/api/v1/queues").json()["queues"]],
    )


# Changing


def test_a_switch_is_set_and_lifted_by_who_has_signed_in(browser: Browser, tmp_path: Path) -> None:
    """With the token and a name; both changes are in the audit under it."""
    settings = {**QUICK, "http": {"token": TOKEN}}
    with Running(tmp_path / "sidecar", settings) as running:
        seen = Looking(browser, running.url())
        page = seen.go("/switches")
        page.wait_for_url("**/login**")
        page.get_by_label("Your name").fill("ann")
        page.get_by_label("Token").fill("another-token-of-nobody")
        page.get_by_role("button", name="Open").click()
        expect(page.get_by_role("alert")).to_contain_text("not the token")
        page.get_by_label("Your name").fill("ann")
        page.get_by_label("Token").fill(TOKEN)
        page.get_by_role("button", name="Open").click()
        page.wait_for_url("**/switches")

        page.get_by_label("service").fill("shop")
        page.get_by_label("level").select_option("L2")
        page.get_by_label("why", exact=True).fill("no stock")
        page.get_by_role("button", name="Set").click()
        row = page.get_by_role("region", name="Switches").get_by_role("row", name="shop")
        expect(row).to_contain_text("manual: ann")
        expect(row).to_contain_text("no stock")
        page.get_by_label("service", exact=True).fill("shop")
        page.get_by_label("for", exact=True).fill("2 fortnights")
        page.get_by_label("why", exact=True).fill("longer")
        page.get_by_role("button", name="Set").click()
        expect(page.get_by_role("alert")).to_be_visible()
        expect(page.get_by_label("for", exact=True)).to_have_value("2 fortnights")
        # this address cannot be asked for again
        expect(page.locator("#content")).to_have_attribute("data-live", "no")
        row.get_by_placeholder("why").fill("it is back")
        row.get_by_role("button", name="Lift").click()
        expect(page.get_by_text("No switch is set.")).to_be_visible()
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        history = call("GET", f"{running.url()}/api/v1/switches/history", None, bearer).json()
        assert [(one["action"], one["level"], one["by"]) for one in history["changes"]] == [
            ("set", "L2", "ann"),
            ("cleared", "L2", "ann"),
        ]
        assert [one for one in seen.troubles if not one.startswith("error: Failed to load")] == []
        seen.close()


def test_without_a_right_it_is_read_only(browser: Browser, sidecar: Running) -> None:
    """No form is there, and what a browser sends is refused; the command line is not."""
    seen = looked(browser, sidecar)
    page = seen.go("/switches")
    expect(page.get_by_role("button", name="Set")).to_have_count(0)
    expect(page.get_by_text("Read only.")).to_be_visible()
    sent = """async ([path, type, body]) => (await fetch(path, {method: "POST",
        headers: {"Content-Type": type}, body})).status"""
    form = ["/switches/set", FORM["Content-Type"], "service=shop&level=L1&until=1h&reason=no"]
    assert page.evaluate(sent, form) == 403
    said = {"service": "shop", "level": "L1", "until": "1h", "reason": "no", "by": "x"}
    as_json = ["/api/v1/switches/set", "application/json", json.dumps(said)]
    assert page.evaluate(sent, as_json) == 403
    done = zombiewatch(
        "switch", "set", "mail", "L1", "--for", "1h", "--reason", "by hand", "--url", sidecar.url()
    )
    assert done.returncode == 0, done.stderr
    services = [one["service"] for one in sidecar.get("/api/v1/switches").json()["switches"]]
    assert "shop" not in services
    seen.close()


def test_behind_a_proxy_its_word_is_who_somebody_is(tmp_path: Path) -> None:
    """Only those that may, only from the page itself; and the word of nobody else."""
    http = {"user_header": "X-Forwarded-User", "may_change": ["ann"]}
    with Running(tmp_path / "sidecar", {"http": http}) as running:

        def sets(service: str, **headers: str) -> int:
            said = {name.replace("_", "-"): value for name, value in headers.items()}
            body = f"service={service}&level=L1&until=1h&reason=x".encode()
            return call("POST", f"{running.url()}/switches/set", body, {**FORM, **said}).status

        def tells(service: str, **headers: str) -> int:
            given = {name.replace("_", "-"): value for name, value in headers.items()}
            said = {"service": service, "level": "L1", "until": "1h", "reason": "x", "by": "ann"}
            to = f"{running.url()}/api/v1/switches/set"
            body = json.dumps(said).encode()
            return call("POST", to, body, {"Content-Type": "application/json", **given}).status

        assert tells("j", X_Forwarded_User="bob") == 403
        assert tells("k") == 403
        assert tells("l", X_Forwarded_User="ann") == 200
        ours = {"Origin": running.url()}
        assert sets("a", X_Forwarded_User="ann", **ours) == 303
        assert sets("b", X_Forwarded_User="bob", **ours) == 403
        assert sets("c", **ours) == 403
        assert sets("d") == 403
        assert sets("e", X_Forwarded_User="ann", Origin="http://evil.example") == 403
        assert sets("f", X_Forwarded_User="ann", Sec_Fetch_Site="cross-site", **ours) == 403
        assert sets("h", X_Forwarded_User="ann", Origin="null") == 403
        # a proxy may ask us by another name than the browser asked it
        inside = {"Origin": "https://watch.example", "Sec_Fetch_Site": "same-origin"}
        assert sets("i", X_Forwarded_User="ann", **inside) == 303
        switches = running.get("/api/v1/switches").json()["switches"]
        assert {(one["service"], one["set_by"]) for one in switches} == {
            (service, "ann") for service in "ail"
        }
    http = {"user_header": "X-Forwarded-User", "proxies": ["10.0.0.0/8"]}
    with Running(tmp_path / "strangers", {"http": http}) as running:
        assert sets("g", X_Forwarded_User="ann", Origin=running.url()) == 403


def test_a_cookie_is_good_for_its_token_alone_and_for_a_shift(tmp_path: Path) -> None:
    """A forged one, a changed one and one of another token open nothing."""
    with Running(tmp_path / "sidecar", {"http": {"token": TOKEN}}) as running:
        form = f"name=ann&token={TOKEN}&to=//evil.example".encode()
        answer = call("POST", f"{running.url()}/login", form, FORM)
        assert (answer.status, answer.headers["location"]) == (303, "/")
        cookie = answer.headers["set-cookie"]
        assert {"HttpOnly", "SameSite=Strict"} <= set(cookie.split("; "))
        good = cookie.partition(";")[0]

        def opens(cookie: str) -> int:
            return call("GET", f"{running.url()}/api/v1/findings", None, {"Cookie": cookie}).status

        assert opens(good) == 200
        name, _, value = good.partition("=")
        until, who, signed = value.split(".")
        later = int(until) + 1000
        changed = (f"{later}.{who}.{signed}", f"{until}.bob.{signed}")
        for forged in (*changed, "..", "1.ann.", "", "1.\xfc"):
            assert opens(f"{name}={forged}") == 401, forged
        said = {"service": "x", "level": "L1", "until": "1h", "reason": "x", "by": "bob"}
        body = json.dumps(said)
        given = {"Cookie": good, "Content-Type": "application/json"}
        answer = call("POST", f"{running.url()}/api/v1/switches/set", body.encode(), given)
        assert [one["set_by"] for one in answer.json()["switches"]] == ["ann"]
        away = ("/%09/evil.example", "/%5Cevil.example", "https://evil.example", "/%0D%0Ax", "//e")
        for to in away:
            form = f"name=ann&token={TOKEN}&to={to}".encode()
            answer = call("POST", f"{running.url()}/login", form, FORM)
            assert (answer.status, answer.headers["location"]) == (303, "/"), to


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:9797", 200),
        ("[::1]:1", 200),
        ("evil.example:9797", 421),
        ("127.0.0.1.evil", 421),
    ],
)
def test_no_name_of_anybody_s_leads_here(sidecar: Running, host: str, status: int) -> None:
    """A page of elsewhere, whose name has been made to point to this machine, reads nothing."""
    for path in ("/", "/api/v1/findings", "/metrics"):
        assert call("GET", f"{sidecar.url()}{path}", None, {"Host": host}).status == status


def test_a_filter_that_is_none_is_refused(sidecar: Running) -> None:
    """An answer to another question would be believed."""
    assert call("GET", f"{sidecar.url()}/findings?detector=zombie_task").status == 200
    for query in ("state=ajar", "utm_source=x"):
        assert call("GET", f"{sidecar.url()}/findings?{query}").status == 400


# Harm

HOSTILE: Final = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'; alert(1); '",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)",
    "\u202egnihtemos\u202c",
    "a\u0000b\u001b[31mred\u0007",
    "../../../../etc/passwd",
    "%2e%2e%2f?a=b#c",
    "x" * 10_000,
    "e\u0301\u0302\u0303\u0304" * 50,
)


def test_hostile_names_do_no_harm(browser: Browser, tmp_path: Path) -> None:
    """In tasks, services, queues, texts: they are shown as what they are, in every view."""
    with Running(tmp_path / "sidecar", QUICK) as running:
        for at, name in enumerate(HOSTILE):
            Scheduler(running, name[:200], f"api{name[:100]}", f"agent{at}").says(
                "task.dispatched", name
            )
            said = {
                "event.name": "queue.sampled", "service.name": name[:100],
                "queue.name": name[:200], "queue.depth": 3.0, "zombiewatch.side": "dispatcher",
            }  # fmt: skip
            assert running.otlp("logs", logs([log(said, body=name)])).status == 200
        Scheduler(running, "night").loses(f"lost{HOSTILE[0]}", f"lost{HOSTILE[1]}")
        switched = {
            "service": HOSTILE[1], "level": "L1", "until": "1h", "reason": HOSTILE[0],
            "by": HOSTILE[2],
        }  # fmt: skip
        answer = call(
            "POST", f"{running.url()}/api/v1/switches/set", json.dumps(switched).encode(),
            {"Content-Type": "application/json"},
        )  # fmt: skip
        assert answer.status == 200
        metrics = call("GET", f"{running.url()}/metrics").body.decode()
        labels = {
            sample.labels.get("service")
            for family in text_string_to_metric_families(metrics)
            for sample in family.samples
        }
        assert HOSTILE[1] in labels
        found = running.findings("open", detector="zombie_task")
        seen = Looking(browser, running.url())
        tasks = [f"/find?q={_quoted(name)}" for name in HOSTILE if "\u0000" not in name]
        views = [*VIEWS, *tasks, *(f"/findings/{one['id']}" for one in found)]
        for view in views:
            page = seen.go(view[:4000])
            assert page.locator("img").count() == 0, view
            assert page.locator("script").count() == 1, view
            assert "49" not in page.title()
            text = page.locator("body").inner_text()
            assert "\u202e" not in text
            assert "\u001b" not in text
        assert [one for one in seen.troubles if "404" not in one and "400" not in one] == []
        seen.close()


def _quoted(name: str) -> str:
    return quote(name, safe="")


def test_the_first_view_is_quick(sidecar: Running) -> None:
    """All of it is in memory, whatever there was before."""
    eventually(True, lambda: _took_ms(sidecar) < 100)


def _took_ms(sidecar: Running) -> float:
    begun = time.perf_counter()
    assert call("GET", f"{sidecar.url()}/").status == 200
    return (time.perf_counter() - begun) * 1000


def test_an_open_page_does_not_hold_up_the_end(browser: Browser, tmp_path: Path) -> None:
    """Whoever listens for news is let go at once, and told that nobody is there any more."""
    with Running(tmp_path / "sidecar") as running:
        seen = Looking(browser, running.url())
        page = seen.go("/")
        page.wait_for_function("performance.getEntriesByType('resource').length >= 3")
        with page.expect_response("**/api/v1/events"):
            page.reload()
        begun = time.monotonic()
        assert running.stop() == 0, running.log
        assert time.monotonic() - begun < 15
        expect(page.locator("#lost")).to_be_visible(timeout=15_000)
        seen.close()


def test_head_and_assets(sidecar: Running) -> None:
    """What it loads is there, typed, and under a policy that lets nothing else run."""
    answer: Any = call("GET", f"{sidecar.url()}/")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    for name in ("page.css", "page.js", "lanes.css", "icon.svg"):
        assert call("GET", f"{sidecar.url()}/static/{name}").status == 200
