"""Load generators of somebody else, each run in its own interpreter."""

from __future__ import annotations
