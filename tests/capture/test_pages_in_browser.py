"""The pages in a headless Chromium: a session led by keys and clicks, reloads, lost connections, nothing foreign."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from capture.pages.server import Addresses, PagesServer
from capture.recorder.director import Director, DirectorSettings, Look
from capture.recorder.verdict import judge
from mmface4d.session import ScriptItem, Session, create_session, open_session
from mmface4d.take import open_take
from tests.capture.chromium import Chromium, Page
from tests.capture.live_devices import LiveDevices, recorder
from tests.capture.test_director import Speaker, wait_for

pytestmark = pytest.mark.slow

LONG = "How can you say that to me, after everything that I have done for you? " * 12
SCRIPT = [
    ScriptItem(id="a", text="Good morning.", emotion="happy"),
    ScriptItem(id="b", text="The early bird catches the worm.", emotion="fear"),
    ScriptItem(id="c", text="今天的天气真好，我们一起去公园散步吧。", language="zh", emotion="angry"),
    ScriptItem(id="d", text=LONG.strip()),
    ScriptItem(id="e", text="x" * 900),
]
WORD = "document.getElementById('word').textContent"


@dataclass
class Led:
    """A session that is under way, with its pages."""

    session: Session
    director: Director
    server: PagesServer
    addresses: Addresses
    devices: LiveDevices
    thread: threading.Thread

    def wait(self, phase: str) -> Look:
        return wait_for(self.director, phase, seconds=20)


@pytest.fixture
def led(tmp_path: Path) -> Iterator[Led]:
    session = create_session(tmp_path / "s", subject="P01", script=SCRIPT)
    machine = recorder(pre_roll_s=0.3, post_roll_s=0.2)
    live = LiveDevices(machine, speaks=True)
    made = Director(
        session, machine, judge=lambda path, faults: judge(path, faults=faults), performers=(Speaker(live),),
        settings=DirectorSettings(countdown_s=0.5),
    )  # fmt: skip
    thread = threading.Thread(target=made.run)
    thread.start()
    server = PagesServer(made, machine, session)
    yield Led(session, made, server, server.start(), live, thread)
    server.stop()
    made.press("quit")
    thread.join(10)
    live.close()
    machine.close()
    assert not thread.is_alive()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chromium]:
    with Chromium(tmp_path / "chromium") as made:
        yield made
        for page in made.pages:
            assert page.foreign() == []
            assert any(url.startswith("http://127.0.0.1") for url in page.requests)


def opened(browser: Chromium, led: Led) -> Page:
    page = browser.open(led.addresses.operator)
    page.wait(f"{WORD} === 'ready'")
    return page


def recorded(page: Page, led: Led) -> Look:
    """From the countdown to the verdict, by the space bar."""
    page.key(" ")
    led.wait("recording")
    page.wait(f"{WORD} === 'recording'")
    time.sleep(1.2)
    page.key(" ")
    return led.wait("verdict")


def test_a_session_is_led_by_the_keyboard_alone(browser: Chromium, led: Led) -> None:
    page = opened(browser, led)
    assert recorded(page, led).passed
    page.wait(f"{WORD} === 'good'")
    page.key("n")
    page.wait("document.getElementById('noting').open")
    page.type("smiled")
    page.key("Tab")
    page.key("Enter")
    page.wait("document.getElementById('noted').textContent === 'Notes: smiled'")
    page.key("h")
    page.wait("document.getElementById('heard').readyState > 2 && document.getElementById('heard').duration > 1")
    page.key("t")  # again
    led.wait("recording")
    page.wait(f"{WORD} === 'recording'")
    assert page.ask("document.getElementById('heard').paused")  # nothing sounds while somebody speaks
    time.sleep(1.2)
    page.key("r")
    led.wait("verdict")
    page.wait(f"{WORD} === 'good'")
    page.key("Enter")
    page.wait("document.getElementById('text').textContent.startsWith('The early bird')")
    page.key("s")
    page.wait("document.getElementById('text').lang === 'zh'")
    page.key("b")
    page.wait("document.getElementById('text').textContent.startsWith('The early bird')")
    page.key("?")
    page.wait("document.getElementById('keys').open")
    page.key("s")  # is for nobody while a dialog is open
    page.key("Escape")
    page.wait("!document.getElementById('keys').open")
    page.key("q")
    page.key("Enter")
    page.wait(f"{WORD} === 'finished'")
    states = open_session(led.session.path).states
    assert states["a"].kept_take == "001-a-v2"
    assert states["a"].notes == ["smiled"]
    assert [state.status for state in states.values()] == ["kept", "skipped", "pending", "pending", "pending"]
    assert page.errors == []


def test_buttons_do_what_keys_do(browser: Chromium, led: Led) -> None:
    page = opened(browser, led)
    page.click("#go")
    led.wait("recording")
    page.wait("document.getElementById('go').innerText.startsWith('Stop')")
    assert page.ask("[...document.querySelectorAll('[data-command]')].every((button) => button.disabled)")
    time.sleep(1.2)
    page.click("#go")
    led.wait("verdict")
    page.wait("!document.querySelector('[data-command=keep]').disabled")
    page.click("[data-command=keep]")
    page.wait("document.querySelector('#script li').className === 'kept'")
    page.click("[data-command=skip]")
    page.wait("document.getElementById('counts').textContent.startsWith('2 of 5 done')")
    page.click("#note")
    page.type('a note with <b>marks</b> & "quotes"')
    page.click("#noting button[value=save]")
    page.wait("document.getElementById('noted').textContent.includes('<b>marks</b>')")
    assert page.errors == []


def test_reload_in_mid_take_goes_on(browser: Chromium, led: Led) -> None:
    page = opened(browser, led)
    page.key(" ")
    led.wait("recording")
    page.reload()
    page.wait(f"typeof state !== 'undefined' && state && {WORD} === 'recording'")
    assert led.director.look().phase == "recording"
    time.sleep(1.0)
    page.key(" ")
    assert led.wait("verdict").passed
    page.reload()
    page.wait(f"{WORD} === 'good'")
    page.key("k")
    led.wait("idle")
    assert led.session.states["a"].kept_take == "001-a-v1"


def test_a_page_that_is_closed_leaves_the_take_alone(browser: Chromium, led: Led) -> None:
    page = opened(browser, led)
    page.key(" ")
    led.wait("recording")
    page.close()
    time.sleep(1.2)
    assert led.director.look().phase == "recording"
    again = browser.open(led.addresses.operator)
    again.wait(f"{WORD} === 'recording'")
    again.key(" ")
    look = led.wait("verdict")
    assert look.passed, look.reasons
    with open_take(led.session.takes / str(look.take)) as take:
        assert len(take) / take.fps > 1.2


def test_a_lost_connection_is_shown_and_comes_back(browser: Chromium, led: Led) -> None:
    page = opened(browser, led)
    port = int(led.addresses.operator.split(":")[2].strip("/"))
    led.server.stop()
    page.wait("!document.getElementById('lost').hidden")
    assert page.ask("document.getElementById('go').disabled")
    page.key(" ")
    again = PagesServer(led.director, led.director.recorder, led.session, port=port)
    again.start()
    try:
        page.wait("document.getElementById('lost').hidden && !document.getElementById('go').disabled")
        assert led.director.look().phase == "idle"  # what was pressed meanwhile does not come late
    finally:
        again.stop()


def test_what_goes_wrong_is_seen(browser: Chromium, led: Led) -> None:
    page = opened(browser, led)
    page.wait("[...document.querySelectorAll('figure img')].filter((image) => image.naturalWidth > 0).length === 3")
    led.devices.dead.add("right")
    page.wait("document.querySelector('figure.dead span').textContent === 'right'")
    page.key(" ")
    led.wait("recording")
    time.sleep(1.2)
    page.key(" ")
    led.director.recorder.on_fault("camera right stopped delivering")
    led.wait("verdict")
    page.wait("document.getElementById('verdict').innerText.includes('camera right')")
    assert page.ask(WORD) == "say it again"


def test_a_double_press_does_no_harm(browser: Chromium, led: Led) -> None:
    page = opened(browser, led)
    page.key(" ")
    page.key(" ")
    led.wait("recording")
    page.wait(f"{WORD} === 'recording'")
    time.sleep(1.2)
    for _ in range(3):
        page.key(" ")
    look = led.wait("verdict")
    time.sleep(0.3)
    assert led.director.look().phase == "verdict"
    assert look.take == "001-a-v1"


@pytest.mark.parametrize("size", [(1280, 720), (1920, 1080), (1080, 1920), (800, 480)])
def test_the_actor_can_read_every_sentence(browser: Chromium, led: Led, size: tuple[int, int]) -> None:
    page = browser.open(led.addresses.actor, width=size[0], height=size[1])
    for item in SCRIPT:
        page.wait(f"document.getElementById('text').textContent === {item.text!r}")
        box = page.ask(
            "(() => { const range = document.createRange(); range.selectNodeContents(document.getElementById('text'));"
            " const b = range.getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom]; })()"
        )
        assert box[0] >= 0, item.id
        assert box[2] <= size[0], item.id
        assert box[1] >= page.ask("document.getElementById('emotion').getBoundingClientRect().bottom") - 1, item.id
        assert box[3] <= size[1], item.id
        led.director.press("skip")
    page.wait("document.getElementById('text').textContent === 'Thank you!'")


def test_the_actor_sees_lights_and_no_faults(browser: Chromium, led: Led) -> None:
    page = browser.open(led.addresses.actor)
    light = "document.body.dataset.light"
    page.wait(f"{light} === 'red' && document.getElementById('emotion').textContent === 'happy'")
    led.director.press("record")
    page.wait(f"{light} === 'yellow' && {WORD} === '1'")
    page.wait(f"{light} === 'green' && {WORD} === 'speak'")
    led.director.recorder.on_fault("camera right stopped delivering")
    time.sleep(0.5)
    led.director.press("stop")
    assert not led.wait("verdict").passed
    page.wait(f"{light} === 'red' && {WORD} === 'wait'")
    assert page.ask("document.body.innerText").split("\n") == ["wait", "happy", "Good morning."]
    led.server.stop()
    page.wait(f"{light} === 'red'")
    assert page.ask(WORD) == "wait"


def test_the_browser_can_reach_nothing_else(browser: Chromium, led: Led) -> None:
    page = opened(browser, led)
    refused = "fetch({}, {{ mode: 'no-cors' }}).then(() => false, () => true)"
    assert page.ask(refused.format("'http://example.com/'"))  # by the page's own policy
    page.go("http://example.com/")
    page.wait("location.href.startsWith('chrome-error')")  # and by the browser of these tests
    assert {urlsplit(url).hostname for url in page.foreign()} == {"example.com"}  # the record of requests sees it
    page.requests = [led.addresses.operator]


@pytest.mark.parametrize("size", [(1280, 720), (1600, 900), (2560, 1440)])
def test_nothing_is_cut_off(browser: Chromium, led: Led, size: tuple[int, int]) -> None:
    page = browser.open(led.addresses.operator, width=size[0], height=size[1])
    page.wait(f"{WORD} === 'ready' && document.querySelectorAll('#script li').length === 5")
    outside = page.ask(
        "[...document.querySelectorAll('button, #phase, figure, #stage, aside, #sound span')]"
        ".filter((e) => !e.closest('dialog')).filter((e) => { const b = e.getBoundingClientRect();"
        " return b.left < 0 || b.top < 0 || b.right > innerWidth + 1 || b.bottom > innerHeight + 1; })"
        ".map((e) => e.id || e.textContent)"
    )
    assert outside == []
    assert page.ask("document.getElementById('stage').clientHeight") > 150
