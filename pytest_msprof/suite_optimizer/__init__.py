"""The suite that `pytest-msprof optimizer` runs."""
