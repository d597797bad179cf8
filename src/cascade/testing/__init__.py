"""The kit for users' tests: doubles, spies, a virtual clock, simulations, faults, what stores and executors must do."""

from cascade.testing.clock import VirtualClock
from cascade.testing.doubles import MockConnector, MockExecutor, MockSolver, SpyExecutor, SpySolver
from cascade.testing.executors import EXECUTOR_CHECKS, check_executor
from cascade.testing.faults import Fault, Faults
from cascade.testing.overriding import override_resource
from cascade.testing.simulation import Simulation, explore, simulate
from cascade.testing.spies import SpySubscriber
from cascade.testing.stores import STATE_CHECKS, check_state_backend

__all__ = [
    "EXECUTOR_CHECKS",
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
    "check_executor",
    "check_state_backend",
    "explore",
    "override_resource",
    "simulate",
]
