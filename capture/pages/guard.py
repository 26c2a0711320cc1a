"""Who may see and press what. Pages that run in somebody's browser must not become anybody's door to the recorder.

On the loopback address, whoever sits at this machine is the operator; requests whose Host or Origin is another one come
from a foreign page and are refused. On any other address a token is needed: it is given once in the address and kept in
a cookie that no other site can send.
"""

import hmac
import ipaddress
import re
import secrets
import socket
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from mmface4d.errors import UsageError

Role = Literal["operator", "actor"]
ROLES: tuple[Role, ...] = ("operator", "actor")
ANY_ADDRESS = ("0.0.0.0", "::")
TOKEN = re.compile(r"[A-Za-z0-9_-]{8,200}")
FOREIGN = ("cross-site", "same-site")


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
        if is_loopback(host) and not token:
            return cls(host, port, None, None)
        return cls(host, port, token or secrets.token_urlsafe(18), secrets.token_urlsafe(18))

    def role(self, connection: HTTPConnection) -> Role | None:
        """Who asks; None where nobody may. A token in the address counts before those in cookies."""
        if self.operator_token is None or self.actor_token is None:
            return "operator"
        given = connection.query_params.get("token")
        if given is not None:
            return self._role_of(given)
        # one browser may show both pages, so each role has a cookie of its own
        return next((role for role in ROLES if self._role_of(connection.cookies.get(self.cookie(role))) == role), None)

    def given_role(self, connection: HTTPConnection) -> Role | None:
        """Whose token stands in the address."""
        return self._role_of(connection.query_params.get("token"))

    def cookie(self, role: Role) -> str:
        """Its name: cookies do not tell ports apart, and two sessions may run on one machine."""
        return f"mmface4d-{self.port}-{role}"

    def token(self, role: Role) -> str | None:
        """What lets somebody in."""
        return self.operator_token if role == "operator" else self.actor_token

    def _role_of(self, given: str | None) -> Role | None:
        for role in ROLES:
            token = self.token(role)
            if given and token and hmac.compare_digest(given.encode("utf-8", "replace"), token.encode()):
                return role
        return None

    def knows_host(self, connection: HTTPConnection) -> bool:
        """Whether the request was meant for this server, and not led here by a foreign name."""
        name = _host_name(connection.headers.get("host", ""))
        if is_loopback(self.host):
            return is_loopback(name)
        if self.host in ANY_ADDRESS:  # names that somebody else can give us are not among these
            return _is_address(name) or name in ("localhost", socket.gethostname().lower(), _local_name())
        return name == self.host.lower()

    def same_origin(self, connection: HTTPConnection) -> bool:
        """Whether a browser's request comes from our own page; programs that are no browsers send no Origin."""
        headers = connection.headers
        if headers.get("sec-fetch-site") in FOREIGN and headers.get("sec-fetch-mode") != "navigate":
            return False
        origin = headers.get("origin")
        return origin is None or origin.partition("://")[2] == headers.get("host")

    def url(self, path: str, role: Role) -> str:
        """An address to open; where any address of this machine is served, its name stands in it."""
        name = socket.gethostname() if self.host in ANY_ADDRESS else self.host
        token = self.token(role)
        return f"http://{f'[{name}]' if ':' in name else name}:{self.port}{path}" + (f"?token={token}" if token else "")


def check_token(token: str | None) -> str | None:
    """The token itself; raises UsageError where it is none that a cookie can hold, or too easily guessed."""
    if token and not TOKEN.fullmatch(token):
        raise UsageError("this is no token for the pages", hint="at least 8 letters, digits, - or _")
    return token


def is_loopback(name: str) -> bool:
    """Whether an address is this machine's own."""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def _local_name() -> str:
    return f"{socket.gethostname().lower()}.local"


def _host_name(header: str) -> str:
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
