"""A runner of the test's own: it speaks the runner protocol by hand, so that a test says what happens and when."""
import time

from helpers.api import path_of


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
