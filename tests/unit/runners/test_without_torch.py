"""Without torch nothing breaks that does not need it, and what does says what to install."""

from __future__ import annotations

import subprocess
import sys

WITHOUT = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "transformers"):
            raise ImportError(f"no module named {name}")

sys.meta_path.insert(0, Hidden())
"""


def python(code):
    found = subprocess.run([sys.executable, "-c", WITHOUT + code], capture_output=True, text=True, check=False)
    return found.returncode, found.stdout + found.stderr


def test_runners_are_registered_and_settings_are_read():
    code, said = python(
        "from pytest_msprof.registry import Registry; import msprof_runners\n"
        "registry = Registry(); msprof_runners.pytest_msprof_register_runners(registry)\n"
        "print(registry.runners.names(), msprof_runners.RunnerSettings.from_yaml('tiny_llama').exe_mode)"
    )
    assert (code, said.strip()) == (0, "('gpt_oss', 'huggingface') eager")


def test_a_runner_says_what_to_install():
    code, said = python("from msprof_runners import HuggingFaceRunner; HuggingFaceRunner({'model_name': 'none'})")
    assert code == 1
    assert "DeviceUnavailable: a runner needs torch, which cannot be imported" in said
    assert "pip install 'pytest-msprof[runners]'" in said
