"""The engine: `vllm serve`, with its fields in the environment and in `$NAME` of the command."""

from typing import Optional

from msserviceprofiler.modelevalstate.config.config import VllmConfig, get_settings
from msserviceprofiler.modelevalstate.config.custom_command import VllmCommand
from msserviceprofiler.modelevalstate.optimizer.simulator import SimulatorInterface


class VllmSimulator(SimulatorInterface):
    def __init__(self, config: Optional[VllmConfig] = None, *args, **kwargs):
        if config:
            self.config = config
        else:
            settings = get_settings()
            if settings.name != "vllm-inference-optimization":
                raise ValueError("Settings is invalidator.")
            self.config = settings.vllm
        super().__init__(*args, process_name=self.config.process_name, **kwargs)

        self.command = VllmCommand(self.config.command).command

    @property
    def base_url(self):
        return f"http://{self.config.command.host}:{self.config.command.port}/health"

    def update_command(self):
        self.command = VllmCommand(self.config.command).command
