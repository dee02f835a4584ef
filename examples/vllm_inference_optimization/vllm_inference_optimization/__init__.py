"""An engine `vllm_infer` and a benchmark `vllm_infer_benchmark`, registered under the original's names."""


def register():
    """Called once when the plugin is loaded, although two groups list it."""
    from msserviceprofiler.modelevalstate.config.config import register_settings
    from msserviceprofiler.modelevalstate.optimizer.register import register_benchmarks, register_simulator

    from vllm_inference_optimization.benchmark import VllmBenchMark
    from vllm_inference_optimization.settings import CusSettings
    from vllm_inference_optimization.simulator import VllmSimulator

    register_settings(lambda: CusSettings())
    register_simulator("vllm_infer", VllmSimulator)
    register_benchmarks("vllm_infer_benchmark", VllmBenchMark)
