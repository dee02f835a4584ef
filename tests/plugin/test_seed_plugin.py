"""The plugin guide's example, installed as a stranger would install it, and run."""

from __future__ import annotations

import csv
import os
import shutil
import subprocess
import sys
import sysconfig
import textwrap
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "vllm_inference_optimization"
SLOT = ("--msprof-devices", str(1_000_000 + os.getpid()))
"""A device of this run's own: other sessions that name theirs are not waited for."""

VLLM = """
import json, os, sys, urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

args = sys.argv[1:]

def option(name):
    return args[args.index(name) + 1]

def serve():
    seqs = int(option("--max-num-seqs"))
    assert os.environ["MAX_NUM_SEQS"] == str(seqs)
    with open(os.environ["STARTS"], "a") as file:
        print(seqs, file=file)
    if seqs >= int(os.environ.get("DIES_FROM", "1000000")):
        sys.exit("torch.OutOfMemoryError: out of memory")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = str(seqs).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer

    ThreadingHTTPServer((option("--host"), int(option("--port"))), Handler).serve_forever()

def bench():
    with urllib.request.urlopen(f"http://{option('--host')}:{option('--port')}/health") as answer:
        seqs = int(answer.read())
    busy, prompts = min(seqs, int(option("--max-concurrency"))), int(option("--num-prompts"))
    assert not [arg for arg in args if arg.startswith("$")], args
    assert "--request-rate" not in args, "an unlimited rate takes its option away"
    result = {
        "output_throughput": 100.0 * busy, "request_throughput": 2.0 * busy, "mean_ttft_ms": 50.0,
        "mean_tpot_ms": 5.0, "completed": prompts, "num_prompts": prompts,
    }
    Path(option("--result-dir"), "result.json").write_text(json.dumps(result))

serve() if args[0] == "serve" else bench()
"""
"""Stands for the program `vllm`: its throughput grows with --max-num-seqs until the load is served."""

CONFIG = """
n_particles = {trials}
iters = 1

[vllm_benchmark.command]
num_prompts = 8

[[vllm.target_field]]
name = "MAX_NUM_SEQS"
config_position = "env"
min = {seqs[0]}
max = {seqs[1]}
dtype = "int"
value = 2

[[vllm.target_field]]
name = "CONCURRENCY"
config_position = "env"
min = {concurrency[0]}
max = {concurrency[1]}
dtype = "int"
value = 4
"""


class Installation(NamedTuple):
    """An environment that has the package, the example, and a `vllm`."""

    python: Path

    def run(self, *args: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        keep = {
            name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "MSPROF", "MODEL_EVAL"))
        }
        bin_path = f"{self.python.parent}{os.pathsep}{os.environ['PATH']}"
        env = {**keep, "PATH": bin_path, "HOME": str(cwd), "STARTS": str(cwd / "starts"), **variables}
        return subprocess.run(
            [str(self.python), *args], cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=300
        )

    def optimize(self, cwd: Path, *args: str, **variables: str) -> subprocess.CompletedProcess[str]:
        names = ("-e", "vllm_infer", "-b", "vllm_infer_benchmark")
        model = ("--msprof-model", str(cwd / "model"))
        return self.run("-m", "pytest_msprof.cli", "optimizer", *names, *model, *SLOT, *args, cwd=cwd, **variables)


