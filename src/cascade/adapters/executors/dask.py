"""The executor that has functions called on the workers of a Dask cluster, by an asynchronous client on our loop."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from cascade.adapters.executors import crossing
from cascade.adapters.executors.batches import Item
from cascade.adapters.executors.dask_cluster import WAY, Cluster, described
from cascade.adapters.executors.local import LocalExecutor
from cascade.errors import ClusterError, MissingExtraError
from cascade.spec.inside import inside_of
from cascade.spec.notes import spelled
from cascade.spec.protocols import CallNode
from cascade.spec.streams import Stream

__all__ = ["DaskExecutor"]


class DaskExecutor:
    """Has sync functions called on a Dask cluster (extra `dask`).

    Async tasks, tasks with `mode="inline"`, generators and readers of streams stay in this process. What is sent there
    must pickle, as with `mode="process"`. The cluster needs the same Python, but for the last digit, and the same
    Cascade.

    Args:
        client_or_address: a `distributed.Client`, a cluster, or the address of a scheduler, as `"tcp://10.0.0.1:8786"`.
            By default workers are started on this machine, and ended with the engine.
        resources: what tasks need of a worker, by their names: `{"train": {"GPU": 1}}`. Workers say what they have
            (`dask worker --resources "GPU=2"`), and Dask counts it; a call waits until there is a worker for it.
        batch_seconds: short calls of one function go in batches that take about so long; 0: each goes alone.
    """

    tells_begun = True

    def __init__(
        self,
        client_or_address: Any = None,
        *,
        resources: Mapping[str, Mapping[str, float]] | None = None,
        batch_seconds: float = 0.1,
    ) -> None:
        if not isinstance(batch_seconds, (int, float)) or not 0 <= batch_seconds < float("inf"):
            raise ValueError(f"DaskExecutor needs batch_seconds of 0 or more, not {batch_seconds!r}")
        self._given = client_or_address
        self._options = float(batch_seconds), {name: dict(each) for name, each in (resources or {}).items()}
        self._cluster: Cluster | None = None
        self._opening: asyncio.Task[Cluster] | None = None
        self._here = LocalExecutor()

    async def execute(self, node: CallNode, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the node's function on a worker, or here where its task belongs here; return what it returns.

        Raises:
            ClusterError: the cluster cannot be reached, has gone away, or does not fit; WorkerLostError: a worker died.
            TypeError: the function, an argument or the result does not pickle.
        """
        if node.is_async:
            return await node.func(*args, **kwargs)
        if node.mode == "inline":
            return node.func(*args, **kwargs)
        if any(isinstance(value, Stream) for value in (*args, *kwargs.values())):
            return await self._here.in_thread(node.func, args, kwargs, "reading", begun=node.begun)
        cluster = self._cluster
        if cluster is None or cluster.loop is not asyncio.get_running_loop():
            cluster = await self._open()
        inside = inside_of()
        about, place = (None if inside is None else inside.about_here()) or (None, None)
        item = Item(node, args, kwargs, about, place, crossing.variables_here())
        cluster.batches.put(item)
        try:
            outcome = await item.future
        except asyncio.CancelledError:
            cluster.withdraw(item, inside)
            raise
        return crossing.unpack_outcome(described(node), outcome, WAY)

    async def _open(self) -> Cluster:
        """Connect, once for all calls that need it."""
        if self._opening is None or self._opening.get_loop() is not asyncio.get_running_loop():
            self._opening = asyncio.get_running_loop().create_task(_connect(self._given, *self._options))
        opening = self._opening
        try:
            self._cluster = await asyncio.shield(opening)
        except Exception:
            self._opening = None
            raise
        return self._cluster

    async def aclose(self) -> None:
        """Take leave of the cluster, and end it if it was started here. Calls made later connect again."""
        opening, self._opening, self._cluster = self._opening, None, None
        await self._here.aclose()
        if opening is not None and opening.get_loop() is asyncio.get_running_loop():
            with suppress(Exception):
                await (await opening).close()


async def _connect(given: Any, seconds: float, resources: Mapping[str, Mapping[str, float]]) -> Cluster:
    """Return a connection of our own to a cluster: what a client of the user's listens to stays its own business."""
    try:
        import dask
        from distributed import Client, LocalCluster
    except ImportError as error:
        raise MissingExtraError(
            f"DaskExecutor needs the package {error.name!r}: pip install cascade-py[dask]"
        ) from None
    cluster = security = None
    address = given
    if given is None:
        with dask.config.set({"distributed.scheduler.allowed-failures": 0}):
            cluster = await LocalCluster(asynchronous=True, dashboard_address=":0")
        address = cluster.scheduler_address
    elif isinstance(given, Client):
        address, security = given.scheduler.address, given.security
    elif not isinstance(given, str):
        address, security = given.scheduler_address, getattr(given, "security", None)
    client = Client(address, asynchronous=True, set_as_default=False, security=security)
    try:
        await client
        connected = Cluster(client, cluster, address, seconds, resources)
        await connected.look()
        return connected
    except Exception as error:
        await client.close()
        raise ClusterError(
            f"the Dask cluster at {address} cannot be reached ({spelled(error)}): is a scheduler running there, and "
            "may this machine connect to it?"
        ) from error
