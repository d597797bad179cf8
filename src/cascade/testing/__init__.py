"""The kit for users' tests: doubles, spies, a virtual clock, simulations by seed, and faults."""

from cascade.testing.clock import VirtualClock
from cascade.testing.doubles import MockConnector, MockExecutor, MockSolver, SpyExecutor, SpySolver
from cascade.testing.faults import Fault, Faults
from cascade.testing.overriding import override_resource
from cascade.testing.simulation import Simulation, explore, simulate
from cascade.testing.spies import SpySubscriber

__all__ = [
    "Fault",
    "Faults",
    "MockConnector",
    "MockExecutor",
    "MockSolver",
    "Simulation",
    "SpyExecutor",
    "SpySolver",
    "SpySubscriber",
    "VirtualClock",
    "explore",
    "override_resource",
    "simulate",
]
