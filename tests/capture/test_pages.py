"""The pages' server: who gets in, what is answered, and what comes over the sockets."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from capture.pages.commands import read_command
from capture.pages.guard import Guard, check_token
from capture.pages.server import PagesServer, make_app
from capture.recorder.director import Director
from capture.recorder.verdict import Verdict
from mmface4d.errors import DeviceError, UsageError
from mmface4d.session import ScriptItem, Session, create_session
from tests.capture.live_devices import LiveDevices, recorder
from tests.capture.small_take import DELAYS, jpeg, write_sound

TOKEN = "correct-horse-battery"
LAB = Guard("192.0.2.7", 8000, TOKEN, "for-actors-only")
OWN = Guard.of("127.0.0.1", 8000, None)
SCRIPT = [
    ScriptItem(id="a", text="Good morning.", emotion="happy"),
    ScriptItem(id="b", text="今天的天气真好。", language="zh"),
]
STATE_KEYS = {
    "phase", "item", "number", "total", "done", "retakes", "eta_s", "take", "passed", "reasons", "message",
    "level_dbfs", "peak", "cameras", "waiting",
}  # fmt: skip


@pytest.fixture
def session(tmp_path: Path) -> Session:
    made = create_session(tmp_path / "s", subject="P01", script=SCRIPT)
    take = made.takes / "001-a-v1"
    take.mkdir()
    write_sound(take / "audio.wav", 0.2)
    made.append("recorded", "a", take=take.name, passed=False, reasons=["speech: nobody speaks"])
    made.append("retake", "a", take=take.name)
    return made


@pytest.fixture
def devices() -> Iterator[LiveDevices]:
    machine = recorder()
    live = LiveDevices(machine, pictures={"front": jpeg(1, size=(640, 480))})
    yield live
    live.close()
    machine.close()


@pytest.fixture
def director(session: Session, devices: LiveDevices) -> Iterator[Director]:
    """Runs until the test is over; nothing is recorded."""
    made = Director(session, devices.target, judge=lambda path, faults: Verdict(True, (), {}))
    thread = threading.Thread(target=made.run)
    thread.start()
    yield made
    made.press("quit")
    thread.join(10)
    assert not thread.is_alive()


Client = Callable[..., TestClient]


@pytest.fixture
def client(director: Director, session: Session) -> Client:
    """A browser at some address of a guarded server."""

    def made(guard: Guard = OWN, *, host: str | None = None, **headers: str) -> TestClient:
        app = make_app(director, director.recorder, session, guard=guard)
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        return TestClient(app, base_url=f"http://{host or f'{guard.host}:{guard.port}'}", headers=headers)

    return made


def socket_of(browser: TestClient, path: str = "/ws", **headers: str) -> Any:
    """A websocket at the browser's own address."""
    host = str(browser.base_url).removeprefix("http://").strip("/")
    return browser.websocket_connect(f"ws://{host}{path}", headers=headers)


def wait_until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


PATHS = ("/", "/actor", "/script", "/static/operator.js", "/preview/front.jpg", "/takes/001-a-v1/audio.wav")


@pytest.mark.parametrize("path", PATHS)
def test_everything_is_served_with_strict_headers(client: Client, path: str) -> None:
    browser = client()
    wait_until(lambda: browser.get(path).status_code == 200)
    headers = browser.get(path).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'self';")
    assert "unsafe" not in policy
    assert "http" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example", "192.0.2.9", "[", ""])
def test_foreign_names_are_refused(client: Client, path: str, host: str) -> None:
    answer = client().get(path, headers={"host": host})
    assert answer.status_code == 400


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1:8000", "[::1]:8000"])
def test_own_names_are_known(client: Client, host: str) -> None:
    assert client(host=host).get("/").status_code == 200


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:9999", "http://127.0.0.1:8000.evil.example"]
)
def test_foreign_origins_are_refused(client: Client, path: str, origin: str) -> None:
    assert client().get(path, headers={"origin": origin}).status_code == 403


@pytest.mark.parametrize("path", ["/preview/front.jpg", "/takes/001-a-v1/audio.wav", "/script"])
def test_foreign_pages_cannot_embed(client: Client, path: str) -> None:
    headers = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors"}
    assert client().get(path, headers=headers).status_code == 403
    own = {"sec-fetch-site": "same-origin", "sec-fetch-mode": "no-cors"}
    wait_until(lambda: client().get(path, headers=own).status_code == 200)


