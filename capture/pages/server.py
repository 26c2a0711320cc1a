"""A small server for the two pages: state by a websocket, previews and sound by plain requests."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.requests import HTTPConnection, Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from capture.pages.commands import read_command
from capture.pages.guard import Guard, Role, check_token
from capture.pages.previews import Previews
from capture.pages.shown import actor_state, operator_state, script
from capture.recorder.director import Director
from capture.recorder.recorder import Recorder
from mmface4d.errors import DeviceError
from mmface4d.session import Session

Told = dict[WebSocket, dict[str, Any]]  # of every open page, the state that it was sent last
STATIC = Path(__file__).parent / "static"
PUSH_S, REPEAT_S = 0.1, 0.5
MOST_MESSAGE_BYTES = 8192
START_S, STOP_S = 10.0, 3.0
FAREWELL_S = 2.0  # at most, for every page to hear that the session is over
HEADERS = {
    # an empty icon is the only thing that does not come from here
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Addresses:
    """What to open in a browser."""

    operator: str
    actor: str


class PagesServer:
    """Serves the pages from a thread of its own until `stop`. Recording does not depend on it."""

    def __init__(
        self, director: Director, recorder: Recorder, session: Session,
        *, host: str = "127.0.0.1", port: int = 0, token: str | None = None,
    ) -> None:  # fmt: skip
        self._parts = director, recorder, session
        self._told: Told = {}
        self._host, self._port, self._token = host, port, check_token(token)
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> Addresses:
        """Binds the address and serves; raises DeviceError where it cannot be had."""
        try:
            listener = socket.create_server((self._host, self._port), family=_family(self._host))
        except OSError as error:
            raise DeviceError(
                f"the pages cannot be served at {self._host}:{self._port}: {error.strerror}",
                hint="choose another --address, or end the program that uses it",
            ) from error
        guard = Guard.of(self._host, listener.getsockname()[1], self._token)
        config = uvicorn.Config(
            make_app(*self._parts, guard=guard, told=self._told), log_level="warning", lifespan="off", access_log=False,
            ws_max_size=MOST_MESSAGE_BYTES, timeout_graceful_shutdown=1,
        )  # fmt: skip
        self._server = server = uvicorn.Server(config)
        self._thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="pages", daemon=True)
        self._thread.start()
        self._await_start()
        return Addresses(guard.url("/", "operator"), guard.url("/actor", "actor"))

    def _await_start(self) -> None:
        deadline = time.monotonic() + START_S
        while self._server is not None and not self._server.started:
            if time.monotonic() > deadline or self._thread is None or not self._thread.is_alive():
                self.stop()
                raise DeviceError(
                    f"the pages at {self._host}:{self._port} did not start",
                    hint="record without them: --auto --no-page",
                )
            time.sleep(0.01)

    def stop(self) -> None:
        """Ends serving, within a few seconds."""
        if self._server is None or self._thread is None:
            return
        self._await_farewell()
        self._server.should_exit = True
        self._thread.join(STOP_S)
        self._server.force_exit = True
        self._thread.join(STOP_S)
        self._server = self._thread = None

    def _await_farewell(self) -> None:
        """Where the session is over, lets every page hear so: it would take the end for a lost connection."""
        deadline = time.monotonic() + FAREWELL_S
        while self._parts[0].look().phase == "finished" and time.monotonic() < deadline:
            if all(state.get("finished", state.get("phase") == "finished") for state in list(self._told.values())):
                return
            time.sleep(0.01)


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def make_app(
    director: Director, recorder: Recorder, session: Session, *, guard: Guard, told: Told | None = None
) -> ASGIApp:
    """The application behind its guard; `told` is kept up to date with what each page was told last."""
    pages = _Pages(director, recorder, session, guard=guard, told={} if told is None else told)
    routes = [
        Route("/", pages.operator),
        Route("/actor", pages.actor),
        Route("/script", pages.script),
        Route("/preview/{serial}.jpg", pages.preview),
        Route("/takes/{name}/audio.wav", pages.sound),
        WebSocketRoute("/ws", pages.talk),
        WebSocketRoute("/ws/actor", pages.prompt),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    return _Guarded(Starlette(routes=routes), guard)


class _Guarded:
    """Refuses foreign hosts, origins and tokens before anything else happens, and sets the headers of safety."""

    def __init__(self, app: ASGIApp, guard: Guard) -> None:
        self.app, self.guard = app, guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        connection = HTTPConnection(scope)
        refusal = self._refusal(connection)
        if refusal is None:
            scope["role"] = self.guard.role(connection)
            await self.app(scope, receive, _safely(send, cookie=self._cookie(connection)))
        elif scope["type"] == "http":
            await PlainTextResponse(refusal[1], status_code=refusal[0])(scope, receive, _safely(send))
        else:
            await WebSocket(scope, receive, send).close(code=4000 + refusal[0])

    def _refusal(self, connection: HTTPConnection) -> tuple[int, str] | None:
        if not self.guard.knows_host(connection):
            return 400, "this server does not go by that name"
        if not self.guard.same_origin(connection):
            return 403, "requests of other pages are refused"
        if self.guard.role(connection) is None:
            return 403, "a token is needed: open the address that the recording program printed"
        return None

    def _cookie(self, connection: HTTPConnection) -> str | None:
        """Keeps the token that stands in the address; the page then takes it out of there."""
        role = self.guard.given_role(connection)
        if role is None:
            return None
        return f"{self.guard.cookie(role)}={self.guard.token(role)}; Path=/; HttpOnly; SameSite=Strict"


def _safely(send: Send, *, cookie: str | None = None) -> Send:
    async def safely(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.update(HEADERS)
            if cookie is not None:
                headers.append("Set-Cookie", cookie)
        await send(message)

    return safely


class _Pages:
    """What is answered."""

    def __init__(self, director: Director, recorder: Recorder, session: Session, *, guard: Guard, told: Told) -> None:
        self.director, self.recorder, self.session, self.guard = director, recorder, session, guard
        self.previews, self._told = Previews(recorder), told

    async def operator(self, request: Request) -> Response:
        return self._only_operator(request) or FileResponse(STATIC / "operator.html")

    async def actor(self, request: Request) -> Response:
        return FileResponse(STATIC / "actor.html")

    async def script(self, request: Request) -> Response:
        return self._only_operator(request) or JSONResponse(script(self.session))

    async def preview(self, request: Request) -> Response:
        refused = self._only_operator(request)
        if refused is not None:
            return refused
        jpeg = await run_in_threadpool(self.previews.jpeg, request.path_params["serial"])
        return PlainTextResponse("no picture yet", 404) if jpeg is None else Response(jpeg, media_type="image/jpeg")

    async def sound(self, request: Request) -> Response:
        refused = self._only_operator(request)
        if refused is not None:
            return refused
        name = request.path_params["name"]
        # only names from the session's own log become paths
        known = any(name in state.takes for state in list(self.session.states.values()))
        path = self.session.takes / name / "audio.wav"
        return FileResponse(path) if known and path.is_file() else PlainTextResponse("no such take", 404)

    def _only_operator(self, request: Request) -> Response | None:
        allowed: Role | None = request.scope.get("role")
        return None if allowed == "operator" else PlainTextResponse("for the operator only", 403)

    async def talk(self, websocket: WebSocket) -> None:
        """The operator's page: state out, commands in."""
        if websocket.scope.get("role") != "operator":
            await websocket.close(code=4403)
            return
        await self._converse(
            websocket, lambda: operator_state(self.director, self.recorder, self.session), answer=self._press
        )  # fmt: skip

    async def prompt(self, websocket: WebSocket) -> None:
        """The actor's page: state out; whatever comes in is not listened to, whoever sends it."""
        await self._converse(websocket, lambda: actor_state(self.director), answer=lambda message: "")

    def _press(self, message: str) -> str:
        """Presses what a page asks for; returns why not, where it is no command."""
        asked = read_command(message)
        if isinstance(asked, str):
            return asked
        self.director.press(asked.command, asked.text)
        return ""

    async def _converse(
        self, websocket: WebSocket, state: Callable[[], dict[str, Any]], *, answer: Callable[[str], str]
    ) -> None:  # fmt: skip
        """Until the page is closed, which is nothing to recording."""
        await websocket.accept()
        pushing = asyncio.create_task(self._push(websocket, state))
        try:
            while (message := await websocket.receive())["type"] == "websocket.receive":
                refused = answer(message.get("text") or "")
                if refused:
                    await websocket.send_json({"refused": refused})
        except (WebSocketDisconnect, RuntimeError):
            pass
        finally:
            pushing.cancel()
            self._told.pop(websocket, None)

    async def _push(self, websocket: WebSocket, state: Callable[[], dict[str, Any]]) -> None:
        """Sends the state whenever it has changed, and now and then."""
        sent_s = 0.0
        with suppress(WebSocketDisconnect, RuntimeError):
            while True:
                now = state()
                if now != self._told.get(websocket) or time.monotonic() - sent_s > REPEAT_S:
                    await websocket.send_json(now)
                    self._told[websocket], sent_s = now, time.monotonic()
                await asyncio.sleep(PUSH_S)
