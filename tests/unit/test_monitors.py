"""The built-in monitors read what engines, the kernel and devices say."""

# ruff: noqa: N802 - the names of NVIDIA's library and of http.server

from __future__ import annotations

import ctypes
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from msprof_plugins.monitors import HostMonitor, NpuMonitor, NvmlMonitor, ServerMonitor
from msprof_plugins.monitors.exposition import QUANTITIES, quantities
from msprof_plugins.monitors.npu_smi import devices
from pytest_msprof.monitors import Watched
from pytest_msprof.slots import free_port

DATA = Path(__file__).parents[1] / "data" / "metrics"
VLLM = (DATA / "vllm-0.32.0.txt").read_text()
HERE, ELSEWHERE = Watched("http://127.0.0.1:8000"), Watched("http://10.0.0.7:8000")
NPUS = """
+------------------------------------------------------------------------------------------------+
| npu-smi 24.1.rc2                 Version: 24.1.rc2                                             |
+---------------------------+---------------+----------------------------------------------------+
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip                      | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
+===========================+===============+====================================================+
| 0     910B3               | OK            | 92.5        39                0    / 0             |
| 0                         | 0000:C1:00.0  | 25          0    / 0          4330 / 65536         |
+===========================+===============+====================================================+
| 3     310P3               | OK            | NA          44                0    / 0             |
| 0       0                 | 0000:01:00.0  | 0           1622 / 21534                           |
| 1       1                 | 0000:01:00.0  | 7           1622 / 21534                           |
+===========================+===============+====================================================+
| NPU     Chip              | Process id    | Process name             | Process memory(MB)      |
+===========================+===============+====================================================+
"""


TRITON = """
nv_inference_request_success{model="tensorrt_llm",version="1"} 7
nv_inference_pending_request_count{model="tensorrt_llm",version="1"} 3
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="waiting",version="1"} 2
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="scheduled",version="1"} 1
nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="max",version="1"} 512
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="used",model="tensorrt_llm",version="1"} 16
nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction",model="tensorrt_llm",version="1"} 0.25
"""
"""What its backend for TensorRT-LLM adds to Triton's own counts: a label says what a line is about."""


def test_a_real_vllm_is_understood():
    assert quantities(VLLM) == {
        "running": 0,
        "waiting": 0,
        "kv_usage": 0,
        "preemptions": 0,
        "prefix_hits": 0,
        "prefix_queries": 1347,
        "input_tokens": 1347,
        "output_tokens": 1345,
        "requests": 43,
    }


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('sglang:num_running_reqs{model_name="m"} 3.0\nsglang:token_usage 0.28', {"running": 3, "kv_usage": 0.28}),
        ("tgi_queue_size 2\ntgi_request_generated_tokens_sum 640", {"waiting": 2, "output_tokens": 640}),
        (TRITON, {"running": 1, "waiting": 2, "kv_usage": 0.25, "requests": 7}),
        ("tgi_request_success_total 4", {"requests": 4}),
        ('nv_inference_request_success{model="a"} 3\nnv_inference_request_success{model="b"} 4', {"requests": 7}),
        ('vllm:kv_cache_usage_perc{engine="0"} 0.5\nvllm:kv_cache_usage_perc{engine="1"} 0.75', {"kv_usage": 0.75}),
        ('vllm:num_requests_running{model_name="a}\\"b"} 2 1700000000', {"running": 2}),
        ("vllm:kv_cache_usage_perc 0.5\nvllm:gpu_cache_usage_perc 0.9", {"kv_usage": 0.5}),
        ("vllm:num_requests_running NaN", {}),
        ("vllm:num_requests_running", {}),
        ("vllm:num_requests_running many", {}),
        ("# HELP vllm:num_requests_running 3", {}),
        ("vllm:num_requests_running_created 3\nhttp_requests_total 4", {}),
    ],
)
def test_every_engine_says_it_in_its_own_words(text, found):
    assert quantities(text) == found


@given(st.text() | st.text("0123456789.+-eE \n").map("vllm:num_requests_running ".__add__))
def test_any_text_is_read_without_an_error(text):
    assert quantities(text).keys() <= {entry.name for entry in QUANTITIES}


