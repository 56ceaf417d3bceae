#!/usr/bin/env python3
"""Kills server, runners and executors again and again under deployments of real programs: `make check-chaos`.

    chaos.py [--kills N] [--seed N] [--mutate WHAT]

A kill is one of
    server    SIGKILL to the server, which is started again soon
    agent     SIGKILL to a runner alone; it is started again in the same work folder
    executor  SIGKILL to an executor (of a sandbox also to bubblewrap around it; of a container to its first process)
    both      SIGKILL to a runner with an executor of its own, stopped before, so that neither sees the other end
    all       server, runners and executors at once
    stop      SIGTERM to a runner: it drains, and hands back what has not begun
at random moments, while some stacks each have deployments waiting: updates and previews by the real CLI, some with commands before that
print numbered lines, and all with one that says to the server that it ran (a tag on another stack), and asks again until it was heard.

Afterwards, and none of it by a time-out of the server (its clock is not moved):
    no deployment ran twice          that command was counted once at most; once exactly, if it succeeded
    none is stuck                    all have ended
    no stack is locked               each takes an update
    no acknowledged line is missing  a proxy between runners and server (recorder.py) has written down what was answered; in each step's log
    or repeated                      every such line has its number, and the numbered lines are whole as far as they go
    nothing is left over             no process, mount, control group, container, or folder of a job

--mutate breaks one of these (tests/fault/run-chaos), so that the test itself is tested: forget (a line is acknowledged and not kept), twice (runners
are told that the first step is known, and it is not), leak (a process and a folder outlive a killed runner, which does not come back).
"""
import argparse
import os
import random
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import requests  # noqa: E402
from helpers import process, programs, where  # noqa: E402
from helpers.api import FINAL, path_of  # noqa: E402
from helpers.engine import LABEL, Engine, shared  # noqa: E402
from helpers.git import Repository  # noqa: E402
from helpers.waiting import wait_until  # noqa: E402
from recorder import Recorder  # noqa: E402

KINDS = {"server": 28, "agent": 26, "executor": 26, "both": 8, "all": 4, "stop": 8}
# Containers where there is an engine that we may start.
LEVELS = ("process", "bubblewrap") + (("docker",) if shutil.which("dockerd") and os.geteuid() == 0 else ())
STACKS = 6
WAITING = 2  # on each stack

# Says that it ran, and asks until it was heard: 409 means that it was heard before.
COUNT = r"""
n=$(od -An -N4 -tx4 /dev/urandom | tr -d ' ')
for i in $(seq 200); do
	code=$(curl -s -o /dev/null -w '%{http_code}' --max-time 10 --noproxy '*' -H "Authorization: token $PULUMI_ACCESS_TOKEN" -H 'Content-Type: application/json' \
		-d "{\"name\":\"ran-$PULUMI_CI_BUILD_NUMBER-$n\",\"value\":\"1\"}" "$PULUMI_BACKEND_URL/api/stacks/acme/ledger/$PULUMI_CI_STACK/tags")
	case $code in 2*|409) exit 0 ;; 401|403|404) echo "refused: $code"; exit 1 ;; esac
	sleep 0.1
done
exit 1
"""
LINES = "for i in $(seq 0 %d); do echo line-$i; sleep 0.01; done"


class Wrong(Exception):
    pass


