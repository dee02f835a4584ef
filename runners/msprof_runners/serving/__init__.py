"""A runner behind an endpoint that speaks OpenAI's API: `python -m msprof_runners.serving MODEL`."""
