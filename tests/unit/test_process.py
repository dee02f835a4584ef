"""Engines as processes: they die with us, whatever kills us, and their end and last words are known."""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import pytest_msprof
from pytest_msprof.errors import ServiceExited
from pytest_msprof.process import MARKER, EngineProcess
from pytest_msprof.testing.processes import python_process

FOREVER = "import signal; print('up', flush=True); signal.pause()"
PATIENCE = 30_000
"""Milliseconds until a test gives up; nothing here takes a tenth of it."""

FAMILY = """
import os, signal, sys
pipe = os.open(sys.argv[1], os.O_WRONLY)
def live(name):
    if "stubborn" in sys.argv:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if name in sys.argv:
        signal.signal(signal.SIGTERM, lambda *_: (os.write(pipe, b"tidied\\n"), os._exit(0)))
    os.write(pipe, f"{name} {os.getpid()}\\n".encode())
    while True:
        signal.pause()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.setsid()
        live("grandchild")
    live("child")
live("leader")
"""

HARNESS = """
import os, signal, sys
from pathlib import Path
from pytest_msprof.process import EngineProcess
command = [sys.executable, *sys.argv[2:]]
with EngineProcess.start(command, name="engine", env=dict(os.environ), cwd=Path(sys.argv[1]), log_path=Path("e.log")):
    {then}
"""


class Family:
    """An engine with a child and a grandchild, each in a session of its own.

    All hold one end of a pipe, so its end of file says that the last of them is gone.
    """

    def __init__(self, folder: Path) -> None:
        self.fifo = folder / "alive"
        os.mkfifo(self.fifo)
        self.reading = os.open(self.fifo, os.O_RDONLY | os.O_NONBLOCK)
        self.said = ""
        self.script = folder / "family.py"
        self.script.write_text(FAMILY)

    def arguments(self, *options: str) -> list[str]:
        return [str(self.script), str(self.fifo), *options]

    def wait_until_up(self) -> dict[str, int]:
        while self.said.count("\n") < 3:
            assert self._listen(), "the family ended while it was starting"
        return {name: int(pid) for name, pid in (line.split() for line in self.said.splitlines())}

    def wait_until_gone(self) -> None:
        while self._listen():
            pass

    def _listen(self) -> bytes:
        waiting = select.poll()
        waiting.register(self.reading, select.POLLIN)
        assert waiting.poll(PATIENCE), f"still alive: {self.said!r}"
        text = os.read(self.reading, 4096)
        self.said += text.decode()
        return text


@pytest.fixture
def family(tmp_path: Path) -> Iterator[Family]:
    family = Family(tmp_path)
    yield family
    os.close(family.reading)


def start(*command: str, folder: Path, env: dict[str, str] | None = None) -> EngineProcess:
    given = dict(os.environ) if env is None else env
    return EngineProcess.start(command, name="engine", env=given, cwd=folder, log_path=folder / "engine.log")


def harness(family: Family, folder: Path, *, then: str = "signal.pause()") -> subprocess.Popen[bytes]:
    code = HARNESS.format(then=then)
    command = [sys.executable, "-c", code, str(folder), *family.arguments()]
    env = {**os.environ, "PYTHONPATH": str(Path(pytest_msprof.__file__).parents[1])}
    return subprocess.Popen(command, cwd=folder, env=env, stdin=subprocess.PIPE, start_new_session=True)


def supervisor_of(process: EngineProcess) -> int:
    return int(Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[1])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_nothing_survives_a_harness_that_is_ended_by(number: signal.Signals, family: Family, tmp_path: Path) -> None:
    with harness(family, tmp_path) as parent:
        family.wait_until_up()
        parent.send_signal(number)
        family.wait_until_gone()


def test_nothing_survives_when_the_whole_group_of_the_harness_is_killed(family: Family, tmp_path: Path) -> None:
    with harness(family, tmp_path) as parent:
        family.wait_until_up()
        os.killpg(parent.pid, signal.SIGKILL)
        family.wait_until_gone()


