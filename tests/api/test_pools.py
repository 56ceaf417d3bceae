"""Agent pools: made, listed, changed, removed; who polls for them, and what a pool's token is good for."""
import gzip
import json
import threading
import time

import pytest
from helpers.api import path_of
from helpers.waiting import wait_until

GIT = {"git": {"repoUrl": "https://example.invalid/shop.git", "branch": "main"}}
POOLS = "/api/orgs/acme/agent-pools"
POLL = "/api/deployments/poll"


class Site:
    def __init__(self, own, clock):
        self.server = own(command="serve", clock=clock)
        self.server.admin("org", "add", "acme")
        self.api = self.server.user("operator", role="admin")
        self.member = self.server.user("worker")

    def pool(self, name, **more):
        made = self.api.post(POOLS, {"name": name, **more})
        return made["id"], self.server.api(made["tokenValue"])

    def stack(self, name, **settings):
        self.api.create_stack(name)
        self.api.settings(name, {"sourceContext": GIT, **settings})
        return name

    def poll(self, agents, name="one", **headers):
        answer = agents.call("GET", POLL, headers={"Slipway-Agent-Name": name, **headers})
        return answer.json() if answer.status_code == 200 else None

    def listed(self, id):
        return next(p for p in self.api.get(POOLS)["agentPools"] if p["id"] == id)


@pytest.fixture
def site(own, clock):
    return Site(own, clock)


def test_the_token_of_a_pool_is_shown_once(site):
    made = site.api.post(POOLS, {"name": "builders", "description": "in the cellar"})
    assert set(made) == {"id", "tokenValue"} and made["tokenValue"].startswith("pul-")
    site.server.api(made["tokenValue"]).call("GET", POLL)
    for shown in (site.api.get(POOLS), site.api.get(f"{POOLS}/{made['id']}")):
        assert made["tokenValue"] not in json.dumps(shown) and "tokenValue" not in json.dumps(shown)
    assert made["tokenValue"].encode() not in b"".join(f.read_bytes() for f in site.server.data.glob("slipway.db*")), "only its hash is kept"


def test_refused_pools(site):
    site.pool("builders")
    assert "'builders'" in site.api.refused(409, "POST", POOLS, {"name": "builders"})
    for body, names in (({}, "/name"), ({"name": ""}, "/name"), ({"name": 1}, "/name"), ({"name": "x" * 101}, "/name"), ({"name": "ok", "description": "x" * 1001}, "/description")):
        site.api.refused(400, "POST", POOLS, body, names=names)
    for method, path, body in (("GET", POOLS, ...), ("POST", POOLS, {"name": "p"}), ("DELETE", f"{POOLS}/x", ...)):
        site.member.refused(403, method, path, body)
    assert [p["name"] for p in site.api.get(POOLS)["agentPools"]] == ["builders"]


def test_agents_come_and_go(site, clock):
    """Online while heard of, offline after two and a half minutes, forgotten after two hours."""
    id, agents = site.pool("builders")
    assert site.listed(id)["status"] == "offline" and site.listed(id)["lastSeen"] == 0 and site.api.get(f"{POOLS}/{id}")["agents"] == []
    site.poll(agents, "one", **{"Slipway-Agent-Hostname": "cellar", "Slipway-Agent-Pid": "4711", "Slipway-Agent-Platform": "linux/amd64",
                                "Slipway-Agent-Version": "1.2", "Slipway-Agent-Isolation": "bubblewrap"})
    clock.advance(100)
    site.poll(agents, "two")
    one, two = site.api.get(f"{POOLS}/{id}")["agents"]
    assert (one["name"], one["hostname"], one["pid"], one["platform"], one["version"], one["isolation"], one["ip"]) == \
        ("one", "cellar", "4711", "linux/amd64", "1.2", "bubblewrap", "127.0.0.1")
    assert (one["status"], two["status"]) == ("online", "online") and two["lastSeen"] - one["lastSeen"] in (99, 100, 101)
    clock.advance(60)
    one, two = site.api.get(f"{POOLS}/{id}")["agents"]
    assert (one["status"], two["status"]) == ("offline", "online") and site.listed(id)["status"] == "online"
    clock.advance(100)
    assert site.listed(id)["status"] == "offline" and site.listed(id)["lastSeen"] == two["lastSeen"]
    clock.advance(2 * 3600 - 230)
    wait_until(lambda: [a["name"] for a in site.api.get(f"{POOLS}/{id}")["agents"]] == ["two"], 10, "the first to be forgotten")
    site.poll(agents, "one")
    assert [a["status"] for a in site.api.get(f"{POOLS}/{id}")["agents"]] == ["online", "offline"]
    clock.advance(3 * 3600)
    wait_until(lambda: site.api.get(f"{POOLS}/{id}")["agents"] == [], 10, "both to be forgotten")


