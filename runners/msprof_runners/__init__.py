"""ModelRunner: one runner for CPU, CUDA and Ascend NPU."""