def test_a_forked_child_of_a_killed_harness_does_not_keep_the_engine_alive(family: Family, tmp_path: Path) -> None:
    with harness(family, tmp_path, then="os.fork(); signal.pause()") as parent:
        family.wait_until_up()
        parent.kill()
        family.wait_until_gone()
        os.killpg(parent.pid, signal.SIGKILL)


def test_nothing_survives_a_harness_that_exits_without_cleaning_up(family: Family, tmp_path: Path) -> None:
    with harness(family, tmp_path, then="os.read(0, 1); os._exit(7)") as parent:
        family.wait_until_up()
        parent.communicate(b"go")
        family.wait_until_gone()
    assert parent.returncode == 7


def test_nothing_survives_the_supervisor(family: Family, tmp_path: Path) -> None:
    with start(sys.executable, *family.arguments(), folder=tmp_path) as process:
        family.wait_until_up()
        os.kill(supervisor_of(process), signal.SIGKILL)
        assert process.wait(30)
        family.wait_until_gone()
        assert process.returncode == -signal.SIGKILL


def test_a_child_whose_environment_cannot_be_read_does_not_survive_the_supervisor_either(
    family: Family, tmp_path: Path
) -> None:
    child = f"import signal; pipe = open({str(family.fifo)!r}, 'w'); print('child 1', flush=True); signal.pause()"
    leader = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], env={{}})"
    with start(sys.executable, "-c", leader, folder=tmp_path) as process:
        while "child 1" not in process.log_tail():
            assert not process.wait(0.01)
        os.kill(supervisor_of(process), signal.SIGKILL)
        assert process.wait(30)
        family.wait_until_gone()


def test_the_supervisor_does_not_look_like_pytest_or_the_engine_to_pkill(tmp_path: Path) -> None:
    with start(sys.executable, "-c", FOREVER, folder=tmp_path) as process:
        title = Path(f"/proc/{supervisor_of(process)}/cmdline").read_bytes()
    assert title.rstrip(b"\0") == b"msprof-supervisor"


def test_stop_ends_the_whole_family(family: Family, tmp_path: Path) -> None:
    process = start(sys.executable, *family.arguments(), folder=tmp_path)
    family.wait_until_up()
    process.stop()
    family.wait_until_gone()
    assert process.returncode == -signal.SIGTERM


def test_stop_kills_a_family_that_ignores_sigterm(family: Family, tmp_path: Path) -> None:
    process = start(sys.executable, *family.arguments("stubborn"), folder=tmp_path)
    family.wait_until_up()
    process.stop(grace=0.05)
    family.wait_until_gone()
    assert process.returncode == -signal.SIGKILL


def test_stop_ends_a_family_whose_leader_was_suspended(family: Family, tmp_path: Path) -> None:
    process = start(sys.executable, *family.arguments(), folder=tmp_path)
    family.wait_until_up()
    os.kill(process.pid, signal.SIGSTOP)
    process.stop()
    assert process.returncode == -signal.SIGTERM


def test_when_stop_returns_every_process_is_gone_already(family: Family, tmp_path: Path) -> None:
    process = start(sys.executable, *family.arguments("stubborn"), folder=tmp_path)
    pids = family.wait_until_up()
    process.stop(grace=0)
    assert not [name for name, pid in pids.items() if Path(f"/proc/{pid}").exists()]


def test_children_may_tidy_up_after_their_leader(family: Family, tmp_path: Path) -> None:
    with start(sys.executable, *family.arguments("child"), folder=tmp_path) as process:
        family.wait_until_up()
        os.kill(process.pid, signal.SIGKILL)
        family.wait_until_gone()
    assert family.said.endswith("tidied\n")


def test_the_end_of_the_leader_ends_its_children(family: Family, tmp_path: Path) -> None:
    with start(sys.executable, *family.arguments(), folder=tmp_path) as process:
        family.wait_until_up()
        os.kill(process.pid, signal.SIGKILL)
        assert process.wait(30)
        family.wait_until_gone()
        assert process.returncode == -signal.SIGKILL