@pytest.fixture
def service():
    """Run a server with `/metrics`, and hand over what it got to see."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append((self.path, self.headers.get("Authorization")))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(VLLM.encode())

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    server.server_close()


def test_a_service_is_asked_with_its_key(service):
    url, asked = service
    monitor = ServerMonitor()
    assert monitor.start(Watched(f"{url}/v1", "key"))
    assert monitor.read()["requests"] == 43
    assert set(asked) == {("/metrics", "Bearer key")}


def test_a_service_without_metrics_is_not_watched():
    assert not ServerMonitor().start(Watched(f"http://127.0.0.1:{free_port()}"))


def test_the_metrics_may_be_elsewhere_than_the_requests(service):
    url, asked = service
    monitor = ServerMonitor()
    assert monitor.start(Watched("http://127.0.0.1:1", metrics_url=f"{url}/own/metrics"))
    assert asked[0][0] == "/own/metrics"


def test_metrics_that_the_user_named_and_that_are_not_there_are_a_failure():
    url = f"http://127.0.0.1:{free_port()}/metrics"
    with pytest.raises(ConnectionRefusedError):
        ServerMonitor().start(Watched("http://127.0.0.1:1", metrics_url=url))


def test_this_machine_and_the_engine_on_it_are_read():
    monitor = HostMonitor()
    assert monitor.start(Watched(HERE.base_url, pid=os.getpid()))
    found = monitor.read()
    assert 0 <= found["cpu"] <= 1
    assert found["memory"] > found["engine_memory"] > 1e6


def test_an_engine_that_is_gone_has_no_memory():
    monitor = HostMonitor()
    monitor.start(Watched(HERE.base_url, pid=2**22 + 1))
    assert monitor.read()["engine_memory"] == 0


@pytest.mark.parametrize("monitor", [HostMonitor(), NvmlMonitor(), NpuMonitor()])
def test_a_service_elsewhere_says_nothing_about_this_machine(monitor):
    assert not monitor.start(ELSEWHERE)


class Driver:
    """Stands for NVIDIA's library: two devices, of which the second cannot tell its power."""

    def __init__(self):
        self.is_open = False

    def nvmlInit_v2(self):
        self.is_open = True
        return 0

    def nvmlShutdown(self):
        self.is_open = False

    def nvmlDeviceGetCount_v2(self, count):
        count._obj.value = 2
        return 0

    def nvmlDeviceGetHandleByIndex_v2(self, index, handle):
        handle._obj.value = index.value + 1
        return 0

    def nvmlDeviceGetPowerUsage(self, device, milliwatts):
        milliwatts._obj.value = 150_000
        return 0 if device.value == 1 else 3

    def nvmlDeviceGetMemoryInfo(self, device, memory):
        memory._obj.used = device.value * 2**30
        return 0

    def nvmlDeviceGetUtilizationRates(self, device, found):
        found._obj.gpu = 50
        return 0


def test_nvidia_devices_are_read_in_si_units():
    driver = Driver()
    monitor = NvmlMonitor(load=lambda name: driver)
    assert monitor.start(HERE)
    assert monitor.read() == {
        "gpu0.power": 150.0,
        "gpu0.memory": 2**30,
        "gpu0.utilization": 0.5,
        "gpu1.memory": 2**31,
        "gpu1.utilization": 0.5,
    }
    monitor.stop()
    assert not driver.is_open


def test_without_a_driver_there_is_nothing_to_watch():
    def missing(name):
        return ctypes.CDLL(f"{name}.missing")

    assert not NvmlMonitor(load=missing).start(HERE)


def test_ascend_devices_are_read_in_si_units():
    assert dict(devices(NPUS)) == {
        "npu0.power": 92.5,
        "npu0.utilization": 0.25,
        "npu0.memory": 4330 * 2**20,
        "npu3.utilization": 0.0,
        "npu3.1.utilization": 0.07,
    }


@given(st.text())
def test_any_table_is_read_without_an_error(text):
    assert list(devices(text)) == []


def test_the_command_of_ascend_is_run_where_it_is_installed(tmp_path, monkeypatch):
    command = tmp_path / "npu-smi"
    command.write_text(f"#!/bin/sh\ncat <<'END'\n{NPUS}\nEND\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monitor = NpuMonitor()
    assert monitor.start(HERE)
    assert monitor.read()["npu0.power"] == 92.5


def test_without_the_command_of_ascend_there_is_nothing_to_watch(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not NpuMonitor().start(HERE)
