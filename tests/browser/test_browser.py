"""The pages in a real browser, of two workers and a learner on a real Kafka."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from streams.catalog_messages import CatalogItem
from streams.event_messages import Event
from tests.broker.cluster import Cluster, Process, clicks, wait_for
from tests.broker.test_catalog import CatalogProducer
from tests.browser.chromium import faults, launched, opened

pytestmark = [pytest.mark.browser, pytest.mark.kafka, pytest.mark.timeout(600)]
"""The first test pays for the kernels, which three processes compile at once on a fresh clone."""

COLOURED = """() => [...document.querySelectorAll("#plots canvas")].map(canvas => canvas.getContext("2d")
    .getImageData(0, 0, canvas.width, canvas.height).data.filter((v, i) => i % 4 == 3 && v).length)"""
"""Pixels with something in them, of each plot."""
INJECTED = """() => {
    const script = document.createElement("script");
    script.textContent = "window.owned = 1";
    document.body.append(script);
    document.body.insertAdjacentHTML("beforeend", "<img src=x onerror='window.owned = 1'>");
}"""
TOKEN = "sesame, open"
EVENTS, USERS = 1_500, 30
HOSTILE = ["<script>document.title='owned'</script>", "<img src=x onerror=alert(1)>", "😀" * 62, "a/../b?c#d"]
POISON = [b"{", b"\xff\xfe<b>", b'{"event_id":"1","user":"u1","type":"view","item":"<script>","time":"soon"}']
VIEWS: dict[str, dict[str, Any]] = {
    "light": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "light"},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "phone": {"viewport": {"width": 360, "height": 740}, "color_scheme": "light", "is_mobile": True},
}
PATHS = {
    "overview": "/",
    "quality": "/quality",
    "a day": "/?range=24h",
    "user": "/users/u1",
    "what if": "/users/u1?add=click:i7&drop=1&context=device=tv",
    "item": "/items/i7",
    "items": "/items?q=tent",
    "map": "/map",
    "live": "/live",
    "dead letters": "/dead-letters",
    "settings": "/settings",
    "nobody": "/users/nobody",
}


@dataclass
class Shop:
    """The deployment that the tests look at."""

    cluster: Cluster
    first: Process
    second: Process
    browser: Browser


@pytest.fixture(scope="module")
def shop(kafka: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """A deployment that has served and learnt a hand-made log."""
    with Cluster(kafka.brokers, tmp_path_factory.mktemp("browser"), web_token=TOKEN) as cluster:
        first, second = cluster.start("worker", "first"), cluster.start("worker", "second")
        learner = cluster.start("learner")
        for process in (first, second, learner):
            wait_for(process.ready, "ready", 280)
        assert learner.get()["state"] == "active", "ready is: the published model is read"
        now = int(time.time() * 1000)
        cluster.publish(clicks(EVENTS, USERS, items=40, start=now - 1000 * EVENTS), at_event_time=True)
        for n, odd in enumerate(HOSTILE):
            cluster.publish([Event(event_id=f"odd-{n}", user=odd, type="view", item=odd, time=now + n)])
        for value in POISON:
            cluster.produce(value, b"u1")
        cluster.flush()
        wait_for(cluster.has_learnt(EVENTS + len(HOSTILE)), "all learnt")
        for worker in (first, second):
            wait_for(lambda w=worker: w.get()["counts"]["accepted"] == EVENTS + len(HOSTILE), "all counted")
        wait_for(lambda: len(first.get("/map")["items"]) > 3, "the map", 75)
        with launched() as browser:
            yield Shop(cluster, first, second, browser)


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", PATHS)
def test_every_page_is_sound(shop: Shop, name: str, view: str):
    """No complaint on the console, also none of the security policy; nothing that axe-core calls serious."""
    if name == "nobody":  # the browser itself complains of a 404
        shop.browser.new_context().new_page().goto(shop.first.url + PATHS[name])
        return
    with opened(shop.browser, shop.first.url + PATHS[name], **VIEWS[view]) as page:
        page.wait_for_timeout(700)
        expect(page.locator("h1")).to_have_count(1)
        assert faults(page) == []
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, f"{wide} px too wide"


def test_plots_have_points(shop: Shop):
    with opened(shop.browser, shop.first.url) as page:
        drawn = page.locator("#plots canvas")
        expect(drawn).to_have_count(11)
        assert "accepted" not in (drawn.first.get_attribute("aria-label") or "")
        for name in ("Events and recommendations", "Age of the model", "Memory", "Partitions of each worker"):
            label = page.locator(f'canvas[aria-label^="{name}"]').get_attribute("aria-label") or ""
            assert any(c.isdigit() for c in label), label
        coloured = page.evaluate(COLOURED)
        assert min(coloured) > 500
        page.reload()
        expect(drawn).to_have_count(11)


def test_the_quality_page_has_figures_and_the_lift_as_a_plot(shop: Shop):
    with opened(shop.browser, f"{shop.first.url}/quality") as page:
        expect(page.locator("main")).to_contain_text("Conversion of the lists shown")
        expect(page.locator("dt").first).to_contain_text("Lift over")
        expect(page.locator("#plots canvas")).to_have_count(4)
        label = page.locator("#plots canvas").first.get_attribute("aria-label") or ""
        assert label.startswith("Lift")
        assert any(c.isdigit() for c in label.partition("Latest")[2]), label
        legend = page.locator(".u-legend").nth(1)
        expect(legend).to_contain_text("latest")
        expect(legend).to_contain_text("%")
        assert min(page.evaluate(COLOURED)) > 500


def test_settings_say_what_a_change_does(shop: Shop):
    with opened(shop.browser, f"{shop.first.url}/settings") as page:
        section = page.locator("section", has=page.locator("h2", has_text="generators"))
        expect(section).to_contain_text("none while mlp ranks")
        expect(page.locator("section", has_text="Half-lives")).to_contain_text("trending")


def test_figures_refresh_without_a_reload(shop: Shop):
    with opened(shop.browser, shop.first.url) as page:
        page.evaluate("window.same = true")
        before = page.locator("tbody").first.inner_text()
        page.wait_for_function(
            "b => document.querySelector('tbody').innerText !== b", arg=before, timeout=20_000
        )
        assert page.evaluate("window.same"), "the page itself stayed"


def test_both_workers_show_the_same(shop: Shop):
    def figures(worker: Process) -> dict[str, Any]:
        overview = worker.get()
        return {name: overview[name] for name in ("counts", "dead_letters", "lag", "hits")} | {
            "model": overview["model"]["checkpoint"],
            "processes": [(p["name"], p["state"], p["partitions"]) for p in overview["processes"]],
        }

    wait_for(lambda: figures(shop.first) == figures(shop.second), "the same figures")
    overview = figures(shop.first)
    assert overview["counts"]["accepted"] == EVENTS + len(HOSTILE)
    assert overview["counts"]["dead_letters"] == len(POISON) == sum(overview["dead_letters"].values())


def test_what_an_item_is_recommended_beside_is_the_same_on_both(shop: Shop):
    now = int(time.time() * 1000)
    shop.cluster.publish([Event(event_id="beside", user="u3", type="view", item="i5", time=now)])

    def sent() -> list[str]:
        page = shop.first.get("/users/u3") or {}
        return (page["sent"] or {}).get("items", []) if page else []

    listed = wait_for(sent, "a list of the model that learnt")

    def beside(worker: Process) -> dict[str, Any]:
        return worker.get(f"/items?id={quote(listed[0], safe='')}")["beside"]

    for worker in (shop.first, shop.second):
        wait_for(lambda w=worker: beside(w)["with_it"], "the list among the latest", 15)
    assert beside(shop.first) == beside(shop.second)
    assert {entry["item"] for entry in beside(shop.first)["items"]} & set(listed[1:])


def test_what_if_changes_the_list_and_nothing_else(shop: Shop):
    wait_for(shop.cluster.has_learnt(len(shop.cluster.read("examples"))), "all learnt")
    latest = shop.cluster.checkpoints()[-1].number
    for worker in (shop.first, shop.second):
        wait_for(lambda w=worker: w.get("/users/u1")["now"]["model"]["checkpoint"] == latest, "all served")
    before = shop.second.get("/users/u1")
    with opened(shop.browser, f"{shop.first.url}/users/u1") as page:
        page.get_by_label("Item of event 1").fill("i33")
        page.get_by_label("remove 1", exact=True).check()
        page.get_by_role("button", name="What if?").click()
        expect(page.locator("#what-if-list")).to_contain_text("with a click of i33")
        now = page.locator("#lists section").first.locator("tbody tr td:nth-child(2)").all_inner_texts()
        then = page.locator("#what-if-list tbody tr td:nth-child(2)").all_inner_texts()
        assert now == [entry["item"] for entry in before["now"]["items"]]
        assert then != now
    after = shop.second.get("/users/u1")
    assert (after["offset"], after["history"], after["sent"]) == (
        before["offset"], before["history"], before["sent"]
    )  # fmt: skip


@pytest.mark.parametrize("odd", HOSTILE)
def test_an_id_is_text_whatever_is_in_it(shop: Shop, odd: str):
    for kind in ("users", "items"):
        with opened(shop.browser, f"{shop.first.url}/{kind}?id={quote(odd, safe='')}") as page:
            expect(page.locator("h1")).to_contain_text(odd)
            assert page.title() != "owned"
            assert page.locator("main img, main script").count() == 0


def test_the_policy_lets_no_script_in(shop: Shop):
    window = shop.browser.new_context()
    page = window.new_page()
    page.goto(f"{shop.first.url}/users/u1")
    page.evaluate(INJECTED)
    page.wait_for_timeout(300)
    assert page.evaluate("window.owned") is None
    window.close()


def test_everything_can_be_reached_with_the_keyboard(shop: Shop):
    with opened(shop.browser, f"{shop.first.url}/settings") as page:
        reached = set()
        for _ in range(200):
            page.keyboard.press("Tab")
            told = page.evaluate(
                "(e => e.getAttribute('href') || e.name || e.innerText)(document.activeElement)"
            )
            if told == "#main" and reached:
                break
            reached.add(told)
        assert {"#main", "/", "/live", "/map", "/dead-letters", "/settings", "id", "User", "Item"} <= reached
        assert {"value", "who", "token", "Change", "key:view"} <= reached
    with opened(shop.browser, shop.first.url) as page:
        page.get_by_label("Find").focus()
        page.keyboard.type("u1")
        page.keyboard.press("Enter")
        expect(page.locator("h1")).to_have_text("User u1")


def test_the_live_page_shows_an_event_and_what_it_caused(shop: Shop):
    """Served by either worker, seen on the other."""
    with (
        opened(shop.browser, f"{shop.first.url}/live") as page,
        opened(shop.browser, f"{shop.second.url}/live?user=only-this") as filtered,
    ):
        for tail in (page, filtered):
            expect(tail.locator("#state")).to_have_text("live")
        for user in ("only-this", "another", "third"):  # each page follows the workers of all of them
            wait_for(lambda u=user: arrives(shop, page, u), f"{user} on the page", every=0.5)
        wait_for(lambda: arrives(shop, filtered, "only-this"), "the user on the filtered page", every=0.5)
        for n, user in enumerate(["only-this", "another", "third", "only-this"]):
            now = int(time.time() * 1000)
            shop.cluster.publish([Event(event_id=f"tail-{n}", user=user, type="view", item="i5", time=now)])
        expect(rows(page, item="i5")).to_have_count(4)
        expect(rows(filtered, item="i5")).to_have_count(2)
        expect(rows(filtered)).to_have_count(rows(filtered, user="only-this").count())
        assert rows(page).first.locator("td").nth(5).locator("a").count() == 5
        page.get_by_role("button", name="Pause").click()
        expect(page.locator("#state")).to_have_text("paused")


def rows(page: Page, user: str = "", item: str = "") -> Locator:
    """The rows of the live page, of a user or of an item if given."""
    cells = {"User": user, "Item": item}
    filters = [f':has(td[data-name="{name}"] bdi:text-is("{v}"))' for name, v in cells.items() if v]
    return page.locator("#tail tr" + "".join(filters))


def arrives(shop: Shop, page: Page, user: str) -> bool:
    """Whether the live page has shown an event of the user; publishes one more for it."""
    event_id, now = f"arrives-{time.time_ns()}", int(time.time() * 1000)
    shop.cluster.publish([Event(event_id=event_id, user=user, type="view", item="i6", time=now)])
    return rows(page, user).count() > 0


def test_dead_letters_are_shown_and_sent_again_after_a_fix(shop: Shop):
    with opened(shop.browser, f"{shop.first.url}/dead-letters?reason=time-out-of-range") as page:
        expect(page.locator("tbody").last).to_contain_text("<script>")
        page.locator(".time a").first.click()
        expect(page.locator("h1")).to_contain_text("time-out-of-range")
        box = page.get_by_label("The event")
        box.fill(box.input_value().replace('"soon"', str(int(time.time() * 1000))))
        page.get_by_label("Token").fill(TOKEN)
        page.get_by_role("button", name="Send again").click()
        expect(page.locator("main")).to_contain_text("sent as an event")
    wait_for(lambda: any(e["item"] == "<script>" for e in newest(shop, "u1")), "the event served")


def newest(shop: Shop, user: str) -> list[dict[str, Any]]:
    """The events of a user's newest session."""
    return shop.first.get(f"/users/{user}")["history"][0]["events"]


