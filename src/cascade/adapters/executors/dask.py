"""The executor that has functions called on the workers of a Dask cluster, by an asynchronous client on our loop."""

from __future__ import annotations

from typing import Any

from cascade.adapters.executors.cluster import Cluster, ClusterExecutor
from cascade.adapters.executors.dask_cluster import DaskCluster
from cascade.errors import ClusterError, MissingExtraError
from cascade.spec.notes import spelled

__all__ = ["DaskExecutor"]


class DaskExecutor(ClusterExecutor):
    """Has sync functions called on a Dask cluster (extra `dask`).

    Async tasks, tasks with `mode="inline"`, generators and readers of streams stay in this process. What is sent there
    must pickle, as with `mode="process"`. The cluster needs the same Python, but for the last digit, and the same
    Cascade. What `@cs.task(resources={"GPU": 1})` names, a worker must have (`dask worker --resources "GPU=2"`): Dask
    counts it, and a call waits until there is a worker for it.

    Args:
        client_or_address: a `distributed.Client`, a cluster, or the address of a scheduler, as `"tcp://10.0.0.1:8786"`.
            By default workers are started on this machine, and ended with the engine.
        batch_seconds: short calls of one function go in batches that take about so long; 0: each goes alone.
    """

    def __init__(self, client_or_address: Any = None, *, batch_seconds: float = 0.1) -> None:
        super().__init__(batch_seconds)
        self._given = client_or_address

    async def _connect(self) -> Cluster:
        """Return a connection of our own: what a client of the user's listens to stays its own business."""
        try:
            import dask
            from distributed import Client, LocalCluster
        except ImportError as error:
            raise MissingExtraError(
                f"DaskExecutor needs the package {error.name!r}: pip install cascade-py[dask]"
            ) from None
        given, own, security = self._given, None, None
        address = given
        if given is None:
            with dask.config.set({"distributed.scheduler.allowed-failures": 0}):
                own = await LocalCluster(asynchronous=True, dashboard_address=":0")
            address = own.scheduler_address
        elif isinstance(given, Client):
            address, security = given.scheduler.address, given.security
        elif not isinstance(given, str):
            address, security = given.scheduler_address, getattr(given, "security", None)
        client = Client(address, asynchronous=True, set_as_default=False, security=security)
        try:
            await client
            connected = DaskCluster(client, own, address, self._seconds)
            await connected.look()
            return connected
        except Exception as error:
            await client.close()
            raise ClusterError(
                f"the Dask cluster at {address} cannot be reached ({spelled(error)}): is a scheduler running there, "
                "and may this machine connect to it?"
            ) from error