def test_an_agent_that_works_is_online(site, clock):
    """It does not poll while it is full; its heartbeats tell of it."""
    id, agents = site.pool("builders")
    site.stack("acme/p/dev")
    site.api.deploy("acme/p/dev")
    claim = site.poll(agents)
    runner = site.server.api(claim["jobToken"])
    runner.get(f"/api/runner/{claim['deploymentID']}/order?attempt={claim['attempt']}")
    for _ in range(3):
        clock.advance(120)
        runner.post(f"/api/runner/{claim['deploymentID']}/heartbeat", {"attempt": claim["attempt"]})
    agent, = site.api.get(f"{POOLS}/{id}")["agents"]
    assert agent["status"] == "online" and site.listed(id)["lastDeployment"] > 0


def test_a_pool_is_changed(site):
    id, _ = site.pool("builders", description="old")
    other, _ = site.pool("others")
    assert site.api.ok("PATCH", f"{POOLS}/{id}", {"name": "makers"}) == {"name": "makers", "description": "old"}
    assert site.api.ok("PATCH", f"{POOLS}/{id}", {"description": ""}) == {"name": "makers", "description": ""}
    assert site.api.ok("PATCH", f"{POOLS}/{id}", {"name": "makers"})["name"] == "makers", "its own name is free"
    assert "'others'" in site.api.refused(409, "PATCH", f"{POOLS}/{id}", {"name": "others"})
    site.api.refused(400, "PATCH", f"{POOLS}/{id}", {"name": ""}, names="/name")
    site.api.refused(404, "PATCH", f"{POOLS}/no-such-pool", {"name": "x"}, names="no-such-pool")
    site.member.refused(403, "PATCH", f"{POOLS}/{id}", {"name": "x"})
    assert [p["name"] for p in site.api.get(POOLS)["agentPools"]] == ["makers", "others"]


def test_pools_of_another_organization(site):
    id, _ = site.pool("builders")
    site.server.admin("org", "add", "umbrella")
    boss = site.server.user("stranger", org="umbrella", role="admin")
    for method, body in (("GET", ...), ("PATCH", {"name": "mine"}), ("DELETE", ...)):
        boss.refused(404, method, f"/api/orgs/umbrella/agent-pools/{id}", body, names=id)
    site.api.create_stack("acme/p/dev")
    boss.create_stack("umbrella/p/dev")
    boss.refused(400, "POST", path_of("umbrella/p/dev") + "/deployments", {"operation": "update", "sourceContext": GIT, "agentPoolID": id}, names="agent pool")
    boss.refused(400, "POST", path_of("umbrella/p/dev") + "/deployments/settings", {"sourceContext": GIT, "agentPoolID": id}, names="agent pool")


def test_a_pool_in_use_is_kept(site):
    """Used: settings name it, a queued deployment names it, or one of its agents runs something."""
    id, agents = site.pool("builders")
    site.stack("acme/p/dev", agentPoolID=id)
    assert "in use" in site.api.refused(400, "DELETE", f"{POOLS}/{id}")
    site.api.settings("acme/p/dev", {"agentPoolID": None})
    made = site.api.deploy("acme/p/dev", agentPoolID=id)
    assert "in use" in site.api.refused(400, "DELETE", f"{POOLS}/{id}")
    claim = site.poll(agents)
    assert claim["deploymentID"] == made["id"]
    assert "in use" in site.api.refused(400, "DELETE", f"{POOLS}/{id}")
    runner = site.server.api(claim["jobToken"])
    runner.post(f"/api/runner/{made['id']}/finish", {"attempt": claim["attempt"], "status": "failed", "message": ""})
    site.api.refused(400, "DELETE", f"{POOLS}/{id}?force=perhaps", names="force")
    site.api.ok("DELETE", f"{POOLS}/{id}", status=204)
    site.api.refused(404, "DELETE", f"{POOLS}/{id}", names=id)