@pytest.mark.parametrize("path", ["/ws", "/ws/actor"])
@pytest.mark.parametrize("headers", [{"origin": "http://evil.example"}, {"origin": "null"}, {"host": "evil.example"}])
def test_foreign_sockets_are_refused(client: Client, path: str, headers: dict[str, str]) -> None:
    with pytest.raises(WebSocketDisconnect), socket_of(client(), path, **headers):
        pass
    with socket_of(client(), path, origin="http://127.0.0.1:8000") as socket:
        assert socket.receive_json()


@pytest.mark.parametrize("path", PATHS)
def test_elsewhere_a_token_is_needed(client: Client, path: str) -> None:
    assert client(LAB).get(path).status_code == 403
    assert client(LAB).get(path, params={"token": "wrong"}).status_code == 403
    assert client(LAB).get(path, params={"token": ""}).status_code == 403
    assert client(LAB, cookie=f"{LAB.cookie('operator')}=wrong").get(path).status_code == 403


def test_a_socket_needs_the_token_too(client: Client) -> None:
    with pytest.raises(WebSocketDisconnect), socket_of(client(LAB), "/ws"):
        pass


def test_the_token_is_given_once_and_kept(client: Client) -> None:
    browser = client(LAB)
    answer = browser.get("/", params={"token": TOKEN})
    assert answer.status_code == 200
    kept = answer.headers["set-cookie"]
    assert "HttpOnly" in kept
    assert "SameSite=Strict" in kept
    assert browser.get("/script").status_code == 200
    with socket_of(browser, "/ws") as socket:
        assert socket.receive_json()["phase"] == "idle"
    assert browser.get("/", params={"token": "wrong"}).status_code == 403  # cookies do not hide it


def test_a_browser_may_show_both_pages(client: Client) -> None:
    browser = client(LAB)
    assert browser.get("/", params={"token": TOKEN}).status_code == 200
    assert browser.get("/actor", params={"token": LAB.actor_token or ""}).status_code == 200
    assert browser.get("/script").status_code == 200


def test_the_actor_sees_only_what_is_for_actors(client: Client) -> None:
    browser = client(LAB)
    assert browser.get("/actor", params={"token": LAB.actor_token or ""}).status_code == 200
    for path in ("/", "/script", "/preview/front.jpg", "/takes/001-a-v1/audio.wav"):
        assert browser.get(path).status_code == 403
    with pytest.raises(WebSocketDisconnect), socket_of(browser, "/ws"):
        pass
    with socket_of(browser, "/ws/actor") as socket:
        state = socket.receive_json()
    assert state == {
        "light": "red", "text": "今天的天气真好。", "language": "zh", "emotion": "neutral", "finished": False,
        "countdown_s": None,
    }  # fmt: skip


def test_the_actors_socket_takes_no_commands(client: Client, director: Director) -> None:
    with socket_of(client(), "/ws/actor") as socket:
        socket.send_json({"command": "skip"})
        socket.send_bytes(b"\x00")
        for _ in range(4):
            assert socket.receive_json()["text"] == SCRIPT[1].text
    assert director.session.states["b"].status == "pending"


def test_tokens_are_made_for_other_addresses_only() -> None:
    assert Guard.of("127.0.0.1", 1, None).operator_token is None
    assert Guard.of("::1", 1, None).operator_token is None
    made = Guard.of("0.0.0.0", 1, None)
    assert made.operator_token
    assert len(made.operator_token) >= 20
    assert made.operator_token != made.actor_token
    assert made.operator_token != Guard.of("0.0.0.0", 1, None).operator_token
    assert Guard.of("127.0.0.1", 1, TOKEN).operator_token == TOKEN
    with pytest.raises(UsageError, match="token"):
        check_token("a;b\r\nSet-Cookie: x")
    assert made.url("/", "operator").endswith(f"/?token={made.operator_token}")


@pytest.mark.parametrize(("host", "known"), [("192.0.2.7", True), ("localhost", True), ("evil.example", False)])
def test_any_address_of_this_machine_is_known(client: Client, host: str, known: bool) -> None:
    guard = Guard("0.0.0.0", 8000, TOKEN, "for-actors-only")
    answer = client(guard, host=f"{host}:8000").get("/", params={"token": TOKEN})
    assert answer.status_code == (200 if known else 400)


@pytest.mark.parametrize(
    "name",
    [
        "..",
        "%2e%2e",
        "..%2f..%2fsession.json",
        "001-a-v1%2f..%2f001-a-v1",
        "001-a-v2",
        "%00",
        "con",
        "x" * 5000,
        "%5c..",
    ],
)
def test_only_takes_of_the_session_are_heard(client: Client, name: str) -> None:
    assert client().get(f"/takes/{name}/audio.wav").status_code == 404


