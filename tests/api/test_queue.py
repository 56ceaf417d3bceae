"""The queue as its users see it: turns between projects, and why a deployment waits."""
import pytest
from helpers.api import path_of

GIT = {"git": {"repoUrl": "https://example.invalid/shop.git", "branch": "main"}}


class Site:
    """A server without a runner; polls are made by hand."""

    def __init__(self, own, clock):
        self.server = own(command="serve", clock=clock)
        self.server.admin("org", "add", "acme")
        self.api = self.server.user("operator", role="admin")
        self.pool = self.api.post("/api/orgs/acme/agent-pools", {"name": "builders"})
        self.claims = {}

    def stack(self, name):
        self.api.create_stack(name)
        self.api.settings(name, {"sourceContext": GIT})
        return name

    def claim(self):
        """Which stack was given out, as project/stack/version; None: nothing may run."""
        answer = self.server.api(self.pool["tokenValue"]).call("GET", "/api/deployments/poll", headers={"Slipway-Agent-Name": "one"})
        if answer.status_code == 204:
            return None
        claim = answer.json()
        order = self.server.api(claim["jobToken"]).get(f"/api/runner/{claim['deploymentID']}/order?attempt={claim['attempt']}")["deployment"]
        name = f"{order['project']}/{order['stack']}/{order['version']}"
        self.claims[name] = claim
        return name

    def finish(self, name):
        claim = self.claims.pop(name)
        self.server.api(claim["jobToken"]).post(f"/api/runner/{claim['deploymentID']}/finish", {"attempt": claim["attempt"], "status": "failed", "message": ""})

    def waiting(self, stack, made):
        return self.api.get(f"{path_of(stack)}/deployments/{made['id']}/waiting")


@pytest.fixture
def site(own, clock):
    return Site(own, clock)


def kinds(waiting):
    return [r["kind"] for r in waiting["reasons"]]


def limit(site, n):
    site.api.ok("PATCH", "/api/orgs/acme", {"setDeploymentConcurrency": n})


def test_projects_take_turns_when_the_limit_binds(site):
    for n in range(4):
        site.stack(f"acme/noisy/s{n}")
    site.stack("acme/quiet/prod"), site.stack("acme/other/prod")
    limit(site, 1)
    for _ in range(2):
        for n in range(4):
            site.api.deploy(f"acme/noisy/s{n}")
    for stack in ("acme/quiet/prod", "acme/other/prod", "acme/quiet/prod"):
        site.api.deploy(stack)
    order = []
    while (name := site.claim()):
        assert site.claim() is None, "the limit"
        order.append(name)
        site.finish(name)
    assert order == ["noisy/s0/1", "quiet/prod/1", "other/prod/1", "noisy/s1/1", "quiet/prod/2", "noisy/s2/1", "noisy/s3/1",
                     "noisy/s0/2", "noisy/s1/2", "noisy/s2/2", "noisy/s3/2"]


def test_first_come_first_served_where_there_is_room(site):
    for stack in ("acme/noisy/a", "acme/noisy/b", "acme/quiet/prod", "acme/noisy/c"):
        site.stack(stack)
        site.api.deploy(stack)
    assert [site.claim() for _ in range(5)] == ["noisy/a/1", "noisy/b/1", "quiet/prod/1", "noisy/c/1", None]


def test_why_it_waits(site):
    stack = site.stack("acme/p/dev")
    path = path_of(stack) + "/deployments"
    first, second, third = (site.api.deploy(stack) for _ in range(3))
    seen = site.waiting(stack, first)
    assert kinds(seen) == ["no-agent"] and seen["position"] == 1 and seen["liveAgents"] == 0
    assert seen["text"] == "no agent that lives serves the organization"
    assert site.claim() == "p/dev/1"
    site.api.refused(404, "GET", f"{path}/{first['id']}/waiting", names="does not wait: it is accepted")
    seen = site.waiting(stack, second)
    assert kinds(seen) == ["stack-busy"] and seen["position"] == 1
    assert seen["reasons"][0]["deployment"] == {"id": first["id"], "version": 1, "status": "accepted"}
    seen = site.waiting(stack, third)
    assert kinds(seen) == ["stack-busy", "queue"] and seen["position"] == 2 and seen["reasons"][1]["ahead"] == 1
    assert seen["text"] == "deployment 1 of the stack is accepted; 1 older deployment of the stack waits before it"
    site.api.post(f"{path}/pause")
    site.api.post("/api/orgs/acme/deployments/pause")
    assert kinds(site.waiting(stack, second)) == ["organization-paused", "stack-paused", "stack-busy"]
    site.api.post(f"{path}/resume")
    site.api.post("/api/orgs/acme/deployments/resume")
    site.finish("p/dev/1")
    seen = site.waiting(stack, second)
    assert kinds(seen) == ["agents-busy"] and "it is next" in seen["text"]
    # The same in the deployment and in lists; not in one that does not wait.
    shown = site.api.get(f"{path}/{second['id']}")["waiting"]
    listed = {d["version"]: d.get("waiting") for d in site.api.get(path)["deployments"]}
    assert shown == seen == listed[2] and listed[1] is None and listed[3]["position"] == 2
    assert site.api.get("/api/orgs/acme/deployments")["deployments"][0]["waiting"]["position"] == 2


def test_why_it_waits_for_the_limit(site):
    limit(site, 1)
    one, two = site.stack("acme/p/one"), site.stack("acme/p/two")
    site.api.deploy(one)
    made = site.api.deploy(two)
    assert site.claim() == "p/one/1"
    seen = site.waiting(two, made)
    assert kinds(seen) == ["organization-limit"] and (seen["reasons"][0]["active"], seen["reasons"][0]["limit"]) == (1, 1)


def test_why_it_waits_for_a_pool(site, clock):
    stack = site.stack("acme/p/dev")
    site.claim()
    other = site.api.post("/api/orgs/acme/agent-pools", {"name": "elsewhere"})
    site.api.settings(stack, {"agentPoolID": other["id"]})
    made = site.api.deploy(stack)
    seen = site.waiting(stack, made)
    assert kinds(seen) == ["no-agent"] and seen["reasons"][0]["agentPool"] == {"id": other["id"], "name": "elsewhere"}
    assert "'elsewhere'" in seen["text"]
    site.api.settings(stack, {"agentPoolID": None})
    assert kinds(site.waiting(stack, site.api.deploy(stack))) == ["queue"]
    clock.advance(1000)
    assert "no-agent" in kinds(site.waiting(stack, made))
