"""The kit for users' tests: doubles, spies, a virtual clock, simulations by seed, faults, and what stores must do."""

from cascade.testing.clock import VirtualClock
from cascade.testing.doubles import MockConnector, MockExecutor, MockSolver, SpyExecutor, SpySolver
from cascade.testing.faults import Fault, Faults
from cascade.testing.overriding import override_resource
from cascade.testing.simulation import Simulation, explore, simulate
from cascade.testing.spies import SpySubscriber
from cascade.testing.stores import STATE_CHECKS, check_state_backend

__all__ = [
    "Fault",
    "Faults",
    "MockConnector",
    "MockExecutor",
    "MockSolver",
    "STATE_CHECKS",
    "Simulation",
    "SpyExecutor",
    "SpySolver",
    "SpySubscriber",
    "VirtualClock",
    "check_state_backend",
    "explore",
    "override_resource",
    "simulate",
]