@pytest.fixture(scope="session")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Installation:
    folder = tmp_path_factory.mktemp("installation")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    python = folder / "venv" / "bin" / "python"
    asked = [python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"]
    packages = Path(subprocess.run(asked, check=True, capture_output=True, text=True).stdout.strip())
    here = sysconfig.get_paths()["purelib"]
    (packages / "beside.pth").write_text(f"import site; site.addsitedir({here!r})\n")
    package = shutil.copytree(EXAMPLE, folder / "example", ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
    editable = ["-e", str(package)] + ([] if _is_installed() else ["-e", str(ROOT)])
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "-q", "--no-deps", *editable]
    subprocess.run(pip, check=True, cwd=folder)
    program = python.parent / "vllm"
    program.write_text(f"#!{python}\n{VLLM}")
    program.chmod(0o755)
    return Installation(python)


def _is_installed() -> bool:
    try:
        distribution("pytest-msprof")
    except PackageNotFoundError:
        return False
    return True


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    write_config(tmp_path)
    return tmp_path


def write_config(
    project: Path, *, trials: int = 3, seqs: tuple[int, int] = (1, 8), concurrency: tuple[int, int] = (4, 4)
) -> None:
    (project / "config.toml").write_text(CONFIG.format(trials=trials, seqs=seqs, concurrency=concurrency))


def starts(project: Path) -> list[int]:
    path = project / "starts"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def table(project: Path) -> list[dict[str, str]]:
    newest = max((project / "result" / "store").glob("data_storage_*.csv"))
    with newest.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def finished(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Give the project and the output of a finished study."""
    project = tmp_path_factory.mktemp("finished")
    (project / "model").mkdir()
    write_config(project)
    done = installation.optimize(project, "--backup")
    assert done.returncode == 0, done.stdout + done.stderr
    return project, done.stdout


def test_the_help_lists_the_installed_engine_and_benchmark(installation: Installation, tmp_path: Path) -> None:
    done = installation.run("-m", "pytest_msprof.cli", "optimizer", "-h", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    shown = "".join(done.stdout.split())
    for name in ("vllm_infer", "vllm_infer_benchmark", "transformers", "builtin"):
        assert name in shown
    assert list(tmp_path.iterdir()) == []


def test_the_default_is_measured_first(finished: tuple[Path, str]) -> None:
    project, _ = finished
    assert starts(project)[0] == 2
    assert table(project)[0]["MAX_NUM_SEQS"] == "2"


def test_the_table_has_the_originals_columns_and_a_row_a_trial(finished: tuple[Path, str]) -> None:
    rows = table(finished[0])
    assert list(rows[0]) == [
        *("generate_speed", "time_to_first_token", "time_per_output_token", "success_rate", "throughput"),
        *("MAX_NUM_SEQS", "CONCURRENCY"),
        *("error", "backup", "duration", "real_evaluation", "fitness", "num_prompts"),
    ]
    assert len(rows) == 3
    for row in rows:
        assert float(row["generate_speed"]) == 100.0 * min(int(row["MAX_NUM_SEQS"]), 4)
        assert (row["time_to_first_token"], row["num_prompts"], row["CONCURRENCY"]) == ("0.05", "8", "4")


def test_the_best_is_printed_last(finished: tuple[Path, str]) -> None:
    project, output = finished
    best = max(float(row["generate_speed"]) for row in table(project))
    last = output.strip().splitlines()[-3:]
    assert last[0].startswith("table: ")
    assert last[1].startswith("command: MAX_NUM_SEQS=")
    assert "vllm serve" in last[1]
    assert last[2].startswith("best: MAX_NUM_SEQS=")
    assert f"{best:,.0f} token/s" in last[2]


def test_a_backup_keeps_the_engines_log_of_every_trial(finished: tuple[Path, str]) -> None:
    for row in table(finished[0]):
        assert list(Path(row["backup"]).glob("vllm_infer/*.log"))


def test_resuming_a_finished_study_starts_no_service(
    installation: Installation, finished: tuple[Path, str], tmp_path: Path
) -> None:
    project, _ = finished
    before = len(starts(project))
    done = installation.optimize(project, "-lb")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(starts(project)) == before
    assert len(table(project)) == 3


def test_resuming_an_aborted_study_measures_only_what_is_missing(installation: Installation, project: Path) -> None:
    write_config(project, trials=4)
    first = installation.optimize(project, "-k", "trial-0 or trial-1")
    assert first.returncode == 0, first.stdout + first.stderr
    assert len(table(project)) == 2
    second = installation.optimize(project, "-lb", "-k", "trial")
    assert second.returncode == 0, second.stdout + second.stderr
    assert len(starts(project)) == len(set(starts(project))) == 4


def test_a_load_side_field_alone_restarts_no_service(installation: Installation, project: Path) -> None:
    write_config(project, trials=4, seqs=(2, 2), concurrency=(1, 8))
    done = installation.optimize(project, "-k", "trial")
    assert done.returncode == 0, done.stdout + done.stderr
    assert starts(project) == [2]
    assert len({row["CONCURRENCY"] for row in table(project)}) == 4


def test_a_configuration_that_crashes_is_a_row_with_its_reason_and_the_study_goes_on(
    installation: Installation, project: Path
) -> None:
    write_config(project, trials=4, seqs=(1, 4))
    done = installation.optimize(project, DIES_FROM="4")
    assert done.returncode == 0, done.stdout + done.stderr
    errors = {row["MAX_NUM_SEQS"]: row["error"] for row in table(project)}
    assert errors["4"].startswith("out of memory: ")
    assert [seqs for seqs, error in errors.items() if not error] != []


def test_a_study_in_which_everything_fails_ends_with_an_error(installation: Installation, project: Path) -> None:
    write_config(project, trials=2)
    done = installation.optimize(project, DIES_FROM="0")
    assert done.returncode == 1
    assert "out of memory" in done.stdout


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("-e", "vllm_infr"), "unknown engine 'vllm_infr' (known: "),
        (("-b", "vllm_infer_bench"), "did you mean 'vllm_infer_benchmark'"),
        (("-d", "multiple"), "--deploy_policy multiple needs an engine that spans machines"),
        (("--pd", "disaggregation"), "--pd disaggregation needs an engine that separates prefill and decode"),
    ],
)
def test_what_cannot_be_done_ends_with_2_and_says_why(
    installation: Installation, project: Path, args: tuple[str, ...], message: str
) -> None:
    done = installation.optimize(project, *args)
    assert done.returncode == 2
    assert message in done.stderr
    assert starts(project) == []


@pytest.mark.parametrize(
    ("config", "message"),
    [("n_particle = 1\n", "did you mean 'n_particles'"), ("iters = 0\n", "settings key 'iters'")],
)
def test_a_settings_file_that_cannot_be_read_as_meant_is_a_usage_error(
    installation: Installation, project: Path, config: str, message: str
) -> None:
    (project / "mine.toml").write_text(config)
    done = installation.optimize(project, "-c", "mine.toml")
    assert done.returncode == 4
    assert message in done.stderr + done.stdout
    assert "Traceback" not in done.stderr + done.stdout


CONFTEST = """
    import sys
    from pathlib import Path
    from types import SimpleNamespace

    from msserviceprofiler.modelevalstate.config.config import OptimizerConfigField
    from msserviceprofiler.modelevalstate.optimizer.interfaces.simulator import SimulatorInterface

    SERVER = '''
    import json, sys
    from http.server import BaseHTTPRequestHandler, HTTPServer
    class Handler(BaseHTTPRequestHandler):
        def answer(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(open(sys.argv[2], "rb").read())
        do_GET = do_POST = answer
    HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
    '''

    class Json(SimulatorInterface):
        def __init__(self, bak_path=None, **kwargs):
            assert bak_path is None or bak_path.is_dir()
            position = "BackendConfig.ScheduleConfig.maxBatchSize"
            field = OptimizerConfigField(name="max_batch_size", config_position=position, min=1, max=9, dtype="int")
            self.config = SimpleNamespace(config_path="conf.json", target_field=[field])
            super().__init__(bak_path=bak_path, **kwargs)

        @property
        def base_url(self):
            return f"http://127.0.0.1:{self.context.port}/health"

        def prepare(self):
            Path("prepared").touch()

        def check_success(self):
            import urllib.request
            try:
                return urllib.request.urlopen(self.base_url, timeout=2).status == 200
            except OSError:
                return False

        def update_command(self):
            self.command = [sys.executable, "-c", SERVER, str(self.context.port), str(self.config_path)]

        def stop(self, del_log=True):
            Path("stopped").write_text(str(del_log))
            super().stop(del_log)

    def pytest_msprof_register_simulators(registry):
        registry.simulators.add("json", Json)
"""


def test_a_field_with_a_path_is_set_in_a_private_copy_of_the_config_file(
    installation: Installation, tmp_path: Path
) -> None:
    (tmp_path / "conftest.py").write_text(textwrap.dedent(CONFTEST))
    before = '{"BackendConfig": {"ScheduleConfig": {"maxBatchSize": 1}}}'
    (tmp_path / "conf.json").write_text(before)
    (tmp_path / "test_json.py").write_text(
        textwrap.dedent(
            """
            import json
            import urllib.request

            def test_value(launch_service):
                with launch_service({"max_batch_size": 7}) as service:
                    found = json.load(urllib.request.urlopen(service.base_url))
                assert found["BackendConfig"]["ScheduleConfig"]["maxBatchSize"] == 7
            """
        )
    )
    done = installation.run("-m", "pytest", "-q", "--msprof-engine", "json", *SLOT, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "conf.json").read_text() == before
    assert (tmp_path / "prepared").exists()
    assert (tmp_path / "stopped").exists()