def test_a_handle_that_nobody_holds_any_more_ends_its_engine(family: Family, tmp_path: Path) -> None:
    process = start(sys.executable, *family.arguments(), folder=tmp_path)
    family.wait_until_up()
    del process
    gc.collect()
    family.wait_until_gone()


def test_an_interrupt_in_the_block_ends_the_engine(family: Family, tmp_path: Path) -> None:
    def interrupted() -> None:
        with start(sys.executable, *family.arguments(), folder=tmp_path):
            family.wait_until_up()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    family.wait_until_gone()


def test_stopping_twice_is_stopping_once(tmp_path: Path) -> None:
    process = start(sys.executable, "-c", FOREVER, folder=tmp_path)
    process.stop()
    process.stop()
    assert process.poll() == -signal.SIGTERM


def test_starting_and_stopping_leaves_no_descriptor_and_no_zombie(tmp_path: Path) -> None:
    def ours() -> tuple[int, list[str]]:
        lists = Path("/proc/self/task").glob("*/children")
        return len(list(Path("/proc/self/fd").iterdir())), [pid for path in lists for pid in path.read_text().split()]

    before = ours()
    start(sys.executable, "-c", FOREVER, folder=tmp_path).stop()
    start("true", folder=tmp_path).stop()
    with pytest.raises(ServiceExited):
        start("no-such-program", folder=tmp_path)
    assert ours() == before


def test_wait_returns_when_the_engine_ends_and_knows_the_exit_code() -> None:
    with python_process("raise SystemExit(3)") as process:
        assert process.wait()
        assert process.returncode == process.poll() == 3


def test_wait_gives_up_on_an_engine_that_runs() -> None:
    with python_process(FOREVER) as process:
        assert not process.wait(0.01)
        assert process.returncode is None


def test_several_threads_may_wait_for_one_end() -> None:
    with python_process(FOREVER) as process:
        seen: list[bool] = []
        threads = [threading.Thread(target=lambda: seen.append(process.wait(30))) for _ in range(4)]
        for thread in threads:
            thread.start()
        os.kill(process.pid, signal.SIGKILL)
        for thread in threads:
            thread.join()
    assert seen == [True] * 4


def test_an_event_loop_can_watch_for_the_end() -> None:
    with python_process("raise SystemExit(3)") as process:
        waiting = select.poll()
        waiting.register(process, select.POLLIN)
        assert waiting.poll(PATIENCE)
        assert process.poll() == 3


def test_an_engine_is_alone_in_a_session_of_its_own() -> None:
    with python_process(FOREVER) as process:
        assert os.getsid(process.pid) == os.getpgid(process.pid) == process.pid
        assert os.getsid(process.pid) != os.getsid(0)


def test_an_engine_inherits_no_open_file_of_ours(tmp_path: Path) -> None:
    with (tmp_path / "ours").open("w") as file:
        os.set_inheritable(file.fileno(), True)
        with python_process("import os; print(sorted(os.listdir('/proc/self/fd'))[:-1])") as process:
            process.wait()
            assert process.log_tail() == "['0', '1', '2']"


def test_an_engine_gets_the_given_environment_and_a_mark_of_ours(tmp_path: Path) -> None:
    code = "import json, os; print(json.dumps(dict(os.environ)))"
    with start(sys.executable, "-c", code, folder=tmp_path, env={"LC_CTYPE": "C.UTF-8", "NOTE": "zwei\nZeilen=Ω"}) as p:
        p.wait()
        given = json.loads(p.log_tail())
    assert given.pop(MARKER)
    assert given == {"LC_CTYPE": "C.UTF-8", "NOTE": "zwei\nZeilen=Ω"}


def test_an_environment_larger_than_a_pipe_arrives_whole(tmp_path: Path) -> None:
    code = "import os; print(len(os.environ['LONG']), len(os.environ['LONGER']))"
    env = {"LONG": "x" * 100_000, "LONGER": "y" * 120_000}
    with start(sys.executable, "-c", code, folder=tmp_path, env=env) as process:
        process.wait()
        assert process.log_tail() == "100000 120000"


