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


def test_each_cause_alone(site, clock):
    """Each cause by itself, and that it goes: in words, as data, in the deployment and in its own route."""
    stack, other = site.stack("acme/p/dev"), site.stack("acme/q/dev")
    org, path = "/api/orgs/acme/deployments", path_of(stack) + "/deployments"
    site.claim()  # an agent that lives
    made = site.api.deploy(stack)

    def seen():
        said = site.waiting(stack, made)
        assert said == site.api.get(f"{path}/{made['id']}")["waiting"]
        assert said["text"] == "; ".join(r["text"] for r in said["reasons"]) and said["position"] == 1
        return [(r["kind"], r["text"]) for r in said["reasons"]]

    free = [("agents-busy", "it is next on its stack: an agent that is free takes it when its turn has come")]
    assert seen() == free
    site.api.post(org + "/pause")
    assert seen() == [("organization-paused", "deployments of the organization are paused")] and site.claim() is None
    site.api.post(org + "/resume")
    site.api.post(path + "/pause")
    assert seen() == [("stack-paused", "deployments of the stack are paused")] and site.claim() is None
    site.api.post(path + "/resume")
    limit(site, 1)
    site.api.post(path + "/pause")
    site.api.deploy(other)
    assert site.claim() == "q/dev/1"
    site.api.post(path + "/resume")
    assert seen() == [("organization-limit", "the organization runs 1 deployment, and its limit is 1 at once")] and site.claim() is None
    site.api.ok("PATCH", "/api/orgs/acme", {"setDeploymentConcurrency": 2})
    assert seen() == free
    # A default pool that nobody polls for; one that is silent; one that lives.
    idle = site.api.post("/api/orgs/acme/agent-pools", {"name": "idle"})
    site.api.ok("PATCH", f"/api/orgs/acme/agent-pools/{idle['id']}", {"isDefault": True})
    assert seen() == [("no-agent", "the agent pool 'idle' has no agent that lives")] and site.claim() is None
    site.api.post(path + "/pause")
    assert site.server.api(idle["tokenValue"]).call("GET", "/api/deployments/poll").status_code == 204
    site.api.post(path + "/resume")
    assert seen() == free
    clock.advance(160)
    assert seen() == [("no-agent", "the agent pool 'idle' has no agent that lives")]
    site.api.ok("DELETE", f"/api/orgs/acme/agent-pools/{idle['id']}?force=true")
    assert seen() == [("no-agent", "no agent that lives serves the organization")]
    assert site.claim() == "p/dev/1"


def test_the_place_in_a_long_queue(site):
    """Moves up when one before it leaves: by a cancel, by an end, by being superseded."""
    stack = site.stack("acme/p/dev")
    made = [site.api.deploy(stack, "update" if n < 3 else "preview", operationContext={"options": {"skipIntermediateDeployments": n == 2}}) for n in range(6)]

    def places():
        queued = [m for m in made if site.api.deployment(stack, m["id"])["status"] == "not-started"]
        found = [site.waiting(stack, m)["position"] for m in queued]
        listed = {d["id"]: d["waiting"]["position"] for d in site.api.get(path_of(stack) + "/deployments?status=not-started")["deployments"]}
        assert listed == dict(zip((m["id"] for m in queued), found)) and found == list(range(1, len(queued) + 1))
        return len(queued)

    assert places() == 6
    site.api.post(f"{path_of(stack)}/deployments/{made[4]['id']}/cancel")
    assert places() == 5
    assert site.claim() == "p/dev/1" and places() == 4
    site.finish("p/dev/1")
    assert places() == 3, "the second update has been superseded by the third"
    assert site.claim() == "p/dev/3"


def test_who_may_ask_why_it_waits(site):
    stack = site.stack("acme/p/dev")
    made, path = site.api.deploy(stack), path_of(stack)
    member = site.server.user("worker")
    for level, code in ((101, 200), (0, 404)):
        site.api.ok("PUT", f"{path}/collaborators/worker", {"permission": level})
        assert member.call("GET", f"{path}/deployments/{made['id']}/waiting").status_code == code
    site.api.refused(404, "GET", f"{path}/deployments/0199d2a0-0000-7000-8000-000000000000/waiting")
    assert site.api.get(f"{path}/deployments/{made['version']}/waiting") == site.waiting(stack, made), "by its number, too"
    site.api.post(f"{path}/deployments/{made['id']}/cancel")
    site.api.refused(404, "GET", f"{path}/deployments/{made['id']}/waiting", names="does not wait: it is skipped")
