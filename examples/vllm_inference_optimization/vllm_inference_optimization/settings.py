"""Settings of one's own: everything that `Settings` reads, and a name."""

from msserviceprofiler.modelevalstate.config.config import Settings


class CusSettings(Settings):
    name: str = "vllm-inference-optimization"
