"""Runners: one of the test's own, which speaks the runner protocol by hand, so that a test says what happens and when; and
real ones, as somebody would set them up."""
import itertools
import time

from helpers import process
from helpers.api import path_of
from helpers.git import Authority, HttpGit


class Site:
    """A server without a runner, one administrator, one pool."""

    def __init__(self, own, *options, **more):
        self.server = own(*options, command="serve", **more)
        self.server.admin("org", "add", "acme")
        self.api = self.server.user("operator", role="admin")
        self.pool = self.api.post("/api/orgs/acme/agent-pools", {"name": "builders"})

    def stack(self, name, **settings):
        self.api.create_stack(name)
        self.api.settings(name, {"agentPoolID": self.pool["id"],
                                 "sourceContext": {"git": {"repoUrl": "https://example.com/x.git", "branch": "main"}}, **settings})
        return name

    def run(self, stack, operation="preview") -> "Runner":
        """A deployment of the stack, which must not be busy, and its runner."""
        self.api.deploy(stack, operation)
        return Runner(self, stack)


class Runner:
    """Takes the next deployment of the site's pool."""

    def __init__(self, site, stack):
        claim = site.server.api(site.pool["tokenValue"]).get("/api/deployments/poll")
        self.site, self.stack, self.id, self.attempt = site, stack, claim["deploymentID"], claim["attempt"]
        self.api = site.server.api(claim["jobToken"])
        self.path = f"{path_of(stack)}/deployments/{self.id}"
        self.order = self.api.get(f"/api/runner/{self.id}/order?attempt={self.attempt}")
        self.offsets = {}

    def call(self, what, **body):
        return self.api.call("POST", f"/api/runner/{self.id}/{what}", {"attempt": self.attempt, **body})

    def post(self, what, **body):
        return self.api.post(f"/api/runner/{self.id}/{what}", {"attempt": self.attempt, **body})

    def step(self, step, status="running", name=None):
        self.post("steps", step=step, name=name or f"Step {step}", status=status)

    def append(self, step, offset, texts):
        now = int(time.time() * 1e6)
        return self.post("log", step=step, offset=offset, lines=[{"t": now + i, "l": text} for i, text in enumerate(texts)])["next"]

    def log(self, step, *texts):
        """The next lines of that step."""
        self.offsets[step] = self.append(step, self.offsets.get(step, 0), texts)

    def finish(self, status="succeeded", message=""):
        self.post("finish", status=status, message=message)


class Yard:
    """A server, and runners as in a real deployment: in a sandbox, without --allow-insecure-sources, with an authority of
    the house for https. Sources are tried with programs that do nothing."""

    numbers = itertools.count(1)

    def __init__(self, folder, *options, clock=None, **more):
        self.folder, self.clock = folder, clock
        self.authority = Authority(folder / "authority")
        self.site = Site(lambda *o, **m: process.Server(folder / "server", *o, **m), clock=clock)
        self.api, self.started = self.site.api, []
        self.runner = self.agent(*options, **more)

    def agent(self, *options, isolation="bubblewrap", insecure=False, **more):
        one = process.Agent(self.folder / f"agent{len(self.started)}", self.site.server, self.site.pool["tokenValue"], *options, isolation=isolation,
                            insecure=insecure, clock=self.clock, env={"GIT_SSL_CAINFO": str(self.authority.file), **more.pop("env", {})}, **more)
        self.started.append(one)
        one.wait_stderr(" polls ")
        return one

    def https(self, root, **more):
        return HttpGit(root, authority=self.authority, **more)

    def stack(self):
        return self.site.stack(f"acme/yard-{next(self.numbers)}/dev", sourceContext={"git": {"repoUrl": "https://example.com/x.git"}})

    def start(self, git, *commands, stack=None, **more):
        stack = stack or self.stack()
        return stack, self.api.deploy(stack, "preview", sourceContext=git if "template" in git else {"git": git},
                                      operationContext={"preRunCommands": list(commands)}, **more)["id"]

    def fetch(self, git, *commands, timeout=120, stack=None, **more):
        """Runs it; returns how the step `Get source` ended, and the log."""
        stack, id = self.start(git, *commands, stack=stack, **more)
        done = self.api.wait_status(stack, id, timeout=timeout)
        steps = {s["name"]: s["status"] for s in done["jobs"][0]["steps"]}
        return steps["Get source"], self.api.log(stack, id)

    def stop(self):
        for one in self.started:
            if not one.stopped:
                one.stop(expect=None)
        if not self.site.server.stopped:
            self.site.server.stop(expect=None)
