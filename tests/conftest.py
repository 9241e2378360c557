"""Settings of all tests."""

from __future__ import annotations

from hypothesis import settings

# The same examples each time: what passes here passes there. The soak looks for new ones.
settings.register_profile("steady", derandomize=True)
settings.load_profile("steady")
