"""What all tests of the harness share: Hypothesis without deadlines, since the machines are shared."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("shared-machine", deadline=None)
settings.load_profile("shared-machine")
