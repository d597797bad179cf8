"""Requests over HTTP: `cs.http.get(url)` and its like, by httpx."""

from __future__ import annotations

import json as _json
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cascade.providers.extras import missing
from cascade.providers.parts import Files, parts_of
from cascade.spec.policies import seconds_from
from cascade.spec.resource import inject, resource
from cascade.spec.shown import without_passwords
from cascade.spec.signal import UNSET
from cascade.spec.task import task

if TYPE_CHECKING:
    import httpx

__all__ = ["Headers", "HttpResponse", "HttpStatusError", "delete", "get", "http_client", "post", "put", "request"]


class Headers(Mapping[str, str]):
    """The headers of a response by name; upper and lower case are the same."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = {name.lower(): value for name, value in values.items()}

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __repr__(self) -> str:
        return f"Headers({self._values!r})"


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """What a server answered."""

    status: int
    headers: Headers
    body: bytes
    url: str = ""
    """Where it came from in the end: redirects are followed."""

    def __repr__(self) -> str:
        shown = f"status={self.status!r}, headers={self.headers!r}, body={self.body!r}"
        return f"HttpResponse({shown}, url={without_passwords(self.url)!r})"

    @property
    def ok(self) -> bool:
        """Whether the status is below 400."""
        return self.status < 400

    def text(self) -> str:
        """Return the body as text, in the charset that the server named, else UTF-8."""
        charset = "utf-8"
        for part in self.headers.get("content-type", "").split(";")[1:]:
            name, _, value = part.partition("=")
            if name.strip().lower() == "charset":
                charset = value.strip().strip("\"'")
        try:
            return self.body.decode(charset, "replace")
        except LookupError:
            return self.body.decode("utf-8", "replace")

    def json(self) -> Any:
        """Return what the body is as JSON. Raises ValueError if it is none."""
        try:
            return _json.loads(self.body)
        except ValueError as error:
            start = self.body[:60]
            raise ValueError(
                f"the body of {self.url or 'the response'} is no JSON: {error}; it begins {start!r}"
            ) from None


class HttpStatusError(RuntimeError):
    """A status of 400 or above, where `check=True` asks for less; `response` has all of it."""

    def __init__(self, response: HttpResponse) -> None:
        super().__init__(response)
        self.response: HttpResponse = response

    @property
    def status(self) -> int:
        """The status, such as 503."""
        return self.response.status

    def __str__(self) -> str:
        return f"{without_passwords(self.response.url)} answered {self.response.status}: {self.response.text()[:200]}"


@resource(name="http_client", scope="run")
async def http_client() -> AsyncIterator[httpx.AsyncClient]:
    """The client of a run: it keeps connections to be used again, and closes them when the run has ended."""
    try:
        import httpx
    except ImportError as error:
        raise missing("cs.http", "httpx", "http") from error

    async with httpx.AsyncClient(follow_redirects=True, timeout=None, verify=_trust()) as client:
        yield client


_context: Any = None


def _trust() -> Any:
    """Return what says whom to trust; to read it takes tens of milliseconds, so it is kept."""
    import ssl

    global _context
    if _context is None:
        import httpx

        _context = httpx.create_ssl_context()
    assert isinstance(_context, ssl.SSLContext)
    return _context


@task(name="http.request")
async def request(
    method: str,
    url: str,
    *,
    params: Mapping[str, object] | None = None,
    headers: Mapping[str, str] | None = None,
    json: object = UNSET,
    data: Mapping[str, object] | None = None,
    content: bytes | str | None = None,
    files: Files | None = None,
    timeout: float | None = 30.0,
    check: bool = False,
    client: httpx.AsyncClient = inject(http_client),
) -> HttpResponse:
    """Send a request and return the response, whatever its status.

    Args:
        method: "GET", "POST", ...
        url: with scheme; redirects are followed.
        params: for the query of the URL.
        headers: by name.
        json: the body, as JSON; None is `null`.
        data: the body, as a form.
        content: the body as it is.
        files: files of a form, by field, beside the `data` of it: a path (str or `pathlib.Path`) means the file that it
            names, bytes are content, and a tuple `(name, path or bytes)` or `(name, path or bytes, type)` says what the
            file is called; a list of such is several files of one field.
        timeout: seconds for all of it, body included; None: as long as it takes.
        check: a status of 400 or above is a failure.
        client: an `httpx.AsyncClient`; by default one for the run (the resource `http_client`).

    Raises:
        ValueError: what was given makes no request: no URL, more than one body.
        OSError: a file cannot be read.
        ConnectionError: the server cannot be reached, or broke off.
        TimeoutError: its time was up.
        HttpStatusError: `check` is true, and the status 400 or above.
    """
    return await send(
        client,
        method,
        url,
        timeout,
        check,
        params=params,
        headers=headers,
        json=json,
        data=data,
        content=content,
        files=files,
    )


@task(name="http.get")
async def get(
    url: str,
    *,
    params: Mapping[str, object] | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float | None = 30.0,
    check: bool = False,
    client: httpx.AsyncClient = inject(http_client),
) -> HttpResponse:
    """Send a GET; arguments and errors are those of `request`."""
    return await send(client, "GET", url, timeout, check, params=params, headers=headers)


@task(name="http.post")
async def post(
    url: str,
    *,
    params: Mapping[str, object] | None = None,
    headers: Mapping[str, str] | None = None,
    json: object = UNSET,
    data: Mapping[str, object] | None = None,
    content: bytes | str | None = None,
    files: Files | None = None,
    timeout: float | None = 30.0,
    check: bool = False,
    client: httpx.AsyncClient = inject(http_client),
) -> HttpResponse:
    """Send a POST; arguments and errors are those of `request`."""
    return await send(
        client,
        "POST",
        url,
        timeout,
        check,
        params=params,
        headers=headers,
        json=json,
        data=data,
        content=content,
        files=files,
    )


@task(name="http.put")
async def put(
    url: str,
    *,
    params: Mapping[str, object] | None = None,
    headers: Mapping[str, str] | None = None,
    json: object = UNSET,
    data: Mapping[str, object] | None = None,
    content: bytes | str | None = None,
    files: Files | None = None,
    timeout: float | None = 30.0,
    check: bool = False,
    client: httpx.AsyncClient = inject(http_client),
) -> HttpResponse:
    """Send a PUT; arguments and errors are those of `request`."""
    return await send(
        client,
        "PUT",
        url,
        timeout,
        check,
        params=params,
        headers=headers,
        json=json,
        data=data,
        content=content,
        files=files,
    )


@task(name="http.delete")
async def delete(
    url: str,
    *,
    params: Mapping[str, object] | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float | None = 30.0,
    check: bool = False,
    client: httpx.AsyncClient = inject(http_client),
) -> HttpResponse:
    """Send a DELETE; arguments and errors are those of `request`."""
    return await send(client, "DELETE", url, timeout, check, params=params, headers=headers)


async def send(
    client: httpx.AsyncClient, method: str, url: str, timeout: float | None, check: bool, **parts: Any
) -> HttpResponse:
    """Send a request and tell failures in Python's own words; `request` says which."""
    import asyncio

    import httpx

    shown = without_passwords(f"{url}")
    if not isinstance(url, str) or not url.lower().startswith(("http://", "https://")):
        raise ValueError(f"cs.http takes a URL that begins with http:// or https://, not {shown!r}")
    place = f"{method} {shown}"
    seconds = None if timeout is None else seconds_from(timeout, "cs.http(timeout=...)")
    try:
        async with asyncio.timeout(seconds) as clock:
            answer = await client.request(method, url, **await parts_of(place, parts))
    except TimeoutError:
        if clock.expired():
            raise TimeoutError(f"{place} took longer than {seconds} seconds") from None
        raise
    except httpx.InvalidURL as error:
        if shown != url:  # what is wrong with it may be the password
            raise ValueError(f"{place}: this is no URL; in a password / ? # @ and : are written as %2F ...") from None
        raise ValueError(f"{place}: this is no URL: {error}") from error
    except httpx.RequestError as error:
        raise _told(error, place) from error
    response = HttpResponse(answer.status_code, Headers(answer.headers), answer.content, str(answer.url))
    if check and not response.ok:
        raise HttpStatusError(response)
    return response


def _told(error: Exception, place: str) -> Exception:
    """Return a failure of httpx in Python's own words."""
    import httpx

    said = without_passwords(str(error) or repr(error))
    if isinstance(error, httpx.TimeoutException):  # of a client with limits of its own
        return TimeoutError(f"{place} took too long: {said}")
    if isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError):
        return ValueError(f"{place} cannot be sent: {said}")
    if isinstance(error, httpx.DecodingError):
        return ConnectionError(
            f"{place} failed: the body is not what its Content-Encoding says, or was cut off: {said}"
        )
    return ConnectionError(f"{place} failed: {said}")
