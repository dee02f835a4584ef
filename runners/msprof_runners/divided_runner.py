"""A runner whose model is divided over processes of its own, with the face of one that runs in this process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from msprof_runners.checkpoint import read_config
from msprof_runners.parallel import check_model, check_world
from msprof_runners.prompts import Prompt
from msprof_runners.rank_processes import RankProcesses
from msprof_runners.runner_settings import RunnerSettings
from pytest_msprof.errors import ConfigurationError
from pytest_msprof.ids import new_id

if TYPE_CHECKING:
    from msprof_runners.generated import Generated
    from msprof_runners.serving.divided_rows import DividedRows
    from msprof_runners.serving.served import Served

__all__ = ["DividedRunner"]


class DividedRunner:
    """Runs a class of runners in `world_size` processes: each method is called in all of them.

    What a runner returns is that of the first process. Making a runner with a `world_size` above 1
    makes one of these, unless this process itself is one of several, as under torchrun.
    """

    def __init__(self, kind: type, settings: RunnerSettings) -> None:
        self.kind, self.runner_settings = kind, settings
        self.launch_id = new_id()
        """This load of the model: the unit of evidence in a comparison."""
        self.rows: DividedRows[Any]
        """The batch of a server, once `begin_serving` made it."""
        self._processes: RankProcesses | None = None

    def init_model(self, model: Any = None, config: Any = None) -> Self:
        """Start the processes and load a part of the model in each; sizes that do not fit it are refused before.

        *model* and *config* are as for a runner of one process, and must be importable.
        """
        settings = self.runner_settings
        check_model(
            read_config(Path(settings.model_path)), check_world(settings.world_size, settings.parallel.to_dict())
        )
        self.close()
        self._processes = RankProcesses.start(
            self.kind, settings.to_dict(), count=settings.world_size, launch_id=self.launch_id
        )
        self._call("init_model", model, config)
        return self

    def model_generate(self, prompts: str | Sequence[Prompt], warm_up: bool = False) -> Generated:  # noqa: FBT001, FBT002 - the guide's signature
        """Answer *prompts* as one batch, and return what the first process measured.

        Raises `ServiceExited` where a process died; then all are gone.
        """
        found: Generated = self._call("model_generate", prompts, warm_up)
        return found

    def prompts(self) -> list[Any]:
        """Return a batch of the size and kind that `data_config` says."""
        found: list[Any] = self._call("prompts")
        return found

    def begin_serving(self, *, most: int, longest: int | None = None) -> Served:
        """Make `rows`, in which a server generates for *most* requests at once, as a runner of one process does.

        Raises `ConfigurationError` where processes would answer different requests.
        """
        from msprof_runners.serving.divided_rows import DividedRows

        self.check_serving()
        served: Served = self._call("begin_serving", most=most, longest=longest)
        self.rows = DividedRows(self._call)
        return served

    def check_serving(self) -> None:
        """Raise `ConfigurationError` for a layout in which processes would answer different requests."""
        settings = self.runner_settings
        layout = check_world(settings.world_size, settings.parallel.to_dict())
        if layout.attn_dp_size > 1:
            raise ConfigurationError(
                f"a server's processes answer every request together: attn_tp_size must be world_size "
                f"{layout.world_size}, but is {layout.attn_tp_size}"
            )

    def save_model(self, folder: str | Path) -> None:
        """Write the part of each process to `folder/rank_<r>`, and configuration and tokenizer to *folder*."""
        self._call("save_model", folder)

    @property
    def is_loaded(self) -> bool:
        """Whether there is a model to ask: not before `init_model`, nor after a process died."""
        return self._processes is not None and self._processes.is_alive

    def close(self) -> None:
        """End the processes."""
        processes, self._processes = self._processes, None
        if processes is not None:
            processes.stop()

    def _call(self, method: str, *arguments: Any, **options: Any) -> Any:
        if self._processes is None:
            raise ConfigurationError("the runner has no model yet: call init_model() first")
        return self._processes.call(method, *arguments, **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
