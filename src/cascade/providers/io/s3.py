"""Objects of S3 and what speaks its language, by aiobotocore: `cs.io.s3.read(bucket, key)`."""

from __future__ import annotations

import builtins
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, TypeVar, overload

from cascade.providers.extras import missing
from cascade.spec.policies import seconds_from
from cascade.spec.resource import inject, resource
from cascade.spec.shown import without_passwords
from cascade.spec.task import Task, task

if TYPE_CHECKING:
    from cascade.spec.lazy import LazyResult

__all__ = ["delete", "exists", "list", "read", "s3_clients", "write"]

R = TypeVar("R")
ABSENT = frozenset({"404", "NoSuchBucket", "NoSuchKey", "NotFound"})


class Clients:
    """The S3 clients of a run by endpoint."""

    def __init__(self, stack: AsyncExitStack) -> None:
        import asyncio

        self._stack = stack
        self._clients: dict[str | None, Any] = {}
        self._lock = asyncio.Lock()

    async def of(self, endpoint: str | None) -> Any:
        """Return the client of an endpoint; None is what the environment and files of AWS say."""
        try:
            from aiobotocore.session import get_session
        except ImportError as error:
            raise missing("cs.io.s3", "aiobotocore", "s3") from error

        async with self._lock:
            if endpoint not in self._clients:
                session = get_session()
                session.register_component("data_loader", _descriptions(session))
                made = session.create_client("s3", endpoint_url=endpoint)
                self._clients[endpoint] = await self._stack.enter_async_context(made)
            return self._clients[endpoint]


_loader: Any = None


def _descriptions(session: Any) -> Any:
    """Return what reads the descriptions of AWS's services, once for all sessions: it takes a good part of a second."""
    global _loader
    if _loader is None:
        _loader = session.get_component("data_loader")
    return _loader


@resource(name="s3_clients", scope="run")
async def s3_clients() -> AsyncIterator[Clients]:
    """The S3 clients of a run: connections are used again, and closed when the run has ended."""
    async with AsyncExitStack() as stack:
        yield Clients(stack)


class _Read(Task[..., Any]):
    """What type checkers see of `read`: text where there is an encoding."""

    @overload
    def __call__(
        self,
        bucket: Any,
        key: Any,
        *,
        encoding: None = None,
        endpoint: Any = ...,
        timeout: Any = ...,
        clients: Any = ...,
    ) -> LazyResult[bytes]: ...
    @overload
    def __call__(
        self, bucket: Any, key: Any, *, encoding: str, endpoint: Any = ..., timeout: Any = ..., clients: Any = ...
    ) -> LazyResult[str]: ...
    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...


def _typed(func: Callable[..., Awaitable[bytes | str]]) -> _Read:
    made: _Read = task(name="io.s3.read")(func)  # type: ignore[assignment]
    return made


@_typed
async def read(
    bucket: str,
    key: str,
    *,
    encoding: str | None = None,
    endpoint: str | None = None,
    timeout: float | None = 60.0,
    clients: Clients = inject(s3_clients),
) -> bytes | str:
    """Return what an object holds: bytes, or text where an encoding is given.

    Credentials, region and endpoint are those of AWS's own environment variables and files.

    Args:
        bucket: its bucket.
        key: its key.
        encoding: what the bytes are read in, such as "utf-8"; by default they stay bytes.
        endpoint: the URL of another S3 server.
        timeout: seconds for all of it; None: as long as it takes.
        clients: what keeps the connections; by default the resource `s3_clients` of the run.

    Raises:
        FileNotFoundError: there is no such bucket or object.
        PermissionError: the server does not allow it, or there are no credentials.
        ConnectionError: the server cannot be reached, or broke off.
        TimeoutError: its time was up.
        ValueError: a bucket or key that cannot be.
        UnicodeDecodeError: it is not in this encoding.
    """

    async def work(client: Any) -> bytes:
        answer = await client.get_object(Bucket=bucket, Key=key)
        async with answer["Body"] as body:
            content: bytes = await body.read()
            return content

    content = await _do("read", bucket, key, endpoint, timeout, clients, work)
    return content if encoding is None else content.decode(encoding)


