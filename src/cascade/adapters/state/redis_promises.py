"""Whether a Redis server is set such that it can keep what a store of runs promises."""

from __future__ import annotations

from typing import Any

from cascade.errors import StateError

__all__ = ["check_log", "check_memory"]

WAITAOF = (7, 2)
"""Since which version a server can be waited for until its disk has something."""


def check_memory(client: Any, where: str) -> None:
    """Raise StateError for a server that forgets what it has no room for."""
    policy = str(client.info("memory").get("maxmemory_policy", "noeviction"))
    if policy != "noeviction":
        raise StateError(
            f"the Redis server of {where} forgets what it has no room for (maxmemory-policy {policy}), and would "
            "forget runs; set maxmemory-policy noeviction there, or give another server"
        )


def check_log(client: Any, where: str, durability: str) -> bool:
    """Return whether it is to be waited for until the disk has what was written.

    Raises:
        StateError: the server cannot keep what this durability promises.
    """
    if not int(client.info("persistence").get("aof_enabled", 0)):
        raise StateError(
            f"the Redis server of {where} writes no log (appendonly no), so that runs are lost where it ends; set "
            "appendonly yes there, or give another server"
        )
    if durability != "each":
        return False
    version = str(client.info("server")["redis_version"])
    if tuple(int(part) for part in version.split(".")[:2]) >= WAITAOF:
        return True
    try:
        found = client.config_get("appendfsync", "no-appendfsync-on-rewrite")
    except Exception as error:  # a hosted server may let nobody ask; what was lost is told by who asks next
        if "unknown command" not in str(error).lower() and "permission" not in str(error).lower():
            raise
        found = {}
    said = {_text(name): _text(value) for name, value in found.items()}
    if said.get("appendfsync") != "always" or said.get("no-appendfsync-on-rewrite") != "no":
        shown = ", ".join(f"{name} {value}" for name, value in said.items()) or "CONFIG GET is refused"
        raise StateError(
            f'the Redis server of {where} does not wait for its disk ({shown}), and durability="each" promises that; '
            "set appendfsync always and no-appendfsync-on-rewrite no there, use Redis 7.2 or later (which has "
            'WAITAOF), or durability="group"'
        )
    return False


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
