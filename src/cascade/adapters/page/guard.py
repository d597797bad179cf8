"""Who may ask the server of the page: this machine's user who has the token, from this very page.

Each request's Host is one that the server is known by, so that no other site's name leads here (DNS rebinding); what is
sent, and what a browser says comes from elsewhere, has the page's own Origin; all but the files of the page, in which
nothing is secret, needs the cookie that the token was given for.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Mapping

from cascade.errors import ConnectorError

__all__ = ["HEADERS", "Guard"]

FEWEST_LETTERS = 16
"""A token of fewer is guessed too easily."""
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src "
    "'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""Of every answer: nothing comes from elsewhere, no script stands in the page, and no other site frames it."""


class Guard:
    """Judges requests by their headers."""

    def __init__(self, token: str, port: int, host: str | None = None) -> None:
        """Keep what is allowed.

        Args:
            host: the name or address that the server is reached by besides those of loopback.

        Raises:
            ConnectorError: the token is too short.
        """
        if len(token) < FEWEST_LETTERS:
            raise ConnectorError(f"a token of the page has {FEWEST_LETTERS} letters or more")
        self._token = token
        self._port = port
        self._host = host
        self.cookie_name: str = f"cascade-{port}"
        self.cookie: str = hmac.new(token.encode(), b"cookie", "sha256").hexdigest()
        """What the cookie says: it is made of the token, which nobody finds from it."""

    def refusal(self, method: str, headers: Mapping[str, str]) -> str | None:
        """Say what is wrong with where a request comes from; None: nothing."""
        host = headers.get("host", "")
        if not self._is_ours(host):
            return "the server is not known by this Host"
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "same-origin")
        if origin is None and method not in ("GET", "HEAD"):
            return "what is sent says its Origin"
        if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
            return "the Origin is another site"
        if site not in ("same-origin", "none") and headers.get("sec-fetch-mode") != "navigate":
            return "another site asks"
        return None

    def _is_ours(self, host: str) -> bool:
        name, colon, port = host.lower().rpartition(":")
        if not colon or port != str(self._port):
            return False
        if name in LOOPBACK or (self._host is not None and name == self._host.lower()):
            return True
        if self._host is None:
            return False
        try:
            ipaddress.ip_address(name.strip("[]"))
        except ValueError:
            return False
        return True  # an address: no name of another site leads here by it

    def is_token(self, given: object) -> bool:
        """Say whether somebody knows the token."""
        return isinstance(given, str) and hmac.compare_digest(given.encode(), self._token.encode())

    def is_known(self, cookies: Mapping[str, str]) -> bool:
        """Say whether somebody was let in before."""
        given = cookies.get(self.cookie_name, "")
        return hmac.compare_digest(given.encode(), self.cookie.encode())