@task(name="io.s3.write")
async def write(
    bucket: str,
    key: str,
    data: bytes | str,
    *,
    encoding: str = "utf-8",
    endpoint: str | None = None,
    timeout: float | None = 60.0,
    clients: Clients = inject(s3_clients),
) -> str:
    """Make or replace an object (a str in the encoding) and return `s3://bucket/key`; the rest is as for `read`."""
    if not isinstance(data, (bytes, bytearray, str)):
        raise TypeError(f"cs.io.s3.write writes bytes or a str, not {type(data).__name__}")

    async def work(client: Any) -> str:
        body = data.encode(encoding) if isinstance(data, str) else bytes(data)
        await client.put_object(Bucket=bucket, Key=key, Body=body)
        return f"s3://{bucket}/{key}"

    return await _do("write", bucket, key, endpoint, timeout, clients, work)


@task(name="io.s3.exists")
async def exists(
    bucket: str,
    key: str,
    *,
    endpoint: str | None = None,
    timeout: float | None = 60.0,
    clients: Clients = inject(s3_clients),
) -> bool:
    """Say whether there is such an object; without its bucket there is none. The rest is as for `read`."""

    async def work(client: Any) -> bool:
        await client.head_object(Bucket=bucket, Key=key)
        return True

    try:
        return await _do("look for", bucket, key, endpoint, timeout, clients, work)
    except FileNotFoundError:
        return False


@task(name="io.s3.list")
async def list(
    bucket: str,
    prefix: str = "",
    *,
    endpoint: str | None = None,
    timeout: float | None = 60.0,
    clients: Clients = inject(s3_clients),
) -> builtins.list[str]:
    """Return the keys of a bucket that begin with a prefix, all of them, sorted; the rest is as for `read`."""

    async def work(client: Any) -> builtins.list[str]:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return sorted([each["Key"] async for page in pages for each in page.get("Contents", ())])

    return await _do("list", bucket, prefix, endpoint, timeout, clients, work)


@task(name="io.s3.delete")
async def delete(
    bucket: str,
    key: str,
    *,
    endpoint: str | None = None,
    timeout: float | None = 60.0,
    clients: Clients = inject(s3_clients),
) -> None:
    """Take an object away; that there is none is no failure. The rest is as for `read`."""

    async def work(client: Any) -> None:
        await client.delete_object(Bucket=bucket, Key=key)

    await _do("delete", bucket, key, endpoint, timeout, clients, work)


async def _do(
    what: str,
    bucket: str,
    key: str,
    endpoint: str | None,
    timeout: float | None,
    clients: Clients,
    work: Callable[[Any], Awaitable[R]],
) -> R:
    """Do something with a client, and tell failures in Python's own words."""
    import asyncio

    seconds = None if timeout is None else seconds_from(timeout, "cs.io.s3(timeout=...)")
    place = f"{what} s3://{bucket}/{key}"
    if not isinstance(bucket, str) or not isinstance(key, str):
        raise ValueError(f"cannot {place}: bucket and key are str, not {bucket!r} and {key!r}")
    try:
        async with asyncio.timeout(seconds) as clock:
            return await work(await clients.of(endpoint))
    except TimeoutError:
        if clock.expired():
            raise TimeoutError(f"to {place} took longer than {seconds} seconds") from None
        raise
    except Exception as error:
        told = _told(error, place)
        if told is None:
            raise
        raise told from (error if without_passwords(str(error)) == str(error) else None)


def _told(error: Exception, place: str) -> Exception | None:
    from botocore import exceptions as aws

    said = f"cannot {place}: {without_passwords(str(error))}"
    if isinstance(error, aws.ClientError):
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in ABSENT:
            return FileNotFoundError(said)
        if code in ("AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch"):
            return PermissionError(said)
        return None
    if isinstance(error, aws.NoCredentialsError):
        return PermissionError(said)
    if isinstance(error, aws.ConnectTimeoutError | aws.ReadTimeoutError):
        return TimeoutError(said)
    if isinstance(error, aws.ConnectionError | aws.HTTPClientError):
        return ConnectionError(said)
    if isinstance(error, aws.ParamValidationError | ValueError):
        return ValueError(said)
    return None
