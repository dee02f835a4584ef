"""Engines and load generators that come with pytest-msprof, registered like any stranger's."""
