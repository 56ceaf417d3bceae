"""Slipway's programs as child processes of the test: started, waited for, stopped; and the clock that moves them."""
import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

from . import where
from .api import Api
from .waiting import wait_until

# What a sanitizer, or our own BUG_ON, writes when it found something.
FINDINGS = re.compile(r"(ERROR: (?:Address|Leak|Thread|Memory)Sanitizer|WARNING: ThreadSanitizer|: runtime error: |: BUG: )")

running = []  # for the report of a failed test


def table() -> dict:
    """Every process: pid -> (session, command line, working folder)."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            session = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[3])
            words = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
            found[int(folder.name)] = (session, " ".join(words).strip(), os.readlink(folder / "cwd"))
        except OSError:
            continue  # ended meanwhile
    return found


def kill_session(leader: int):
    """What a killed `pulumi` leaves running: its plugins are in groups of their own, but in its session."""
    kill_all(pid for pid, (session, _, _) in table().items() if session == leader)


def kill_all(pids):
    """kill -9; one that is gone, perhaps by the death of another, is fine."""
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def left_in(folder: Path) -> list:
    """Processes that were started in that folder, or name it."""
    return [f"{pid} {line} (in {cwd})" for pid, (_, line, cwd) in table().items()
            if pid != os.getpid() and (str(folder) in line or cwd.startswith(str(folder)))]


class Clock:
    """The file of SLIPWAY_TEST_CLOCK: the seconds by which Slipway's clock is ahead."""

    def __init__(self, file: Path):
        self.file = file
        self.ahead = 0.0
        file.write_text("0\n")

    def advance(self, seconds: float):
        self.set(self.ahead + seconds)

    def set(self, seconds: float):
        self.ahead = seconds
        temporary = self.file.with_suffix(".new")
        temporary.write_text(f"{self.ahead:.3f}\n")
        temporary.rename(self.file)