def test_a_pool_is_removed_by_force(site):
    """What named it falls back to the default: settings, and what waits. What runs goes on."""
    id, agents = site.pool("builders")
    _, others = site.pool("others")
    running, waiting = site.stack("acme/p/running", agentPoolID=id), site.stack("acme/p/waiting", agentPoolID=id)
    ran = site.api.deploy(running)
    claim = site.poll(agents)
    waits = site.api.deploy(waiting)
    assert site.poll(others) is None
    site.api.ok("DELETE", f"{POOLS}/{id}?force=true", status=204)
    assert [p["name"] for p in site.api.get(POOLS)["agentPools"]] == ["others"]
    assert "agentPoolID" not in site.api.get(path_of(waiting) + "/deployments/settings") or \
        site.api.get(path_of(waiting) + "/deployments/settings")["agentPoolID"] is None
    assert agents.call("GET", POLL).status_code == 401
    assert site.poll(others)["deploymentID"] == waits["id"]
    runner = site.server.api(claim["jobToken"])
    runner.post(f"/api/runner/{ran['id']}/steps", {"attempt": claim["attempt"], "step": 0, "name": "Setup", "status": "running"})
    runner.post(f"/api/runner/{ran['id']}/finish", {"attempt": claim["attempt"], "status": "succeeded", "message": ""})
    assert site.api.deployment(running, ran["id"])["status"] == "succeeded"
    # The settings that fell back can be deployed again.
    site.api.deploy(running)
    assert site.poll(others)


def test_a_removed_pool_wakes_who_may_run_now(site):
    id, _ = site.pool("builders")
    _, others = site.pool("others")
    made = site.api.deploy(site.stack("acme/p/dev", agentPoolID=id))
    answers = []
    poll = threading.Thread(target=lambda: answers.append(site.poll(others, Prefer="wait=30")))
    poll.start()
    wait_until(lambda: any(p["status"] == "online" for p in site.api.get(POOLS)["agentPools"]), 10, "the poll")
    site.api.ok("DELETE", f"{POOLS}/{id}?force=true")
    poll.join(20)
    assert answers and answers[0] and answers[0]["deploymentID"] == made["id"]


def test_the_default_pool_of_an_organization(site):
    first, agents = site.pool("first")
    second, others = site.pool("second")
    assert "defaultAgentPoolID" not in site.api.get(POOLS)
    site.api.ok("PATCH", f"{POOLS}/{first}", {"isDefault": True})
    assert site.api.get(POOLS)["defaultAgentPoolID"] == first
    assert site.listed(first)["isDefault"] and not site.listed(second)["isDefault"] and site.api.get(f"{POOLS}/{first}")["isDefault"]
    made = site.api.deploy(site.stack("acme/p/dev"))
    assert site.poll(others) is None
    assert site.api.deployment("acme/p/dev", made["id"])["agentPool"] == {"id": first, "name": "first"}
    # What waits follows the default.
    site.api.ok("PATCH", f"{POOLS}/{second}", {"isDefault": True})
    assert site.api.get(POOLS)["defaultAgentPoolID"] == second and site.poll(agents) is None
    site.api.ok("PATCH", f"{POOLS}/{first}", {"isDefault": False})
    assert site.api.get(POOLS)["defaultAgentPoolID"] == second, "it was not the default"
    # Without a default any pool of the organization will do.
    site.api.ok("PATCH", f"{POOLS}/{second}", {"isDefault": False})
    assert "defaultAgentPoolID" not in site.api.get(POOLS)
    assert site.poll(agents)["deploymentID"] == made["id"]
    # A default pool that is removed is none any more.
    site.api.ok("PATCH", f"{POOLS}/{second}", {"isDefault": True})
    site.api.ok("DELETE", f"{POOLS}/{second}")
    assert "defaultAgentPoolID" not in site.api.get(POOLS)


def test_no_pool_is_the_default_pool(site):
    """agentPoolID null overrides the saved one; absent it is inherited."""
    saved, _ = site.pool("saved")
    default, _ = site.pool("default")
    stack = site.stack("acme/p/dev", agentPoolID=saved)
    site.api.ok("PATCH", f"{POOLS}/{default}", {"isDefault": True})

    def pool(**body):
        return site.api.deployment(stack, site.api.deploy(stack, **body)["id"])["agentPool"]["name"]

    assert pool() == "saved" and pool(agentPoolID=None) == "default" and pool(agentPoolID=saved) == "saved"
    site.api.settings(stack, {"agentPoolID": None})
    assert pool() == "default"
    site.api.refused(400, "POST", path_of(stack) + "/deployments", {"operation": "update", "agentPoolID": "no-such-pool"}, names="agent pool")
    site.api.refused(400, "POST", path_of(stack) + "/deployments", {"operation": "update", "agentPoolID": 7}, names="agentPoolID")


