"""The page in a real Chromium: a run is found, followed, understood, and steered, by mouse or keyboard."""

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import pytest

import cascade as cs
from tests.browser import Browser, Page
from tests.providers.servers import need
from tests.showing import Showing

need("starlette")
need("uvicorn")

HOSTILE = "<img src=x onerror=\"document.title='pwned'\">"


@cs.task
async def fetch(page: int) -> str:
    return f"<b>page {page}</b>"


@cs.task
async def again(n: int) -> Any:
    return cs.Jump("again", n - 1) if n else cs.Jump("done", "end")


@cs.task
def publish(*parts: Any) -> str:
    return "published"


@cs.task
def fails(word: str) -> None:
    raise ValueError(f"no {word} <script>document.title='pwned'</script>")


@cs.task
async def forever() -> None:
    await asyncio.sleep(3600)


@cs.task(name=HOSTILE)
def hostile(x: Any) -> str:
    cs.current().logger.warning(HOSTILE)
    return HOSTILE


def release() -> Any:
    loop = again(4)
    cs.bind(loop, cs.select_jump({"again": loop, "done": None}))
    return publish(fetch.map(page=range(300)), loop, hostile(cs.wait_signal("approve", type=bool)))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as made:
        yield made


@pytest.fixture
def showing() -> Iterator[Showing]:
    with Showing() as made:
        yield made


def is_clean(page: Page, address: str) -> None:
    """Nothing that somebody named became markup, nothing failed, and nothing came from elsewhere."""
    assert page.run("document.title") != "pwned"
    assert page.run("document.querySelectorAll('main img, main script, dialog img, #says img').length") == 0
    assert page.faults() == []
    assert [url for url in page.addresses() if not url.startswith(address)] == []


def test_a_run_is_followed_in_the_browser_from_its_beginning_to_its_end(browser: Browser, showing: Showing) -> None:
    page = browser.page(showing.url)
    page.says("No runs yet.")
    assert page.run("location.hash") == "#/"  # the token is gone from the address
    run = showing.start(release(), run_id="release-7")
    page.click("a", "release-7")
    page.says("Waits for the message approve")
    page.until("document.querySelector('g.box.k-map[data-state=Succeeded]')")  # its picture is what is shown first
    page.until("document.querySelector('g.box.is-waiting text.more').textContent === 'Waiting'")
    page.until(f"[...document.querySelectorAll('g.box text.name')].some(e => e.textContent === {HOSTILE!r})")
    page.click("[role=tab]", "Steps")
    page.says("fetch#1[3]")
    assert page.run("document.querySelectorAll('.row').length") < 60  # of 306
    page.click("button", "Answer")
    page.click("dialog button", "Send")
    assert showing.end_of(run) == "published"
    page.until("document.querySelector('.head .badge').textContent === 'Succeeded'")
    page.click("[role=tab]", "Nodes")
    page.until("[...document.querySelectorAll('.nodes tr')].some(e => e.textContent.includes('again#1'))")
    page.click("[role=tab]", "Time line")
    page.says("publish#1")
    page.click("[role=tab]", "Log")
    page.says(HOSTILE)
    is_clean(page, showing.address)


def test_a_large_picture_folds_and_opens_in_the_browser(browser: Browser, showing: Showing) -> None:
    row = [publish(at) for at in range(20)]
    for _ in range(29):
        row = [publish(row[at], row[(at * 7 + 3) % 20]) for at in range(20)]
    showing.end_of(showing.start([*row, fails(row[0])], run_id="large"))
    page = browser.page(showing.url)
    page.click("a", "large")
    page.until("document.querySelectorAll('g.box').length > 1")
    assert page.run("document.querySelectorAll('g.box').length") <= 70  # of 601
    page.until("document.querySelector('g.box.k-fold[data-state]')")
    page.run("document.querySelector('g.box.k-fold').dispatchEvent(new MouseEvent('click', {bubbles: true}))")
    page.says("Whole picture")
    page.until("document.querySelector('g.box.k-task[data-state=Succeeded]')")
    page.click(".crumbs button", "Whole picture")
    page.until("document.querySelector('g.box.k-fold') && !document.querySelector('.crumbs b')")
    is_clean(page, showing.address)