def test_settings_change_for_all_workers_and_only_with_the_token(shop: Shop):
    with opened(shop.browser, f"{shop.first.url}/settings") as page:
        section = page.locator("section", has=page.locator("h2", has_text="list_length"))
        section.get_by_label("list_length", exact=True).fill("3")
        section.get_by_label("Who changes list_length").fill("ann <b>")
        section.get_by_label("Token").fill(TOKEN)
        section.get_by_role("button", name="Change").click()
        expect(page.locator(".alarm")).to_contain_text("list_length is changed")
        expect(page.locator("section", has_text="list_length").first).to_contain_text("ann <b>")
    for worker in (shop.first, shop.second):
        wait_for(lambda w=worker: setting(w, "list_length")["value"] == 3, "read by both")
        assert setting(worker, "list_length")["last_change"]["old"] == 20
    now = int(time.time() * 1000)
    shop.cluster.publish([Event(event_id="short", user="u2", type="view", item="i5", time=now)])
    wait_for(lambda: len(shop.first.get("/users/u2")["sent"]["items"]) == 3, "a shorter list")
    reset = {"setting": "list_length", "who": "ann", "reset": 1}
    assert post(shop.second, "/settings", reset, "wrong")[0] == 401
    assert post(shop.second, "/settings", reset, TOKEN)[0] == 200
    wait_for(lambda: setting(shop.first, "list_length")["value"] == 20, "as configured again")


