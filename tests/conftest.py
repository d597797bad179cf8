"""Settings of the whole suite."""

import os

from hypothesis import HealthCheck, settings

# How fast an example runs says more about the machine than about the code.
settings.register_profile("cascade", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("cascade")

os.environ["CASCADE_LANG"] = "en"  # whatever the locale of who runs the tests
