"""The benchmark: `vllm bench serve`, and the figures from its result file."""

import json
import shutil
from pathlib import Path
from typing import Optional

from msserviceprofiler.modelevalstate.config.config import PerformanceIndex, VllmBenchmarkConfig, get_settings
from msserviceprofiler.modelevalstate.config.custom_command import VllmBenchmarkCommand
from msserviceprofiler.modelevalstate.optimizer.benchmark import BenchmarkInterface

MS_PER_S = 1000


class VllmBenchMark(BenchmarkInterface):
    def __init__(self, config: Optional[VllmBenchmarkConfig] = None, *args, **kwargs):

        if config:
            self.config = config
        else:
            settings = get_settings()
            if settings.name != "vllm-inference-optimization":
                raise ValueError("Settings is invalidator.")
            self.config = settings.vllm_benchmark
        super().__init__(*args, **kwargs)
        self.command = VllmBenchmarkCommand(self.config.command).command

    @property
    def num_prompts(self):
        return self.config.command.num_prompts

    @num_prompts.setter
    def num_prompts(self, value):
        self.config.command.num_prompts = value

    def update_command(self):
        self.command = VllmBenchmarkCommand(self.config.command).command

    def prepare(self):
        """Begin with an empty folder, so that an old result is never taken for the new one."""
        folder = Path(self.config.command.result_dir)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)

    def get_performance_index(self):
        results = list(Path(self.config.command.result_dir).glob("*.json"))
        if len(results) != 1:
            raise ValueError(f"expected one result in {self.config.command.result_dir}, found {len(results)}")
        found = json.loads(results[0].read_text())
        return PerformanceIndex(
            generate_speed=found["output_throughput"],
            time_to_first_token=found["mean_ttft_ms"] / MS_PER_S,
            time_per_output_token=found["mean_tpot_ms"] / MS_PER_S,
            success_rate=found["completed"] / found["num_prompts"],
            throughput=found["request_throughput"],
        )
