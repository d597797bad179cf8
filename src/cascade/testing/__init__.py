"""The kit for users' tests: doubles, spies, and resources put in the place of others."""

from cascade.testing.doubles import MockExecutor, MockSolver, SpyExecutor, SpySolver
from cascade.testing.overriding import override_resource
from cascade.testing.spies import SpySubscriber

__all__ = ["MockExecutor", "MockSolver", "SpyExecutor", "SpySolver", "SpySubscriber", "override_resource"]
