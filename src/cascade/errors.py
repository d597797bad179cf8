"""Every exception that Cascade raises of its own accord.

    CascadeError
    ├── StaticGraphError (ValueError)          the declaration itself is wrong
    │   └── CycleError                         nodes that wait for each other
    ├── DependencyMissingError (LookupError)   the target of a run gave no value
    ├── ResourceNotFoundError (LookupError)    an injected resource that nobody provides
    ├── ParameterError (ValueError)            a Param or Env that is missing, unknown or does not convert
    ├── JumpError (RuntimeError)               a Jump or TailCall that leads nowhere
    ├── RouterError (LookupError)              a Router whose selector names no route
    ├── ConstraintError (ValueError)           a need that no capacity can meet, a limit that makes no sense
    ├── CacheError (RuntimeError)              a cache that cannot key, read or keep a value
    ├── StateError (RuntimeError)              the state of a run cannot be read, written or gone on with
    │   ├── RunBusyError                       the run is going on elsewhere
    │   ├── RunLostError                       the run was taken over by somebody else
    │   └── RunChangedError                    what is to go on is not what was recorded
    ├── BudgetError (RuntimeError)             an agent has spent all that it was given
    ├── ChannelError (RuntimeError)            a channel that is closed, used elsewhere, or waited in in vain
    ├── ClusterError (RuntimeError)            a cluster that cannot be reached, has gone away or does not fit
    │   └── WorkerLostError                    the worker that ran a call died
    ├── ConnectorError (ConnectionError)       a connector or a door that cannot be reached or used
    └── MissingExtraError (ImportError)        a feature whose optional packages are not installed

Each is also a fitting built-in, so that code which knows nothing of Cascade can catch it. None is a
KeyError, which prints its message escaped. A wrong call of a task is a plain TypeError.
"""

from __future__ import annotations

__all__ = [
    "BudgetError",
    "CacheError",
    "CascadeError",
    "ChannelError",
    "ClusterError",
    "ConnectorError",
    "ConstraintError",
    "CycleError",
    "DependencyMissingError",
    "JumpError",
    "MissingExtraError",
    "ParameterError",
    "ResourceNotFoundError",
    "RouterError",
    "RunBusyError",
    "RunChangedError",
    "RunLostError",
    "StateError",
    "StaticGraphError",
    "WorkerLostError",
]


class CascadeError(Exception):
    """The root of every exception that Cascade raises of its own accord."""


class StaticGraphError(CascadeError, ValueError):
    """What was declared cannot be run, whatever the values turn out to be."""


class CycleError(StaticGraphError):
    """Nodes wait for each other; the message draws the cycle."""


class DependencyMissingError(CascadeError, LookupError):
    """The target of a run was skipped and has no value to give; the message has the reason."""


class ResourceNotFoundError(CascadeError, LookupError):
    """A task asks for a resource that was neither registered nor given."""


class ParameterError(CascadeError, ValueError):
    """A parameter is missing, unknown, declared twice or does not convert to its type."""


class JumpError(CascadeError, RuntimeError):
    """A Jump or TailCall that cannot be followed."""


class RouterError(CascadeError, LookupError):
    """A Router's selector gave a key that has no route."""


class ConstraintError(CascadeError, ValueError):
    """A node needs more of something than there will ever be, or an amount or a limit makes no sense."""


class CacheError(CascadeError, RuntimeError):
    """A value cannot be keyed, read or kept by a cache."""


class StateError(CascadeError, RuntimeError):
    """What is recorded of a run cannot be read, written or gone on with; the message says why and what to do."""


class RunBusyError(StateError):
    """A run of that name is going on already, here or in another process; the message says where and since when."""


class RunLostError(StateError):
    """A run was taken over by somebody else while this process did not answer for it; what it did since is dropped."""


class RunChangedError(StateError):
    """A run cannot go on as it was recorded: its graph or the items of a map are others; the message lists them."""


class BudgetError(CascadeError, RuntimeError):
    """A call, a loop or a sub-flow has spent all that it was given; the message says who spent what."""


class ChannelError(CascadeError, RuntimeError):
    """A channel is closed, or used where it cannot be, or all who could go on wait for each other in channels."""


class ClusterError(CascadeError, RuntimeError):
    """A cluster that calls are sent to cannot be reached, has gone away, or has other versions than are here."""


class WorkerLostError(ClusterError):
    """The worker of a cluster that ran a call died; `with_retry(on=cs.WorkerLostError)` has it run on another one."""


class ConnectorError(CascadeError, ConnectionError):
    """A connector or the door of an engine cannot be reached or used; the message says why and what to do."""


class MissingExtraError(CascadeError, ImportError):
    """A feature needs a package that is not installed; the message says what to install."""
