"""Who may see and press what. Pages that run in somebody's browser must not become anybody's door to the recorder.

On the loopback address, whoever sits at this machine is the operator; requests whose Host or Origin is another one come
from a foreign page and are refused. On any other address a token is needed: it is given once in the address and kept in
a cookie that no other site can send.
"""

import hmac
import ipaddress
import secrets
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

COOKIE = "mmface4d"
Role = Literal["operator", "actor"]


@dataclass(frozen=True)
class Guard:
    """The address that is served, and the tokens of both roles; None where none is needed."""

    host: str
    port: int
    operator_token: str | None
    actor_token: str | None

    @classmethod
    def of(cls, host: str, port: int, token: str | None) -> "Guard":
        """Tokens are made where the address is not this machine's own, or where one is given."""
        if is_loopback(host) and token is None:
            return cls(host, port, None, None)
        return cls(host, port, token or secrets.token_urlsafe(18), secrets.token_urlsafe(18))

    def role(self, connection: HTTPConnection) -> Role | None:
        """Who asks; None where nobody may."""
        if self.operator_token is None or self.actor_token is None:
            return "operator"
        given = connection.query_params.get("token") or connection.cookies.get(COOKIE) or ""
        if hmac.compare_digest(given.encode(), self.operator_token.encode()):
            return "operator"
        return "actor" if hmac.compare_digest(given.encode(), self.actor_token.encode()) else None

    def knows_host(self, connection: HTTPConnection) -> bool:
        """Whether the request was meant for this server, and not led here by a foreign name."""
        name = urlsplit(f"//{connection.headers.get('host', '')}").hostname or ""
        if is_loopback(self.host):
            return name == "localhost" or is_loopback(name)
        return name == self.host or _is_address(name) or self.host in ("0.0.0.0", "::")

    def same_origin(self, connection: HTTPConnection) -> bool:
        """Whether a browser's request comes from our own page; programs that are no browsers send no Origin."""
        origin = connection.headers.get("origin")
        return origin is None or urlsplit(origin).netloc == connection.headers.get("host")

    def url(self, path: str, token: str | None) -> str:
        """An address to open."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}{path}" + (f"?token={token}" if token else "")


def is_loopback(name: str) -> bool:
    """Whether an address is this machine's own."""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