def test_what_is_hostile_is_text_in_the_browser(browser: Browser, showing: Showing) -> None:
    run_id = f"a/b?c#d {HOSTILE}"
    assert "pwned" in str(showing.end_of(showing.start(fails(HOSTILE), run_id=run_id)))
    page = browser.page(showing.url)
    page.click("a", "onerror")
    page.says("ValueError: no <img")
    for tab in ("Picture", "Steps", "Nodes", "Log", "Time line"):
        page.click("[role=tab]", tab)
        page.until(f"document.querySelector('[aria-selected=true]').textContent === {tab!r}")
    page.click("[role=tab]", "Steps")
    page.click(".row", "fails#1")
    page.says("Traceback (most recent call last)")
    page.says("raise ValueError(f")
    showing.end_of(showing.start(hostile(1), run_id="other"))
    page.click("a", "Runs")
    page.click("a", "other")
    page.click("[role=tab]", "Steps")
    page.click(".row", "onerror")
    page.says("Result")
    is_clean(page, showing.address)


def test_runs_are_filtered_in_the_browser(browser: Browser, showing: Showing) -> None:
    showing.end_of(showing.start(fetch(1), run_id="good-one"))
    showing.end_of(showing.start(fails("luck"), run_id="bad-one"))
    page = browser.page(showing.url)
    page.says("good-one")
    page.fill("#search", "no luck")
    page.until("!document.body.innerText.includes('good-one')")
    page.says("bad-one")
    page.fill("#search", "")
    page.click(".chip", "Succeeded")
    page.says("good-one")
    page.until("!document.body.innerText.includes('bad-one')")
    page.fill("#search", "nothing like it")
    page.says("Nothing matches the filter.")
    is_clean(page, showing.address)


def test_a_run_is_paused_limited_and_cancelled_in_the_browser(browser: Browser, showing: Showing) -> None:
    run = showing.start([forever(), cs.wait_signal("x")], run_id="long")
    page = browser.page(showing.url)
    page.click("a", "long")
    page.click(".head button", "Pause")
    page.until("[...document.querySelectorAll('.head button')].some(e => e.textContent === 'Resume')")
    assert [each.kind for each in showing.engine.limits()] == ["pause"]
    page.click(".head button", "Resume")
    page.until("[...document.querySelectorAll('.head button')].some(e => e.textContent === 'Pause')")
    page.click(".head button", "Set a limit")
    page.fill("dialog [name=scope]", "task:fetch*")
    page.fill("dialog [name=concurrency]", "3")
    page.fill("dialog [name=rate]", "30/m")
    page.click("dialog button.main")
    page.until("!document.querySelector('dialog')")
    found = [(each.scope, each.kind, each.value) for each in showing.engine.limits()]
    assert found == [("task:fetch*", "concurrency", 3), ("task:fetch*", "rate", 0.5)]
    page.click("nav a", "Engines")
    page.says("task:fetch*")
    page.click(".card button.small", "Remove")
    page.says("No pauses and no limits stand.")
    page.click(".card a", "long")
    page.click(".head button", "Cancel run")
    page.says("End this run now?")
    page.click("dialog button", "End it")
    assert isinstance(showing.end_of(run), asyncio.CancelledError)
    page.until("document.querySelector('.head .badge').textContent === 'Cancelled'")
    is_clean(page, showing.address)


def test_what_is_refused_is_said_in_the_browser(browser: Browser, showing: Showing) -> None:
    showing.start(forever(), run_id="long")
    page = browser.page(showing.url)
    page.click("a", "long")
    page.click(".head button", "Set a limit")
    page.fill("dialog [name=scope]", "fetch")
    page.fill("dialog [name=concurrency]", "3")
    page.click("dialog button.main")
    page.until("document.querySelector('dialog .refused').textContent.startsWith('the scope of a limit is')")
    page.press("Escape")
    page.until("!document.querySelector('dialog')")
    page.click(".head button", "Send a message")
    page.fill("dialog [name=name]", "go")
    page.fill("dialog [name=value]", "no JSON")
    page.click("dialog button.main")
    page.says("That is no JSON")


def test_all_is_done_by_keyboard_alone_in_the_browser(browser: Browser, showing: Showing) -> None:
    run = showing.start([fetch.map(page=range(100)), forever()], run_id="long")
    page = browser.page(showing.url)
    page.says("long")

    def tab_to(what: str) -> None:
        for _ in range(40):
            page.press("Tab")
            if page.run(f"(document.activeElement.textContent || '').trim() === {what!r}"):
                return
        raise AssertionError(f"no way to {what} by Tab")

    tab_to("long")
    page.press("Enter")
    page.says("Send a message")
    page.until("document.querySelector('[role=tab][aria-selected=true]')")
    tab_to(page.run("document.querySelector('[role=tab][aria-selected=true]').textContent"))
    while page.run("document.activeElement.textContent") != "Steps":
        page.press("ArrowRight")
    page.until("document.querySelector('.row')")
    for _ in range(4):  # search, state, iteration, the list
        page.press("Tab")
    for _ in range(3):
        page.press("ArrowDown")
    page.press("Enter")
    page.until("document.querySelector('.side h2')")
    assert page.run("document.activeElement.classList.contains('close')")
    page.press("Escape")
    page.until("document.querySelector('.side').hidden")
    assert page.run("document.activeElement.classList.contains('rows')")
    page.press("End")
    page.until("document.querySelector('.row[aria-selected=true]').dataset.at === '100'")
    page.run("document.querySelector('.head [data-key=cancel]').focus()")
    page.press("Enter")
    page.says("End this run now?")
    page.press("Enter")
    assert isinstance(showing.end_of(run), asyncio.CancelledError)