def test_the_program_is_searched_in_the_path_of_the_given_environment(tmp_path: Path) -> None:
    tool = tmp_path / "bin" / "my-engine"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\necho found\n")
    tool.chmod(0o755)
    with start("my-engine", folder=tmp_path, env={"PATH": str(tool.parent)}) as process:
        process.wait()
        assert process.log_tail() == "found"


def test_an_engine_hears_the_signals_that_python_and_shells_ignore() -> None:
    code = "import signal; print([signal.getsignal(n) for n in (signal.SIGINT, signal.SIGHUP, signal.SIGTERM)])"
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with python_process(code) as process:
            process.wait()
            assert "SIG_IGN" not in process.log_tail()
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["/nowhere/engine"], r"/nowhere/engine: No such file or directory"),
        (["no-such-program"], r"no-such-program: No such file or directory"),
        (["/"], r"/: (Permission denied|Is a directory)"),
        (["nul\0byte"], r"NUL"),
        ([], r"needs a program"),
    ],
)
def test_a_command_that_cannot_run_is_an_error_in_the_words_of_the_system(
    command: list[str], words: str, tmp_path: Path
) -> None:
    with pytest.raises(ServiceExited, match=words) as caught:
        start(*command, folder=tmp_path)
    assert caught.value.failure == "does not start"


def test_a_working_directory_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ServiceExited, match="gone: No such file"):
        EngineProcess.start(["true"], name="engine", env={}, cwd=tmp_path / "gone", log_path=tmp_path / "e.log")


def test_the_log_has_both_streams_and_stays() -> None:
    with python_process("import sys; print('one'); sys.stderr.write('two\\n')") as process:
        process.wait()
        process.stop()
        assert process.log_path.read_text() == "one\ntwo\n"


def test_the_log_is_appended_to_and_only_the_own_words_are_quoted(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    log.write_text("yesterday: MemoryError\n")
    with start("echo", "today", folder=tmp_path) as process:
        process.wait()
        assert process.log_tail() == "today"
    assert log.read_text() == "yesterday: MemoryError\ntoday\n"


def test_the_tail_is_as_long_as_asked() -> None:
    with python_process("for i in range(100): print(i)") as process:
        process.wait()
        assert process.log_tail(2) == "98\n99"


def test_the_tail_of_binary_garbage_is_printable_text() -> None:
    garbage = "import os, sys; sys.stdout.buffer.write(bytes(range(256)) * 3000 + b'\\nthe end')"
    with python_process(garbage) as process:
        process.wait()
        tail = process.log_tail()
    assert tail.endswith("\nthe end")
    assert all(character.isprintable() or character in "\n\t" for character in tail)


def test_the_tail_shows_what_a_terminal_would_show() -> None:
    code = r"print('\x1b[31mred\x1b[0m', '\x1b]0;title\x07plain'); print('10%\r50%\r100%')"
    with python_process(code) as process:
        process.wait()
        assert process.log_tail() == "red plain\n100%"


def test_the_tail_of_a_log_that_was_deleted_is_empty() -> None:
    with python_process(FOREVER) as process:
        process.log_path.unlink()
        assert process.log_tail() == ""


def test_secrets_of_the_environment_and_the_command_are_in_no_tail_and_in_no_kept_log(tmp_path: Path) -> None:
    code = "import os, sys; print('args:', sys.argv, os.environ['HF_TOKEN'])"
    command = [sys.executable, "-c", code, "--api-key", "abra-cadabra"]
    with start(*command, folder=tmp_path, env={"HF_TOKEN": "open-sesame"}) as process:
        process.wait()
        tail = process.log_tail()
    kept = (tmp_path / "engine.log").read_text()
    for text in (tail, kept):
        assert "--api-key" in text
        assert "abra-cadabra" not in text
        assert "open-sesame" not in text


def test_a_secret_that_only_the_engine_knew_is_not_quoted() -> None:
    with python_process("print('downloading https://me:hunter2@hub/model')") as process:
        process.wait()
        assert process.log_tail() == "downloading https://me:***@hub/model"
