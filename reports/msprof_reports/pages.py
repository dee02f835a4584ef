"""The engine behind every page: templates that escape what they show and refuse what they do not know."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

__all__ = ["page_environment"]


def page_environment() -> Environment:
    """Return a fresh environment over the packaged templates."""
    return Environment(
        loader=PackageLoader("msprof_reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