def setting(worker: Process, name: str) -> dict[str, Any]:
    """One of the settings that can be changed."""
    return next(entry for entry in worker.get("/settings")["live"] if entry["setting"] == name)


def post(worker: Process, path: str, body: dict[str, Any], token: str) -> tuple[int, Any]:
    """A program's POST: status and JSON."""
    request = urllib.request.Request(
        worker.url + path,
        json.dumps(body).encode(),
        {"Content-Type": "application/json", "Authorization": f"Bearer {token}"},
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_a_worker_that_dies_is_shown_as_silent_on_the_open_page(shop: Shop):
    """The last test: it is killed for good."""
    with opened(shop.browser, shop.first.url) as page:
        shop.second.kill()
        expect(page.locator(".alarm.bad")).to_contain_text("second is silent", timeout=15_000)
    wait_for(lambda: len(shop.first.get()["answered_by"]["partitions"]) == 4, "its partitions taken over")


TITLES = {
    "i1": "<script>document.title='owned'</script>",
    "i2": "خيمة كبيرة لشخصين مع مظلة",
    "i3": "x" * 500,
    "i4": "🏕️👨‍👩‍👧‍👦 tent 🏕️",
    "i5": "\u202egnp.exe tent",
}


@pytest.fixture(scope="module")
def titled(shop: Shop) -> Shop:
    """The shop with a catalog of all items, some with titles that a careless page would fall over."""
    catalog = CatalogProducer(shop.cluster)
    for n in range(40):
        title = TITLES.get(f"i{n}", f"Tent {n}")
        catalog.put(
            CatalogItem(item=f"i{n}", title=title, categories=[f"Kind {n % 8}"], price=n, currency="EUR")
        )
    catalog.flush()
    wait_for(lambda: len(shop.first.get("/items?q=tent")["results"]) > 30, "the catalog")
    return shop


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("path", ["/items", "/items?q=tent", "/items/i3", "/users/u1", "/map", "/live"])
def test_pages_show_titles_as_text_whatever_is_in_them(titled: Shop, path: str, view: str):
    with opened(titled.browser, titled.first.url + path, **VIEWS[view]) as page:
        page.wait_for_timeout(700)
        assert faults(page) == []
        assert page.title() != "owned"
        assert page.locator("main img, main script").count() == 0
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, f"{wide} px too wide"
        if path != "/live":
            expect(page.locator("main")).to_contain_text("Tent")


def test_titles_come_to_the_live_page_and_colours_to_the_map(titled: Shop):
    with opened(titled.browser, f"{titled.first.url}/live") as page:
        expect(page.locator("#state")).to_have_text("live")
        now = int(time.time() * 1000)
        for n in range(1, 6):
            event = Event(event_id=f"titled-{n}", user="u5", type="view", item=f"i{n}", time=now + n)
            titled.cluster.publish([event])
        for title in TITLES.values():
            expect(page.locator("#tail td[data-name=Item]", has_text=title[:40])).to_have_count(1)
    with opened(titled.browser, f"{titled.first.url}/map") as page:
        page.get_by_label("Colour by").select_option("category")
        expect(page.locator("#categories")).to_contain_text("Kind 1")
        page.get_by_label("Find on the map").fill("x" * 10)
        expect(page.locator("#matches")).to_contain_text("1 match; Enter opens xxxxx")


def test_a_rule_is_previewed_before_it_is_set(titled: Shop):
    now = int(time.time() * 1000)
    views = [Event(event_id=f"p{n}", user=f"u{n}", type="view", item="i7", time=now) for n in range(9)]
    titled.cluster.publish(views)
    wait_for(lambda: titled.cluster.lag() == 0, "all served")
    with opened(titled.browser, f"{titled.first.url}/settings") as page:
        section = page.locator("form", has=page.get_by_label("rules, as JSON"))
        section.get_by_label("rules, as JSON").fill('[{"rule": "pin", "items": ["i33"]}]')
        section.get_by_label("Who changes rules").fill("ann")
        section.get_by_label("Token to change rules").fill(TOKEN)
        section.get_by_role("button", name="Preview").click()
        expect(page.locator("h1")).to_have_text("Preview of rules")
        expect(page.locator("main")).to_contain_text("Nothing was changed")
        expect(page.locator("main ol").nth(1).locator("li").first).to_contain_text("Tent 33")
        assert faults(page) == []
    assert "pin" not in json.dumps(titled.first.get("/settings")["live"])
