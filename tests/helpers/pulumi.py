"""The real pulumi CLI, with a home and a project folder of its own."""
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from . import process, programs, where


started = []  # every CLI of the test at hand; end_all() ends what is left of them

# What no command may ever print: the end of a Go program, or an answer that the CLI could not read.
BROKEN = re.compile(r"^panic: |^fatal error: |^goroutine \d|runtime error:|cannot unmarshal|unmarshalling response|"
                    r"unexpected end of JSON|invalid character .* looking for|assertion (?:has )?failed|A fatal error", re.MULTILINE)
SPOKEN = re.compile(r"\b(warning|error):", re.IGNORECASE)


def end_all():
    for child in started:
        process.kill_session(child.pid)
        child.wait()
        for stream in (child.stdin, child.stdout, child.stderr):
            if stream:
                stream.close()
    started.clear()


def record(arguments, child=None):
    """Says which command a test ran, for the table of commands (tools/commands-table)."""
    folder = os.environ.get("SLIPWAY_TEST_RECORD")
    if folder:
        test = os.environ.get("PYTEST_CURRENT_TEST", "").split("::")
        line = {"arguments": [str(a) for a in arguments], "exit": child.returncode if child else None, "test": test[0]}
        with open(Path(folder) / f"commands-{os.getpid()}.jsonl", "a") as file:
            file.write(json.dumps(line) + "\n")


class Pulumi:
    def __init__(self, folder: Path, url=None, token=None, name="cli"):
        self.home = folder / f"{name}-home"
        self.project = folder / name
        for made in (self.home, self.project):
            made.mkdir(parents=True, exist_ok=True)
        self.environment = where.clean_environment(
            self.home, PULUMI_HOME=self.home / ".pulumi", PULUMI_SKIP_UPDATE_CHECK="true", PULUMI_CREDENTIAL_STORE="plaintext",
            PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION="true", PULUMI_SUPPRESS_NEO_LINK="true", PULUMI_DISABLE_REGISTRY_RESOLVE="true",
            PULUMI_ACCESS_TOKEN=token, PULUMI_BACKEND_URL=url)

    # ---- programs ----------------------------------------------------------------------------------------------
    def write(self, files: dict) -> "Pulumi":
        for name, text in files.items():
            file = self.project / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return self

    def copy(self, folder: Path) -> "Pulumi":
        shutil.copytree(folder, self.project, dirs_exist_ok=True)
        return self

    def with_node_modules(self) -> "Pulumi":
        link = self.project / "node_modules"
        if not link.exists():
            link.symlink_to(where.node_sdk() / "node_modules")
        return self

    def with_tool(self, name, text) -> "Pulumi":
        """A program of the test's own on PATH, before all others."""
        folder = self.home / "tools"
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
        if not self.environment["PATH"].startswith(f"{folder}:"):
            self.environment["PATH"] = f"{folder}:{self.environment['PATH']}"
        return self

    def with_folder_provider(self) -> Path:
        """Puts the provider of programs.folder_things in place; returns the folder that is its cloud."""
        cloud = self.home / "cloud"
        cloud.mkdir()
        self.environment.update(FOLDER_CLOUD=str(cloud), NODE_PATH=str(where.node_sdk() / "node_modules"))
        self.with_tool("pulumi-resource-folder", programs.FOLDER_PROVIDER)
        return cloud

    # ---- calls -------------------------------------------------------------------------------------------------
    def start(self, *arguments, env=None) -> subprocess.Popen:
        record(arguments)
        return self._start(arguments, env, subprocess.DEVNULL)

    def _start(self, arguments, env, stdin) -> subprocess.Popen:
        child = subprocess.Popen([str(where.tools() / "pulumi"), *map(str, arguments), "--non-interactive"], cwd=self.project,
                                 env={**self.environment, **(env or {})}, stdin=stdin, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, text=True, start_new_session=True)
        started.append(child)
        return child

    def run(self, *arguments, expect=0, env=None, timeout=240, quiet=True, text=None) -> subprocess.CompletedProcess:
        """Runs to the end; `text` is its standard input. With expect=0 and quiet, a warning or an error in the output fails
        the test; expect=None takes any exit. No command may ever print a Go error."""
        child = self._start(arguments, env, subprocess.DEVNULL if text is None else subprocess.PIPE)
        try:
            out, err = child.communicate(text, timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill_session(child.pid)
            out, err = child.communicate()
            raise AssertionError(f"pulumi {' '.join(map(str, arguments))} did not end within {timeout}s:\n{out}\n{err}")
        both = f"$ pulumi {' '.join(map(str, arguments))}\n{out}{err}"
        record(arguments, child)
        assert not BROKEN.search(out + err), both
        if expect is not None:
            assert child.returncode == expect, f"ended with {child.returncode}, not {expect}\n{both}"
        if expect == 0 and quiet:
            assert not SPOKEN.search(out + err), both
        return subprocess.CompletedProcess(arguments, child.returncode, out, err)

    def refused(self, *arguments, names, **more) -> str:
        """Runs a command that must fail, with `names` in what it says; returns that."""
        done = self.run(*arguments, expect=None, **more)
        said = done.stdout + done.stderr
        assert done.returncode != 0, f"`pulumi {' '.join(map(str, arguments))}` was expected to fail:\n{said}"
        assert names in said, f"{names!r} is not in what `pulumi {' '.join(map(str, arguments))}` said:\n{said}"
        return said

    def json(self, *arguments, **more):
        return json.loads(self.run(*arguments, **more).stdout)

    def up(self, *arguments, **more):
        return self.run("up", "--yes", *arguments, **more)

    def outputs(self, *arguments) -> dict:
        return self.json("stack", "output", "--json", *arguments)

    def export(self, *arguments) -> dict:
        return self.json("stack", "export", *arguments)

    def history(self) -> list:
        return self.json("stack", "history", "--json")