class Chaos:
    def __init__(self, seed: int, folder: Path, engine: Engine = None, mutation=None):
        self.rng, self.folder, self.engine, self.mutation = random.Random(seed), folder, engine, mutation
        self.image = engine and engine.make("slipway-test/chaos:1", programs={f"bin/{name}": shutil.which(name) for name in ("bash", "curl", "seq", "od", "tr")})
        self.count = dict.fromkeys(KINDS, 0)
        self.made = {}  # (stack, id) -> version
        self.agents, self.stopping, self.broken = {}, threading.Event(), None
        self.server = process.Server(folder / "server", command="serve")
        self.server.admin("org", "add", "acme")
        self.api = self.server.user("operator", role="admin")
        self.api.call = patient(self.api.call)
        self.token = self.api.post("/api/orgs/acme/agent-pools", {"name": "builders"})["tokenValue"]
        self.recorder = Recorder(self.server.port, mutation if mutation in ("forget", "twice") else None)
        self.stacks = [self.stack(n) for n in range(STACKS)]
        for level in LEVELS:
            self.start_agent(level)

    def stack(self, n: int) -> str:
        repo = Repository(self.folder / f"repo{n}")
        repo.commit({**programs.stash(f"project{n}"), "count": COUNT})
        name = f"acme/project{n}/s{n}"
        self.api.create_stack(name)
        self.api.create_stack(f"acme/ledger/s{n}")
        self.api.settings(name, {"sourceContext": {"git": {"repoUrl": repo.url, "branch": "main"}}, "operationContext": {"options": {"skipInstallDependencies": True}}})
        return name

    # ---- programs ------------------------------------------------------------------------------------------------
    def start_agent(self, level):
        more = ["--docker-host", self.engine.host, "--image", self.image, "--pull", "missing"] if level == "docker" else []
        self.agents[level] = process.Agent(self.folder / level, SimpleNamespace(url=self.recorder.url), self.token, "--concurrency", "2", "--grace", "3s",
                                           "--cancel-patience", "2s", *more, name=level, isolation=level)

    def start_server(self):
        self.server = process.Server(self.server.folder, command="serve", listen=f"127.0.0.1:{self.server.port}")

    def executors(self, level) -> list:
        """Executors of a runner and, of a sandbox, what is around them."""
        if level == "docker":
            seen = [self.engine.call("GET", f"/containers/{c['Id']}/json", check=False) for c in self.engine.containers(LABEL)]
            return [body["State"]["Pid"] for status, body in seen if status == 200 and body["State"]["Pid"]]
        table = process.table()
        names = ("slipway-executor", "bwrap")
        return [pid for pid in self.agents[level].descendants() if pid in table and Path(table[pid][1].split(" ")[0]).name in names]

    def load(self):
        """Keeps every stack busy."""
        rng = random.Random(self.rng.random())
        while not self.stopping.is_set():
            for stack in self.stacks:
                try:
                    open_ones = [d for d in self.api.get(f"{path_of(stack)}/deployments?pageSize=20")["deployments"] if d["status"] not in FINAL]
                    if len(open_ones) < WAITING:
                        commands = ["sh ./count"] + rng.choice([[], [LINES % rng.choice((20, 100))], ["echo short", LINES % 40]])
                        made = self.api.deploy(stack, rng.choice(("update", "update", "preview")), operationContext={"preRunCommands": commands})
                        self.made[(stack, made["id"])] = made["version"]
                except Exception as e:  # noqa: BLE001
                    self.broken = e
                    return
            self.stopping.wait(0.1)

    # ---- kills ---------------------------------------------------------------------------------------------------
    def kill(self, kind):
        level = self.rng.choice(LEVELS)
        agent = self.agents[level]
        self.count[kind] += 1
        if agent.process.poll() is not None:
            raise Wrong(f"the runner of the level {level} has ended by itself with {agent.process.returncode}:\n{agent.stderr()[-3000:]}")
        if kind == "server":
            self.server.kill(descendants=False)
            time.sleep(self.rng.choice((0, 0, 0.5, 2)))
            self.start_server()
        elif kind == "agent":
            agent.kill(descendants=False)
            time.sleep(self.rng.choice((0, 0, 0.5)))
            self.start_agent(level)
        elif kind == "executor":
            self.kill_executor(level)
        elif kind == "both":
            self.kill_both(level)
            self.start_agent(level)
        elif kind == "stop":
            agent.stop(timeout=60, expect=None)
            if agent.process.returncode not in (0, -signal.SIGTERM):  # by the signal itself while it starts
                raise Wrong(f"a runner ended with {agent.process.returncode} on SIGTERM:\n{agent.stderr()[-3000:]}")
            self.start_agent(level)
        else:
            self.server.kill(descendants=False)
            for one in LEVELS:
                self.kill_both(one)
            self.start_server()
            for one in LEVELS:
                self.start_agent(one)

    def kill_executor(self, level):
        found = self.executors(level)
        if found:
            try:
                os.kill(self.rng.choice(found), signal.SIGKILL)
            except ProcessLookupError:
                pass

    def kill_both(self, level):
        agent = self.agents[level]
        # An engine says nothing of a container whose files come from a runner that stands still.
        found = self.executors(level) if level == "docker" else []
        os.kill(agent.pid, signal.SIGSTOP)
        for pid in found if level == "docker" else self.executors(level):
            for sig in (signal.SIGSTOP, signal.SIGKILL) if level != "docker" else (signal.SIGKILL,):
                try:
                    os.kill(pid, sig)
                except ProcessLookupError:
                    pass
        agent.kill(descendants=False)

    # ---- afterwards ------------------------------------------------------------------------------------------------
    def drain(self):
        """All that was made ends by itself."""
        self.stopping.set()
        end = time.monotonic() + 300
        for stack, id in self.made:
            while self.api.deployment(stack, id)["status"] not in FINAL:
                if time.monotonic() > end:
                    raise Wrong(f"stuck: deployment {self.made[(stack, id)]} of {stack} is {self.api.deployment(stack, id)['status']}")
                time.sleep(0.1)

    def check_counts(self):
        for n, stack in enumerate(self.stacks):
            ran = {}
            for tag in self.api.get(path_of(f"acme/ledger/s{n}"))["tags"]:
                found = re.match(r"^ran-(\d+)-", tag)
                if found:
                    ran[int(found.group(1))] = ran.get(int(found.group(1)), 0) + 1
            for (of, id), version in self.made.items():
                if of != stack:
                    continue
                status, times = self.api.deployment(stack, id)["status"], ran.get(version, 0)
                if times > 1:
                    raise Wrong(f"ran twice: deployment {version} of {stack} ran {times} times, and is {status}")
                if status == "succeeded" and times != 1:
                    raise Wrong(f"deployment {version} of {stack} succeeded, and its command ran {times} times")

    def log_of_step(self, stack, id, step) -> list:
        lines, offset = [], 0
        while offset is not None:
            page = self.api.get(f"{path_of(stack)}/deployments/{id}/logs?job=0&step={step}&offset={offset}&count=499")
            lines += [line["line"] for line in page["lines"]]
            offset = page.get("nextOffset") if page["lines"] else None
        return lines

    def check_logs(self) -> int:
        stacks, checked = {id: stack for stack, id in self.made}, 0
        for (id, step), book in list(self.recorder.lines.items()):
            if id not in stacks:
                continue
            book = dict(book)
            kept = self.log_of_step(stacks[id], id, step)
            for number, text in book.items():
                if number >= len(kept) or kept[number] != text:
                    has = kept[number] if number < len(kept) else f"only {len(kept)} lines"
                    raise Wrong(f"an acknowledged line is lost: {number} of step {step} of {id} was {text!r}, the log has {has!r}")
                checked += 1
            numbered = [int(m.group(1)) for m in (re.match(r"^line-(\d+)\n$", line) for line in kept) if m]
            if numbered != list(range(len(numbered))):
                raise Wrong(f"lines are missing or repeated in step {step} of {id}: {numbered}")
        return checked

    def check_left(self):
        for agent in self.agents.values():
            if not agent.stopped:
                agent.stop(timeout=60)
        works = [self.folder / level / "work" for level in LEVELS]
        left = [f"folder {f}" for work in works for f in (work / "jobs").iterdir()]
        left += [f"process {line}" for work in works for line in process.left_in(work)]
        for work in works:
            left += [f"mount {line.strip()}" for line in open("/proc/self/mounts") if str(work) in line]
            left += [f"control group {group}" for group in groups_of(work)]
        if self.engine:
            left += [f"container {c['Names']}" for c in self.engine.containers(LABEL)] + [f"network {n['Name']}" for n in self.engine.networks(LABEL)]
            # The programs, each once, are meant to stay.
            left += [f"volume {v['Name']}" for v in self.engine.volumes() if not re.match(r"slipway-(executor|pulumi)-", v["Name"])]
        if left:
            raise Wrong("left over: " + "; ".join(left[:10]))

    def run(self, kills: int) -> int:
        loader = threading.Thread(target=self.load, daemon=True)
        loader.start()
        plan = self.rng.choices(list(KINDS), list(KINDS.values()), k=kills)
        plan[:len(KINDS)] = list(KINDS)[:kills]
        self.rng.shuffle(plan)
        for number, kind in enumerate(plan, 1):
            time.sleep(self.rng.uniform(0.2, 2.0))
            if self.broken:
                raise Wrong(f"the load has ended before kill {number}: {self.broken}")
            if self.mutation == "leak" and number == kills:
                self.leak()
                break
            try:
                self.kill(kind)
            except AssertionError as e:
                raise Wrong(f"kill {number} ({kind}): {e}") from None
            if number % 20 == 0:
                print(f"  {number} kills, {len(self.made)} deployments", flush=True)
        self.stopping.set()
        loader.join(60)
        if self.mutation == "twice":
            # None of these ever ends: what was run must be seen before.
            end = time.monotonic() + 60
            while time.monotonic() < end:
                self.check_counts()
                time.sleep(0.5)
            return 0
        if self.mutation != "leak":
            self.drain()
            self.check_counts()
        lines = self.check_logs()
        if self.mutation != "leak":
            for stack in self.stacks:
                done = self.api.wait_status(stack, self.api.deploy(stack, "update", operationContext={"preRunCommands": []})["id"], timeout=120)
                if done["status"] != "succeeded":
                    raise Wrong(f"{stack} takes no update: {done['message']}\n{self.api.log(stack, done['id'])[-2000:]}")
        self.check_left()
        return lines

    def leak(self):
        """A runner of the process level is killed with its executors in the midst of a run, and does not come back."""
        def busy():
            return [pid for pid in self.executors("process") if Path(f"/proc/{pid}/task/{pid}/children").read_text().strip()]
        wait_until(busy, 60, "a run")
        self.kill_both("process")


