"""What every test can count on."""

import os

# A trace field that looks like key material is a failure here, and in the processes that tests start.
os.environ.setdefault("MRF_TRACE_STRICT", "1")

pytest_plugins = ["key_watch"]