def test_it_speaks_chinese_and_keeps_that_in_the_browser(browser: Browser, showing: Showing) -> None:
    showing.end_of(showing.start(fetch(1), run_id="one"))
    page = browser.page(showing.url, language="zh-CN")
    page.says("成功")
    page.click("button", "English")
    page.says("Succeeded")
    page.click("button", "中文")
    page.click("a", "one")
    page.says("时间线")
    assert page.run("document.documentElement.lang") == "zh"
    texts = page.run("import('/page/texts.js').then(m => Object.entries(m.TEXTS))")
    assert [key for key, both in texts if len(both) != 2 or not all(both)] == []
    gaps = "both => both.map(text => (text.match(/\\{\\w+\\}/g) || []).sort().join())"
    assert (
        page.run(f"import('/page/texts.js').then(m => Object.values(m.TEXTS).map({gaps}).filter(([a, b]) => a !== b))")
        == []
    )
    used = page.run(
        "Promise.all(['runs', 'run', 'acts', 'engines', 'line', 'link', 'list', 'page', 'picture', 'states']"
        ".map(n => fetch(`/page/${n}.js`).then(r => r.text()))).then(all => all.join())"
    )
    known = {key for key, _ in texts}
    assert {key for key in re.findall(r'\bsay\("(\w+)"', used) if key not in known} == set()


def test_two_runs_are_compared_in_the_browser(browser: Browser, showing: Showing) -> None:
    showing.end_of(showing.start(publish(fails(fetch(1))), run_id="monday"))
    showing.end_of(showing.start(publish(fetch(1)), run_id="tuesday"))
    page = browser.page(showing.url)
    page.click("a", "monday")
    page.click("button", "Compare")
    page.click("dialog button", "tuesday")
    page.says("B took longer by")
    assert page.run("location.hash") == "#/compare/engine/monday/engine/tuesday"
    rows = page.run(
        "[...document.querySelectorAll('.compared .list tbody tr')].map(e => [e.className, e.children[0].textContent])"
    )
    assert ["differs", "fails#1"] in rows
    assert ["", "fetch#1"] in rows
    head = page.run("[...document.querySelectorAll('.facts-of-two tbody tr')].map(e => [e.className, e.textContent])")
    assert ["differs", "StateFailedSucceeded"] in head
    assert any(name == "differs" and "no <b>page 1</b> <script>" in text for name, text in head)
    page.click(".facts-of-two a", "tuesday")
    page.until("document.querySelector('.head h1').textContent === 'tuesday'")
    is_clean(page, showing.address)


def test_it_is_dark_and_light_and_fits_a_phone_in_the_browser(browser: Browser, showing: Showing) -> None:
    showing.end_of(showing.start(fails("x" * 300), run_id="a-run-with-a-long-name-" * 3))
    ground = "getComputedStyle(document.body).backgroundColor"
    light, dark = browser.page(showing.url), browser.page(showing.url, dark=True)
    light.says("a-run-with")
    dark.says("a-run-with")
    assert light.run(ground) == "rgb(246, 246, 244)"
    assert dark.run(ground) == "rgb(19, 20, 23)"
    phone = browser.page(showing.url, width=375, height=720, phone=True)
    phone.says("a-run-with")
    wide = "document.documentElement.scrollWidth"
    assert phone.run(wide) <= 375
    phone.click("a", "a-run-with")
    for tab in ("Picture", "Time line", "Nodes", "Steps", "Log"):
        phone.click("[role=tab]", tab)
        phone.until(f"document.querySelector('[aria-selected=true]').textContent === {tab!r}")
        assert phone.run(wide) <= 375, tab


def test_without_its_token_it_says_what_to_do_in_the_browser(browser: Browser, showing: Showing) -> None:
    page = browser.page(showing.address)
    page.says("This page needs its token")
    page = browser.page(f"{showing.address}#token={'wrong' * 8}")
    page.says("That token is not the one of this page")


def test_when_its_engine_ends_it_says_so_in_the_browser(browser: Browser) -> None:
    with Showing() as showing:
        showing.end_of(showing.start(fetch(1), run_id="one"))
        page = browser.page(showing.url)
        page.says("one")
    page.says("The page is closed")