class Program:
    """One run of `slipway`. Its output goes to files beside its data; what a sanitizer found fails stop()."""

    def __init__(self, folder: Path, name: str, arguments: list, environment: dict):
        folder.mkdir(parents=True, exist_ok=True)
        self.name, self.arguments = name, [str(a) for a in arguments]
        self.log = folder / f"{name}.stderr"
        self.environment = environment
        self.lines = []
        self._seen = threading.Condition()
        self._log_file = self.log.open("ab")
        self.report_from = self.log.stat().st_size
        self._checked = len(self.stderr())
        self.process = subprocess.Popen([where.slipway(), *self.arguments], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=self._log_file, env=environment, cwd=folder, start_new_session=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.stopped = False
        running.append(self)

    def _read(self):
        for line in self.process.stdout:
            with self._seen:
                self.lines.append(line.decode(errors="replace").rstrip("\n"))
                self._seen.notify_all()
        with self._seen:
            self.lines.append(None)
            self._seen.notify_all()

    @property
    def pid(self):
        return self.process.pid

    def stderr(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_line(self, pattern: str, timeout=30.0):
        """Waits for a line on standard output and returns the match."""
        end, at = time.monotonic() + timeout, 0
        with self._seen:
            while True:
                while at < len(self.lines):
                    if self.lines[at] is None:
                        raise AssertionError(f"`slipway {' '.join(self.arguments)}` ended with {self.process.wait()} before {pattern!r}:\n"
                                             + self.stderr()[-4000:])
                    match = re.search(pattern, self.lines[at])
                    at += 1
                    if match:
                        return match
                left = end - time.monotonic()
                if left <= 0 or not self._seen.wait(left):
                    raise AssertionError(f"no line {pattern!r} within {timeout:g}s:\n" + self.stderr()[-4000:])

    def wait_stderr(self, pattern: str, timeout=30.0):
        return wait_until(lambda: re.search(pattern, self.stderr()), timeout, f"{pattern!r} on {self.name}'s stderr")

    def children(self) -> list:
        """Process ids of the direct children."""
        found = []
        for task in Path(f"/proc/{self.pid}/task").glob("*/children"):
            found += [int(pid) for pid in task.read_text().split()]
        return found

    def descendants(self) -> list:
        found, todo = [], [self.pid]
        while todo:
            for task in Path(f"/proc/{todo.pop()}/task").glob("*/children"):
                try:
                    pids = [int(pid) for pid in task.read_text().split()]
                except OSError:
                    continue
                found += pids
                todo += pids
        return found

    def kill(self, descendants=True):
        """kill -9, of the program and (if wished) of everything it started."""
        pids = self.descendants() if descendants else []
        self.process.kill()
        kill_all(pids)
        self._end()
        self.check()

    def stop(self, timeout=30.0, expect=0):
        """SIGTERM, as an init system would; asserts how it ended, and that no sanitizer spoke."""
        if self.stopped:
            return
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"{self.name} did not stop within {timeout:g}s of SIGTERM:\n" + self.stderr()[-4000:])
        self._end()
        self.check()
        if expect is not None:
            assert code == expect, f"{self.name} ended with {code} on SIGTERM, not {expect}:\n" + self.stderr()[-4000:]

    def _end(self):
        self.process.wait()
        self._reader.join(5)
        self._log_file.close()
        self.process.stdout.close()
        self.stopped = True
        if self in running:
            running.remove(self)

    def check(self):
        """Fails if a sanitizer or BUG_ON spoke since the last check: each finding belongs to one test."""
        text = self.stderr()
        found = FINDINGS.search(text, self._checked)
        self._checked = len(text)
        assert not found, f"{self.name} was found at fault:\n" + text[max(0, found.start() - 500):found.start() + 6000]


def environment(home: Path, clock: Clock = None, **more) -> dict:
    env = where.clean_environment(home, **more)
    env.setdefault("ASAN_OPTIONS", "detect_leaks=1:abort_on_error=0:strict_string_checks=1")
    env.setdefault("UBSAN_OPTIONS", "halt_on_error=1:print_stacktrace=1")
    if clock:
        env["SLIPWAY_TEST_CLOCK"] = str(clock.file)
    return env


class Server(Program):
    """`slipway dev` or `slipway serve` on a free port of the loopback, with a data folder of its own."""

    def __init__(self, folder: Path, *options, command="dev", clock=None, listen="127.0.0.1:0", data=None, wait=True, env=None):
        self.folder = folder
        self.data = data or folder / "data"
        self.clock = clock
        (folder / "home").mkdir(parents=True, exist_ok=True)
        super().__init__(folder, command, [command, "--data", self.data, "--listen", listen, *options],
                         environment(folder / "home", clock, **(env or {})))
        self.url = None
        if wait:
            self.wait_ready()

    def wait_ready(self, timeout=30.0):
        self.url = self.wait_line(r"^listening on (http://\S+)$", timeout).group(1)
        return self

    @property
    def port(self):
        return int(self.url.rsplit(":", 1)[1])

    @property
    def token(self):
        """The administrator's token that `dev` wrote."""
        return (self.data / "admin-token").read_text().strip()

    def api(self, token=None) -> Api:
        return Api(self.url, token if token is not None else self.token)

    def admin(self, *arguments, check=True) -> subprocess.CompletedProcess:
        """`slipway admin …` on this server's data."""
        run = subprocess.run([where.slipway(), "admin", *map(str, arguments), "--data", str(self.data)], stdin=subprocess.DEVNULL,
                             capture_output=True, text=True, timeout=60, env=environment(self.folder / "home", self.clock))
        if check:
            assert run.returncode == 0, f"admin {arguments} ended with {run.returncode}: {run.stderr}"
        return run

    def user(self, name, org="acme", role="member") -> Api:
        """A further user of an organization, with a token of their own."""
        self.admin("user", "add", name, "--org", org, "--role", role)
        return self.api(self.admin("token", "create", "--user", name).stdout.strip())


class Agent(Program):
    """`slipway agent`: a runner alone."""

    def __init__(self, folder: Path, server: Server, token: str, *options, name="runner", isolation="process", insecure=True, clock=None, env=None):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "home").mkdir(exist_ok=True)
        secret = folder / "pool-token"
        secret.write_text(token + "\n")
        secret.chmod(0o600)
        more = ["--allow-insecure-sources"] if insecure else []
        super().__init__(folder, "agent", ["agent", "--server", server.url, "--token-file", secret, "--isolation", isolation,
                                           "--work", folder / "work", "--name", name, *more, *options],
                         environment(folder / "home", clock, **(env or {})))
        self.work = folder / "work"


def run_slipway(folder: Path, *arguments, timeout=60, env=None) -> subprocess.CompletedProcess:
    """Any verb that ends by itself."""
    (folder / "home").mkdir(parents=True, exist_ok=True)
    run = subprocess.run([where.slipway(), *map(str, arguments)], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                         timeout=timeout, cwd=folder, env=environment(folder / "home", **(env or {})))
    found = FINDINGS.search(run.stderr)
    assert not found, f"slipway {arguments} was found at fault:\n{run.stderr[-4000:]}"
    return run
