"""Limits of a run where they are held otherwise, and what is left of them."""
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from helpers import hostile, process, where
from helpers.git import Repository
from helpers.hostile import python
from helpers.runner import Site
from helpers.waiting import wait_until


class Place:
    """A server, and runners one after the other."""

    def __init__(self, own, agent, folder):
        self.site, self.agent, self.repository = Site(own), agent, Repository(folder)
        self.repository.commit({"README": "no program\n"})

    def start(self, *options, **more):
        runner = self.agent(self.site.server, self.site.pool["tokenValue"], *options, **more)
        runner.wait_stderr("polls http")
        return runner

    def deploy(self, name, *commands):
        stack = self.site.stack(f"acme/limits/{name}", sourceContext={"git": {"repoUrl": self.repository.url, "branch": "main"}})
        return stack, self.site.api.deploy(stack, "preview", operationContext={"preRunCommands": [*commands, "exit 1"]})["id"]

    def run(self, name, *commands):
        stack, id = self.deploy(name, *commands)
        self.site.api.wait_status(stack, id, "failed")
        return self.site.api.log(stack, id)


@pytest.fixture
def place(own, agent, tmp_path, bubblewrap):
    return Place(own, agent, tmp_path)


@pytest.fixture
def without_groups(tmp_path, monkeypatch):
    """Programs that are started next see no control groups, as in most containers."""
    wrapper = tmp_path / "wrapped" / "slipway"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\n[ "$1" = agent ] || exec {where.slipway()} "$@"\n'
                       f'exec unshare --mount sh -c \'mount -t tmpfs -o ro none /sys/fs/cgroup && exec "$@"\' sh {where.slipway()} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setattr(where, "slipway", lambda: str(wrapper))


def test_without_control_groups(place, without_groups):
    """Each process of the run has its bound of memory, and its user one of processes."""
    runner = place.start("--memory-limit", 256, "--pids-limit", 60, "--cpu-limit", 50, isolation="bubblewrap")
    assert "memory 256 MiB (each process), processes 60 (rlimit), cpu unlimited" in runner.stderr()
    assert "--cpu-limit takes control groups" in runner.stderr()
    log = place.run("one", python("""
        import os, time
        try:
            kept = [b"x" * (10 << 20) for _ in range(30)]
            print("all of it"[::-1])
        except MemoryError: print("no more of it"[::-1])
        kept = None
        made = 0
        try:
            while made < 500:
                if os.fork() == 0: time.sleep(60); os._exit(0)
                made += 1
        except OSError: print("fewer than 60:", made < 60)
        """))
    assert "ti fo erom on" in log and "fewer than 60: True" in log, log


def test_the_processors(place):
    """Half of one processor: a program that takes all it gets is at half after a while."""
    runner = place.start("--cpu-limit", 50, isolation="bubblewrap")
    assert "cpu 50 % (cgroup" in runner.stderr()
    log = place.run("one", python("""
        import time
        began = time.monotonic()
        while time.process_time() < 0.5: pass
        print("half" if time.monotonic() - began > 0.8 else "all")
        """))
    assert "\nhalf\n" in log, log


@pytest.mark.parametrize("level", ["bubblewrap", "process"])
def test_what_a_killed_agent_left(place, level):
    """The next life of it removes the control group, and what still runs in there."""
    runner = place.start(isolation=level)
    word = f"7{os.getpid()}{runner.pid}"
    stack, id = place.deploy("one", f"setsid nohup sleep {word} >/dev/null 2>&1 & echo here | rev; sleep {word}")
    wait_until(lambda: "ereh" in place.site.api.log(stack, id), 60, "the command")
    instance = (Path(runner.arguments[runner.arguments.index("--work") + 1]) / "instance").read_text().strip()
    groups = hostile.groups_of(instance)
    assert groups
    runner.kill(descendants=False)
    folder = Path(runner.arguments[runner.arguments.index("--work") + 1]).parent
    again = process.Agent(folder, place.site.server, place.site.pool["tokenValue"], isolation=level)
    try:
        again.wait_stderr(r"removed \d+ control group")
        assert not [g for g in groups if g.exists()]
        assert not [line for _, line, _ in process.table().values() if word in line]
        assert place.site.api.wait_status(stack, id, timeout=30)["status"] == "failed"
    finally:
        again.stop(expect=None)


def test_a_disk_that_fills_with_nameless_files(place, tmp_path):
    """They are not found by looking; that the disk is nearly full is, and the run ends before it is."""
    disk = tmp_path / "agent0" / "work"
    disk.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300m,mode=700", "none", str(disk)], check=True)
    try:
        runner = place.start("--disk-limit", 250, isolation="bubblewrap")
        log = place.run("one", python("""
            import os, time
            kept = []
            try:
                for i in range(400):
                    f = open(f"x{i}", "wb", 0)
                    os.unlink(f"x{i}")
                    f.write(b"x" * (1 << 20))
                    kept.append(f)
                    time.sleep(0.002)
            except OSError: pass
            time.sleep(20)
            """))
        assert "the run was ended because the runner's disk is nearly full" in log, log
        assert sum(f.stat().st_size for f in disk.glob("**/*") if f.is_file()) < 1 << 20
        runner.stop()
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_what_lies_where_the_host_is_shown(place):
    """An agent that lives in /opt: the sandbox shows that, but not the agent's own things in it."""
    folder = Path("/opt") / f"slipway-test-{os.getpid()}"
    runner = process.Agent(folder, place.site.server, place.site.pool["tokenValue"], isolation="bubblewrap")
    try:
        runner.wait_stderr("polls http")
        (folder / "beside").write_text("seen")
        # As for an agent without root, whose user is that of the run: no permission keeps it out.
        (folder / "pool-token").chmod(0o644)
        (folder / "work").chmod(0o755)
        log = place.run("one", f"cat {folder}/beside | rev; echo $(ls -A {folder}/work | wc -l) in work; cat {folder}/pool-token | rev; echo x > {folder}/work/x")
        assert "nees0 in work\n" in log and place.site.pool["tokenValue"][::-1] not in log, log
        assert not (folder / "work" / "x").exists()
    finally:
        runner.stop(expect=None)
        shutil.rmtree(folder)
