"""The executor that has functions called on the workers of a Ray cluster."""

from __future__ import annotations

import asyncio
from importlib import import_module
from typing import Any

from cascade.adapters.executors.cluster import Cluster, ClusterExecutor
from cascade.errors import ClusterError, MissingExtraError
from cascade.spec.notes import spelled

__all__ = ["RayExecutor"]

PATIENCE = 10.0
"""So many seconds the head of a cluster has to answer."""

_users = 0
"""How many connections there are to the Ray that was started here. A process has one Ray, which all of them share."""


class RayExecutor(ClusterExecutor):
    """Has sync functions called on a Ray cluster (extra `ray`).

    Async tasks, tasks with `mode="inline"`, generators and readers of streams stay in this process. What is sent there
    must pickle, as with `mode="process"`. The cluster needs the same Python, the same Ray and the same Cascade. What
    `@cs.task(resources={"GPU": 1})` names goes to Ray under the names that it has for it: `CPU` (1 by default), `GPU`,
    `memory` (bytes), and those that nodes were started with (`ray start --resources '{"TPU": 4}'`); a call waits until
    there is a worker for it.

    Args:
        address: of a cluster, as `"auto"` or `"10.0.0.1:6379"`, from a machine of it. By default the Ray that this
            process is connected to already (`ray.init`), or else workers on this machine, which end with the engine.
        batch_seconds: short calls of one function go in batches that take about so long; 0: each goes alone.
    """

    def __init__(self, address: str | None = None, *, batch_seconds: float = 0.1) -> None:
        super().__init__(batch_seconds)
        if address is not None and not isinstance(address, str):
            raise TypeError(f'RayExecutor takes the address of a cluster, as "10.0.0.1:6379", not {address!r}')
        self._address = address

    async def _connect(self) -> Cluster:
        """Return a connection to the Ray of this process, which begins with the first of them."""
        try:
            ray = await asyncio.to_thread(import_module, "ray")
        except ImportError as error:
            raise MissingExtraError(
                f"RayExecutor needs the package {error.name!r}: pip install cascade-py[ray]"
            ) from None
        from cascade.adapters.executors.ray_cluster import RayCluster

        where = self._address or "this machine"
        try:
            await _look_for(self._address)
            own = await asyncio.to_thread(_begin, ray, self._address)
            where = ray.get_runtime_context().gcs_address
            connected = RayCluster(ray, where, self._seconds, _end if own else None)
            await connected.open()
            return connected
        except Exception as error:
            raise ClusterError(
                f"the Ray cluster at {where} cannot be reached ({spelled(error)}): is a head running there, with this "
                "version of Ray and of Python, and may this machine connect to it?"
            ) from error


async def _look_for(address: str | None) -> None:
    """Raise OSError if nobody listens at an address: Ray itself asks for minutes."""
    host, colon, port = (address or "").removeprefix("ray://").rpartition(":")
    if colon and port.isdecimal():
        async with asyncio.timeout(PATIENCE):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
        writer.close()


def _begin(ray: Any, address: str | None) -> bool:
    """Connect this process to Ray, unless it is; say whether it was us."""
    global _users
    if not ray.is_initialized():
        _users = 0
        ray.init(address or "local", include_dashboard=False if address is None else None, configure_logging=False)
    elif not _users:
        return False
    _users += 1
    return True


def _end(ray: Any) -> None:
    """End the connection of this process to Ray with the last that needs it."""
    global _users
    _users -= 1
    if not _users:
        ray.shutdown()
