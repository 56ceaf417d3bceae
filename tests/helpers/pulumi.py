"""The real pulumi CLI, with a home and a project folder of its own."""
import json
import re
import shutil
import subprocess
from pathlib import Path

from . import process, where


started = []  # every CLI of the test at hand; end_all() ends what is left of them

SPOKEN = re.compile(r"\b(warning|error):", re.IGNORECASE)


def end_all():
    for child in started:
        process.kill_session(child.pid)
        child.wait()
        for stream in (child.stdout, child.stderr):
            stream.close()
    started.clear()


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

    # ---- calls -------------------------------------------------------------------------------------------------
    def start(self, *arguments, env=None) -> subprocess.Popen:
        child = subprocess.Popen([str(where.tools() / "pulumi"), *map(str, arguments), "--non-interactive"], cwd=self.project,
                                 env={**self.environment, **(env or {})}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                 stderr=subprocess.PIPE, text=True, start_new_session=True)
        started.append(child)
        return child

    def run(self, *arguments, expect=0, env=None, timeout=240, quiet=True) -> subprocess.CompletedProcess:
        """Runs to the end. With expect=0 and quiet, a warning or an error in the output fails the test."""
        child = self.start(*arguments, env=env)
        try:
            out, err = child.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill_session(child.pid)
            out, err = child.communicate()
            raise AssertionError(f"pulumi {' '.join(map(str, arguments))} did not end within {timeout}s:\n{out}\n{err}")
        both = f"$ pulumi {' '.join(map(str, arguments))}\n{out}{err}"
        if expect is not None:
            assert child.returncode == expect, f"ended with {child.returncode}, not {expect}\n{both}"
        if expect == 0 and quiet:
            assert not SPOKEN.search(out + err), both
        return subprocess.CompletedProcess(arguments, child.returncode, out, err)

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
