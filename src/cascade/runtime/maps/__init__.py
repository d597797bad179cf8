"""Maps: one call for each item, from wherever the items come to wherever the results go."""

from cascade.runtime.maps.items import run_map
from cascade.runtime.maps.outlet import Outlet, completed

__all__ = ["Outlet", "completed", "run_map"]