@pytest.mark.parametrize("prefer", [None, "wait=0", "wait=-5", "wait=soon", "respond-async", "wait", "wait=", "wait=99999999999999999999"])
def test_a_poll_that_does_not_wait(site, prefer):
    _, agents = site.pool("builders")
    began = time.monotonic()
    answer = agents.call("GET", POLL, headers={"Prefer": prefer} if prefer else {})
    assert answer.status_code == 204 and answer.content == b"" and int(answer.headers["Retry-After"]) == 5
    assert time.monotonic() - began < 5


def test_a_poll_that_waits(site):
    _, agents = site.pool("builders")
    began = time.monotonic()
    answer = agents.call("GET", POLL, headers={"Prefer": "respond-async, wait=1"})
    assert answer.status_code == 204 and int(answer.headers["Retry-After"]) == 0
    assert 0.9 < time.monotonic() - began < 10


def test_a_poll_waits_no_longer_than_the_server_lives(site):
    """However long a client wants to wait: a stop answers it, and tells it to come later."""
    _, agents = site.pool("builders")
    answers = []
    poll = threading.Thread(target=lambda: answers.append(agents.call("GET", POLL, headers={"Prefer": "wait=3600"})))
    poll.start()
    wait_until(lambda: site.api.get(POOLS)["agentPools"][0]["status"] == "online", 10, "the poll")
    site.server.stop()
    poll.join(10)
    assert answers and answers[0].status_code == 204 and int(answers[0].headers["Retry-After"]) == 5


def test_a_pool_token_is_good_for_its_pool_alone(site):
    id, agents = site.pool("builders")
    other, others = site.pool("others")
    stack = site.stack("acme/p/dev", agentPoolID=id)
    made = site.api.deploy(stack)
    path = path_of(stack)
    for method, where, body in (("GET", "/api/user", ...), ("GET", path, ...), ("GET", path + "/export", ...), ("GET", path + "/deployments", ...),
                                ("POST", path + "/deployments", {"operation": "update"}), ("GET", path + "/deployments/settings", ...), ("GET", POOLS, ...),
                                ("GET", f"{POOLS}/{id}", ...), ("POST", POOLS, {"name": "more"}), ("DELETE", f"{POOLS}/{id}?force=true", ...),
                                ("POST", f"{path}/deployments/{made['id']}/cancel", ...), ("GET", f"/api/runner/{made['id']}/order", ...)):
        assert agents.call(method, where, body).status_code == 401, (method, where)
    assert site.poll(others) is None, "nor for what another pool runs"
    others.refused(404, "GET", f"/api/deployments/{made['id']}/status")
    assert site.poll(agents)["deploymentID"] == made["id"]
    others.refused(404, "GET", f"/api/deployments/{made['id']}/status")


def test_the_status_of_a_deployment_is_a_json_string(site):
    id, agents = site.pool("builders")
    stack = site.stack("acme/p/dev", agentPoolID=id)
    made = site.api.deploy(stack)

    def status(client):
        answer = client.call("GET", f"/api/deployments/{made['id']}/status")
        assert answer.status_code == 200 and answer.headers["Content-Type"].startswith("application/json")
        return answer.text

    assert status(agents) == '"not-started"'
    claim = site.poll(agents)
    runner = site.server.api(claim["jobToken"])
    assert status(agents) == status(runner) == '"accepted"'
    runner.post(f"/api/runner/{made['id']}/steps", {"attempt": claim["attempt"], "step": 0, "name": "Setup", "status": "running"})
    assert status(agents) == '"running"'
    runner.post(f"/api/runner/{made['id']}/finish", {"attempt": claim["attempt"], "status": "failed", "message": ""})
    assert status(agents) == '"failed"'
    agents.refused(404, "GET", "/api/deployments/0199d2a0-0000-7000-8000-000000000000/status")


def test_the_executor_is_given_to_pools_and_jobs(site):
    id, agents = site.pool("builders")
    site.api.deploy(site.stack("acme/p/dev", agentPoolID=id))
    runner = site.server.api(site.poll(agents)["jobToken"])
    bodies = []
    for client in (agents, runner):
        answer = client.call("GET", "/api/deployments/executor", headers={"Accept-Encoding": "identity"})
        assert answer.status_code == 200 and answer.headers["Content-Type"] == "application/octet-stream"
        bodies.append(gzip.decompress(answer.content))
    assert bodies[0] == bodies[1] and bodies[0][:4] == b"\x7fELF"
    site.api.refused(401, "GET", "/api/deployments/executor")
    site.server.api("").refused(401, "GET", "/api/deployments/executor")
