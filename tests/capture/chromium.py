"""A headless Chromium, driven by the DevTools protocol, with every request it makes on record."""

import base64
import json
import shutil
import subprocess
import threading
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
KEY_CODES = {" ": ("Space", 32), "Enter": ("Enter", 13), "Escape": ("Escape", 27), "Tab": ("Tab", 9)}


class Chromium:
    """`with Chromium(tmp_path) as browser: page = browser.open(url)`. Nothing but this machine can be reached."""

    def __init__(self, folder: Path) -> None:
        program = next((found for name in PROGRAMS if (found := shutil.which(name))), None)
        if program is None:
            pytest.skip("no Chromium on this machine")
        self._folder = folder
        self._process = subprocess.Popen(
            [
                program, "--headless=new", "--no-sandbox", "--disable-gpu", "--remote-debugging-port=0", "--mute-audio",
                f"--user-data-dir={folder}", "--no-first-run", "--disable-background-networking",
                "--disable-component-update", "--autoplay-policy=no-user-gesture-required",
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
                "--proxy-server=127.0.0.1:9", "--proxy-bypass-list=127.0.0.1", "about:blank",  # nobody listens there
            ],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        self.pages: list[Page] = []

    def __enter__(self) -> "Chromium":
        deadline = time.monotonic() + 30
        port_file = self._folder / "DevToolsActivePort"
        while not (port_file.is_file() and port_file.read_text().count("\n")):
            if time.monotonic() > deadline or self._process.poll() is not None:
                self._process.kill()
                self._process.wait()
                pytest.skip("Chromium does not start here")
            time.sleep(0.05)
        self._port = int(port_file.read_text().split()[0])
        return self

    def open(self, url: str, *, width: int = 1280, height: int = 720) -> "Page":
        """A page of its own."""
        kind, method = ("new?about:blank", "PUT") if self.pages else ("list", "GET")
        request = Request(f"http://127.0.0.1:{self._port}/json/{kind}", method=method)
        with urlopen(request, timeout=20) as answer:
            made = json.load(answer)
        if isinstance(made, list):
            made = next(target for target in made if target["type"] == "page")
        page = Page(made["webSocketDebuggerUrl"], width=width, height=height)
        self.pages.append(page)
        page.go(url)
        return page

    def __exit__(self, *error: object) -> None:
        for page in self.pages:
            page.close()
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Page:
    """One tab; `requests` are the addresses that it asked for."""

    def __init__(self, address: str, *, width: int, height: int) -> None:
        self._closing = ExitStack()
        self._socket = self._closing.enter_context(connect(address, max_size=64 << 20, open_timeout=20))
        self._answers: dict[int, dict[str, Any]] = {}
        self._answered = threading.Condition()
        self._number = 0
        self.requests: list[str] = []
        self.errors: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False
        )  # fmt: skip

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command and its answer."""
        with self._answered:
            self._number += 1
            number = self._number
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        with self._answered:
            assert self._answered.wait_for(lambda: number in self._answers, timeout=20), method
            answer = self._answers.pop(number)
        assert "error" not in answer, answer
        return answer.get("result", {})

    def go(self, url: str) -> None:
        """Opens an address."""
        self.call("Page.navigate", url=url)

    def reload(self) -> None:
        """As F5 does."""
        self.call("Page.reload")

    def ask(self, expression: str) -> Any:
        """The value of some JavaScript."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        return result["result"].get("value")

    def wait(self, expression: str, *, seconds: float = 20.0) -> None:
        """Until some JavaScript is true."""
        deadline = time.monotonic() + seconds
        while not self.ask(expression):
            assert time.monotonic() < deadline, f"never: {expression}; {self.ask('document.body.innerText')!r}"
            time.sleep(0.05)

    def key(self, key: str) -> None:
        """Presses a key."""
        code, number = KEY_CODES.get(key, (f"Key{key.upper()}", ord(key.upper()[0])))
        text = {"Enter": "\r", "Escape": "", "Tab": ""}.get(key, key)
        for kind in ("keyDown", "keyUp"):
            typed = {"text": text} if kind == "keyDown" and text else {}
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=code, windowsVirtualKeyCode=number, **typed)

    def click(self, selector: str) -> None:
        """Clicks the middle of an element."""
        box = self.ask(
            f"(() => {{ const b = document.querySelector({json.dumps(selector)}).getBoundingClientRect();"
            " return [b.x + b.width / 2, b.y + b.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, x=box[0], y=box[1], button="left", clickCount=1)

    def type(self, text: str) -> None:
        """Into what has the focus."""
        self.call("Input.insertText", text=text)

    def screenshot(self, path: Path) -> None:
        """As it is seen now."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def foreign(self) -> list[str]:
        """Requests that left this machine, or tried to."""
        inside = ("data", "blob", "about")
        asked = [urlsplit(url) for url in self.requests]
        return [url.geturl() for url in asked if url.scheme not in inside and url.hostname != "127.0.0.1"]

    def close(self) -> None:
        """Closes the tab."""
        with suppress(ConnectionClosed):
            self._socket.send(json.dumps({"id": 0, "method": "Page.close"}))
        self._closing.close()

    def _read(self) -> None:
        with suppress(ConnectionClosed):
            for text in self._socket:
                self._hear(json.loads(text))

    def _hear(self, message: dict[str, Any]) -> None:
        method, parameters = message.get("method"), message.get("params", {})
        if method in ("Network.requestWillBeSent", "Network.webSocketCreated"):
            self.requests.append(parameters.get("request", parameters)["url"])
        elif method in ("Runtime.exceptionThrown", "Log.entryAdded"):
            self.errors.append(json.dumps(parameters)[:500])
        elif "id" in message:
            with self._answered:
                self._answers[message["id"]] = message
                self._answered.notify_all()