def groups_of(work) -> list:
    """The control groups that a runner has made."""
    instance = work / "instance"
    return [g for g in Path("/sys/fs/cgroup").rglob(f"slipway-{instance.read_text().strip()}*") if g.is_dir()] if instance.exists() else []


def is_removed(group) -> bool:
    """What was killed may still be on its way out."""
    try:
        group.rmdir()
    except OSError:
        return not group.exists()
    return True


def tidy(folder):
    """After a failed run, whatever it was that failed."""
    for work in (folder / level / "work" for level in LEVELS):
        for line in process.left_in(work):
            os.kill(int(line.split()[0]), signal.SIGKILL)
        for group in groups_of(work):
            wait_until(lambda: is_removed(group), 10, f"{group} to be empty")


def patient(call):
    """As the CLI: a server that is away is asked again. Only for calls that may be repeated, or of which a second one does no harm here."""
    def again(method, path, *arguments, **more):
        end = time.monotonic() + 60
        while True:
            try:
                answer = call(method, path, *arguments, **more)
                if answer.status_code < 500 or time.monotonic() > end:
                    return answer
            except requests.RequestException:
                if time.monotonic() > end:
                    raise
            time.sleep(0.1)
    return again


def main() -> int:
    parse = argparse.ArgumentParser()
    parse.add_argument("--kills", type=int, default=int(os.environ.get("CHAOS_KILLS", "200")))
    parse.add_argument("--seed", type=int, default=int(os.environ.get("CHAOS_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31))
    parse.add_argument("--mutate", choices=["forget", "twice", "leak"])
    options = parse.parse_args()
    print(f"chaos: seed {options.seed}, {options.kills} kills, {STACKS} stacks, runners {', '.join(LEVELS)}, {where.build()}", flush=True)
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="slipway-chaos.")).resolve()
    os.environ["TMPDIR"] = str(folder)
    with shared(folder) if "docker" in LEVELS else nullcontext() as engine:
        chaos = Chaos(options.seed, folder, engine, options.mutate)
        try:
            lines = chaos.run(options.kills)
        except (Wrong, AssertionError) as e:
            print(f"FAILED with seed {options.seed}: {e}\nthe folder is {folder}", flush=True)
            return 1
        finally:
            chaos.stopping.set()
            for program in list(process.running):
                program.kill()
            tidy(folder)
            chaos.recorder.close()
    print(f"{options.kills} kills in {time.monotonic() - began:.0f} s: {len(chaos.made)} deployments, none twice, none stuck, every stack takes an update; "
          f"{lines} acknowledged lines, each in its place; nothing left over")
    print("  " + ", ".join(f"{name} {n}" for name, n in chaos.count.items()))
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
