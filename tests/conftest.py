"""What every test can count on."""

import os

from hypothesis import HealthCheck, settings

# A trace field that looks like key material is a failure here, and in the processes that tests start.
os.environ.setdefault("MRF_TRACE_STRICT", "1")

# The same examples in every run and no time limit: a run says something about the code, not about the machine.
settings.register_profile(
    "same", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("same")

pytest_plugins = ["key_watch"]
