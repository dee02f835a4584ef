"""`python -m msprof_runners.serving MODEL`: load a model and serve it; run by its path, too, where torch is."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

PREFILL_TOKENS = 2048
BATCH_SIZE = 16


def find_packages() -> None:
    """Let this environment, which need not have this package installed, import it from where this file lies.

    At the end of the path, so that whatever is installed here wins.
    """
    home = Path(__file__).resolve().parents[2]
    folders = [home, *([home.parent] if (home.parent / "pytest_msprof").is_dir() else [])]
    sys.path += [str(folder) for folder in folders if str(folder) not in sys.path]


def parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, dict[str, Any]]:
    """Return the options of the server, and the settings of the runner among them."""
    parser = argparse.ArgumentParser(
        prog="python -m msprof_runners.serving",
        description="Serve a model by OpenAI's API. Every key of a runner's settings is an option: --exe-mode eager.",
    )
    parser.add_argument("model", help="folder of the model")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--served-model-name", help="the name that requests give (default: the folder as it was given)")
    parser.add_argument("--settings", help="settings file of a runner, packaged or by its path")
    parser.add_argument("--batch-size", type=int, default=BATCH_SIZE, help="most requests at once (%(default)s)")
    parser.add_argument(
        "--prefill-tokens", type=int, default=PREFILL_TOKENS, help="most tokens of prompts in one step (%(default)s)"
    )
    parser.add_argument("--max-model-len", type=int, help="most tokens of prompt and answer together")
    options, others = parser.parse_known_args(arguments)
    return options, _settings(parser, others)


def _settings(parser: argparse.ArgumentParser, others: Sequence[str]) -> dict[str, Any]:
    """Read what is left as pairs of a settings key and its value, spelled as in YAML.

    A flag without a value is true, and false where its name begins with `no-`.
    """
    import yaml

    found: dict[str, Any] = {}
    rest = list(others)
    while rest:
        name = rest.pop(0)
        if not name.startswith("--"):
            parser.error(f"unrecognized arguments: {name}")
        key, equals, value = name.removeprefix("--").partition("=")
        if not equals and rest and not rest[0].startswith("--"):
            value = rest.pop(0)
        elif not equals:
            value, key = ("false", key.removeprefix("no-")) if key.startswith("no-") else ("true", key)
        found[key.replace("-", "_")] = yaml.safe_load(value)
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until a signal comes; an error of ours is one line, and exit code 2 one of the options."""
    find_packages()
    from pytest_msprof.errors import CheckpointError, ConfigurationError, ModelNotFound, MsprofError

    options, settings = parse(sys.argv[1:] if arguments is None else arguments)
    try:
        serve(options, settings)
    except MsprofError as error:
        print(f"error: {type(error).__name__}: {error}", file=sys.stderr)  # noqa: T201 - a command says what is wrong
        is_option = isinstance(error, ConfigurationError) and not isinstance(error, (ModelNotFound, CheckpointError))
        return 2 if is_option else 1
    return 0


def serve(options: argparse.Namespace, settings: dict[str, Any]) -> None:
    """Load the model, then listen: whoever can connect gets an answer. Raises `ServiceError` when the model is lost."""
    import uvicorn

    from msprof_runners.serving.api import application
    from msprof_runners.serving.loaded import load
    from pytest_msprof.errors import ServiceError

    lost: list[str] = []

    def end(why: str) -> None:
        lost.append(why)
        server.should_exit = True

    with load(options.model, settings, file=options.settings, longest=options.max_model_len) as runner:
        app = application(
            runner,
            runner.begin_serving(most=options.batch_size, longest=options.max_model_len),
            name=options.served_model_name or options.model,
            batch_size=options.batch_size,
            prefill_tokens=options.prefill_tokens,
            on_end=end,
        )
        listen = {"host": options.host, "port": options.port, "timeout_graceful_shutdown": 5}
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, **listen))
        signal.signal(signal.SIGTERM, _leave)  # the server hands it on when it is done
        with suppress(KeyboardInterrupt):
            server.run()
    if lost:
        raise ServiceError(lost[0])


def _leave(number: int, _frame: object) -> None:
    """End this process by way of everything that is to be left behind tidily."""
    sys.exit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