@pytest.mark.parametrize(
    "path", ["/static/../server.py", "/static/%2e%2e/server.py", "/static/..%2fserver.py", "/nothing"]
)
def test_nothing_else_is_served(client: Client, path: str) -> None:
    assert client().get(path).status_code == 404


def test_takes_are_heard(client: Client, session: Session) -> None:
    answer = client().get("/takes/001-a-v1/audio.wav")
    assert answer.content == (session.takes / "001-a-v1" / "audio.wav").read_bytes()
    part = client().get("/takes/001-a-v1/audio.wav", headers={"range": "bytes=0-3"})
    assert (part.status_code, part.content) == (206, b"RIFF")


def test_previews_are_small(client: Client) -> None:
    browser = client()
    wait_until(lambda: browser.get("/preview/front.jpg").status_code == 200)
    answer = browser.get("/preview/front.jpg")
    image = cv2.imdecode(np.frombuffer(answer.content, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    assert image.shape == (120, 160, 3)
    assert browser.get("/preview/nobody.jpg").status_code == 404


def test_damaged_pictures_are_left_out(client: Client, devices: LiveDevices) -> None:
    devices._shown = {"front": b"no picture", "left": b""}
    time.sleep(0.3)
    assert client().get("/preview/front.jpg").status_code == 404
    assert client().get("/preview/left.jpg").status_code == 404


def test_the_script_tells_what_became_of_each_sentence(client: Client) -> None:
    first, second = client().get("/script").json()
    assert (first["status"], first["reasons"]) == ("retake", ["speech: nobody speaks"])
    assert (second["status"], second["text"]) == ("pending", SCRIPT[1].text)


def test_state_comes_at_least_twice_a_second(client: Client) -> None:
    with socket_of(client(), "/ws") as socket:
        began = time.monotonic()
        states = [socket.receive_json() for _ in range(5)]
        assert time.monotonic() - began < 2.5
    assert set(states[-1]) >= STATE_KEYS
    assert [camera["serial"] for camera in states[-1]["cameras"]] == list(DELAYS)
    assert states[-1]["heard"] is None  # the sentence that is shown has no take yet
    json.dumps(states, allow_nan=False)


def next_state(socket: Any, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The first message that is as asked for."""
    for _ in range(100):
        message = socket.receive_json()
        if condition(message):
            return message
    raise AssertionError("never came")


def test_commands_are_pressed(client: Client, session: Session) -> None:
    with socket_of(client(), "/ws") as socket:
        socket.send_json({"command": "note", "text": "嗯 smiled"})
        next_state(socket, lambda state: state.get("notes") == ["嗯 smiled"])
        socket.send_json({"command": "skip"})
        state = next_state(socket, lambda state: state.get("done") == 1)
    assert session.states["b"].status == "skipped"
    assert state["item"]["id"] == "a"
    assert state["heard"] == "001-a-v1"


@pytest.mark.parametrize(
    "message",
    [
        "", "{", "[]", "null", '"skip"', "{}", '{"command": "format"}', '{"command": ["skip"]}', '{"command": null}',
        '{"command": "skip", "more": 1}', '{"command": "note", "text": 1}', '{"command": "note", "text": "\\ud800"}',
        '{"text": "x"}', "[" * 5000, json.dumps({"command": "note", "text": "x" * 2001}),
    ],
)  # fmt: skip
def test_what_is_no_command_is_refused(message: str) -> None:
    assert isinstance(read_command(message), str)


def test_refusals_are_told_and_the_socket_goes_on(client: Client, session: Session) -> None:
    with socket_of(client(), "/ws") as socket:
        socket.send_text('{"command": "format"}')
        assert next_state(socket, lambda state: "refused" in state)["refused"] == "no such command"
        socket.send_bytes(b"\x00")
        next_state(socket, lambda state: "refused" in state)
        next_state(socket, lambda state: state.get("phase") == "idle")
    assert session.done == 0


def test_a_server_starts_and_stops(director: Director, session: Session) -> None:
    server = PagesServer(director, director.recorder, session)
    addresses = server.start()
    assert addresses.operator.startswith("http://127.0.0.1:")
    assert httpx.get(addresses.actor).status_code == 200
    began = time.monotonic()
    server.stop()
    server.stop()
    assert time.monotonic() - began < 6
    with pytest.raises(httpx.ConnectError):
        httpx.get(addresses.actor)


def test_an_address_in_use_is_named(director: Director, session: Session) -> None:
    server = PagesServer(director, director.recorder, session)
    port = int(server.start().operator.split(":")[2].strip("/"))
    try:
        with pytest.raises(DeviceError, match=f"127.0.0.1:{port}"):
            PagesServer(director, director.recorder, session, port=port).start()
    finally:
        server.stop()
