"""The limits of an organization: who may set them, where they are seen, and that they bind."""
import json

import pytest
from helpers import programs
from helpers.api import path_of
from helpers.waiting import wait_until

GIT = {"git": {"repoUrl": "https://example.invalid/shop.git", "branch": "main"}}


class Site:
    """A server without a runner; the organization's administrator is none of the site."""

    def __init__(self, own, clock, *options):
        self.server = own(*options, command="serve", clock=clock)
        self.server.admin("org", "add", "acme")
        self.root = self.server.user("first", role="admin")
        self.api = self.server.user("operator", role="admin")
        self.member = self.server.user("worker")
        self.pool = self.api.post("/api/orgs/acme/agent-pools", {"name": "builders"})

    def set(self, **limits):
        return self.api.ok("PATCH", "/api/orgs/acme", limits)

    def stack(self, name, **settings):
        self.api.create_stack(name)
        self.api.settings(name, {"sourceContext": GIT, **settings})
        return name

    def poll(self, wait=0):
        return self.server.api(self.pool["tokenValue"]).call("GET", "/api/deployments/poll", headers={"Prefer": f"wait={wait}"} if wait else {})

    def claim(self):
        """The deployment's id with a client of its runner; None: nothing may run."""
        answer = self.poll()
        return None if answer.status_code == 204 else Job(self, answer.json())


class Job:
    def __init__(self, site, claim):
        self.id, self.attempt = claim["deploymentID"], claim["attempt"]
        self.runner = site.server.api(claim["jobToken"])
        self.order = self.runner.get(f"/api/runner/{self.id}/order?attempt={self.attempt}")

    def start(self):
        self.runner.post(f"/api/runner/{self.id}/steps", {"attempt": self.attempt, "step": 0, "name": "Setup", "status": "running"})

    def beat(self):
        return self.runner.post(f"/api/runner/{self.id}/heartbeat", {"attempt": self.attempt})

    def finish(self):
        self.start()
        self.runner.post(f"/api/runner/{self.id}/finish", {"attempt": self.attempt, "status": "succeeded", "message": ""})


@pytest.fixture
def site(own, clock):
    return Site(own, clock)


def test_limits_are_seen_and_set(site):
    before = site.member.get("/api/orgs/acme/metadata")
    assert (before["concurrency"], before["deploymentTimeoutSeconds"]) == (10, 7200)
    said = site.set(setDeploymentConcurrency=3)
    assert said == site.member.get("/api/orgs/acme/metadata") == {**before, "concurrency": 3}
    assert site.member.get("/api/orgs/acme/deployments/metadata")["concurrency"] == 3
    said = site.set(setDeploymentTimeoutSeconds=1800)
    assert (said["concurrency"], said["deploymentTimeoutSeconds"]) == (3, 1800)
    assert site.set(setDeploymentTimeoutSeconds=0)["deploymentTimeoutSeconds"] == 7200, "0: as the server says"
    # One change does not undo another, of the same route too.
    site.set(setMembersCanCreateStacks=False)
    after = site.api.get("/api/orgs/acme/metadata")
    assert (after["concurrency"], after["membersCanCreateStacks"]) == (3, False)


def test_who_may_set_limits(own, clock):
    site = Site(own, clock, "--max-deployments", "20", "--max-deployment-timeout", "4h")
    site.member.refused(403, "PATCH", "/api/orgs/acme", {"setDeploymentConcurrency": 1})
    site.set(setDeploymentConcurrency=20, setDeploymentTimeoutSeconds=4 * 3600)
    assert "more than 20" in site.api.refused(403, "PATCH", "/api/orgs/acme", {"setDeploymentConcurrency": 21}, names="/setDeploymentConcurrency")
    site.api.refused(403, "PATCH", "/api/orgs/acme", {"setDeploymentTimeoutSeconds": 4 * 3600 + 1}, names="/setDeploymentTimeoutSeconds")
    for body in ({"setDeploymentConcurrency": 0}, {"setDeploymentConcurrency": -1}, {"setDeploymentConcurrency": 1.5}, {"setDeploymentConcurrency": "3"},
                 {"setDeploymentConcurrency": 100001}, {"setDeploymentTimeoutSeconds": -1}, {"setDeploymentTimeoutSeconds": 10 ** 12}):
        site.api.refused(400, "PATCH", "/api/orgs/acme", body, names="/" + next(iter(body)))
    seen = site.api.get("/api/orgs/acme/metadata")
    assert (seen["concurrency"], seen["deploymentTimeoutSeconds"]) == (20, 4 * 3600), "a refusal changes nothing"
    # Who looks after the site may give more, as a member of the organization or over the control socket.
    assert site.root.ok("PATCH", "/api/orgs/acme", {"setDeploymentConcurrency": 50})["concurrency"] == 50
    machine = site.api.post("/api/orgs/acme/tokens", {"name": "ci", "description": "", "admin": True})["tokenValue"]
    site.server.api(machine).refused(403, "PATCH", "/api/orgs/acme", {"setDeploymentConcurrency": 21})


def test_admin_org_set(own, clock):
    site = Site(own, clock, "--max-deployments", "20")
    assert site.server.admin("org", "set", "acme", "--limit", "500", "--time-limit", "36h").stdout.strip() == site.api.get("/api/orgs/acme/metadata")["id"]
    seen = site.api.get("/api/orgs/acme/metadata")
    assert (seen["concurrency"], seen["deploymentTimeoutSeconds"]) == (500, 36 * 3600)
    said = json.loads(site.server.admin("org", "set", "acme", "--time-limit", "0s", "--json").stdout)
    assert (said["concurrency"], said["deploymentTimeoutSeconds"]) == (500, 7200)
    for arguments, code in ((["acme"], 2), (["acme", "--limit", "0"], 2), (["acme", "--time-limit", "1500ms"], 2), (["--limit", "3"], 2),
                            (["nowhere", "--limit", "3"], 1)):
        run = site.server.admin("org", "set", *arguments, check=False)
        assert run.returncode == code and run.stderr.strip() and not run.stdout, (arguments, run)


def test_the_limit_binds_and_gives_way(site):
    """Lowered below what runs, nothing further starts; raised, a waiting agent gets the next one at once."""
    import threading
    stacks = [site.stack(f"acme/p/s{i}") for i in range(4)]
    for stack in stacks:
        site.api.deploy(stack)
    site.set(setDeploymentConcurrency=2)
    jobs = [site.claim(), site.claim()]
    assert all(jobs) and site.claim() is None
    site.set(setDeploymentConcurrency=1)
    jobs[0].finish()
    assert site.claim() is None, "one still runs, and one may"
    answers = []
    poll = threading.Thread(target=lambda: answers.append(site.poll(wait=30)))
    poll.start()
    wait_until(lambda: any(a["status"] == "online" for a in site.api.get(f"/api/orgs/acme/agent-pools/{site.pool['id']}")["agents"]), 10, "the poll")
    site.set(setDeploymentConcurrency=2)
    poll.join(20)
    assert answers and answers[0].status_code == 200, "the change wakes who waits"


def test_the_time_limit_of_an_organization(site, clock):
    stack, other = site.stack("acme/p/dev"), site.stack("acme/p/other")
    site.set(setDeploymentTimeoutSeconds=1800)
    first = site.api.deploy(stack)
    job = site.claim()
    assert job.order["timeoutSeconds"] == 1800
    job.start()
    # What runs keeps the limit with which it began.
    site.set(setDeploymentTimeoutSeconds=5400)
    second = site.api.deploy(other)
    longer = site.claim()
    assert longer.order["timeoutSeconds"] == 5400
    longer.start()
    for _ in range(3):
        clock.advance(590)
        assert job.beat()["cancel"] is False and longer.beat()["cancel"] is False
    clock.advance(60)
    wait_until(lambda: job.beat()["cancel"], 10, "the runner to be told")
    assert longer.beat()["cancel"] is False
    clock.advance(61)
    done = site.api.wait_status(stack, first["id"], "failed", timeout=10)
    assert done["message"] == "the time limit of 30 min is over"
    assert site.api.deployment(other, second["id"])["status"] == "running"
    longer.finish()


def test_the_run_token_outlives_a_long_time_limit(site, clock):
    """A run of 30 hours still speaks to its state backend in the 29th."""
    stack = site.stack("acme/p/dev")
    site.root.ok("PATCH", "/api/orgs/acme", {"setDeploymentTimeoutSeconds": 30 * 3600})
    site.api.deploy(stack)
    job = site.claim()
    job.start()
    run = site.server.api(job.order["runToken"])
    for _ in range(29 * 7):
        clock.advance(510)
        job.beat()
    assert run.get(path_of(stack))["stackName"] == "dev"


def test_a_real_agent_and_the_time_limit(site, clock, agent, stack, repo, project):
    repo.commit(programs.stash(project))
    site.api.create_stack(stack)
    site.api.settings(stack, {"sourceContext": {"git": {"repoUrl": repo.url, "branch": "main"}},
                              "operationContext": {"preRunCommands": ["echo waiting-now; sleep 300"]}})
    site.server.admin("org", "set", "acme", "--time-limit", "5m")
    agent(site.server, site.pool["tokenValue"], clock=clock)
    made = site.api.deploy(stack, "preview")
    wait_until(lambda: "waiting-now\n" in site.api.log(stack, made["id"]), 60, "the command")
    clock.advance(5 * 60 + 5)  # less than a silent runner has
    done = site.api.wait_status(stack, made["id"], "failed", timeout=60)
    assert done["message"] == "the time limit of 5 min is over"


def test_a_real_agent_keeps_the_time_limit_itself(site, agent, stack, repo, project):
    """The order's seconds, counted by the agent's own clock: the server's stands still here."""
    repo.commit(programs.stash(project))
    site.api.create_stack(stack)
    site.api.settings(stack, {"sourceContext": {"git": {"repoUrl": repo.url, "branch": "main"}},
                              "operationContext": {"preRunCommands": ["sleep 300"]}})
    site.set(setDeploymentTimeoutSeconds=2)
    agent(site.server, site.pool["tokenValue"])
    done, log = site.api.run(stack, "preview", expect="failed")
    assert "time limit of 2 s" in done["message"] or "2 seconds" in done["message"] + log, (done, log)


def test_counts_and_pauses_in_the_metadata(site):
    stacks = [site.stack(f"acme/p/s{i}") for i in range(3)]
    path = "/api/orgs/acme/deployments"
    empty = site.api.get(path + "/metadata")
    assert empty["pausedStacks"] == [] and empty["paused"] is False and set(empty["deploymentCounts"].values()) == {0}

    def counts(api=site.api):
        return {k: n for k, n in api.get(path + "/metadata")["deploymentCounts"].items() if n}

    made = [site.api.deploy(s) for s in stacks for _ in range(2)]
    assert counts() == {"notStarted": 6, "total": 6}
    job, other = site.claim(), site.claim()
    job.start()
    assert counts() == {"notStarted": 4, "accepted": 1, "running": 1, "total": 6}
    job.finish()
    site.api.post(f"{path_of(stacks[2])}/deployments/{made[5]['id']}/cancel")
    assert counts() == {"notStarted": 3, "accepted": 1, "succeeded": 1, "skipped": 1, "total": 6}
    other.finish()
    # A member who may not see a stack does not see it counted either.
    site.api.ok("PUT", path_of(stacks[0]) + "/collaborators/worker", {"permission": 0})
    site.api.post(path_of(stacks[0]) + "/deployments/pause")
    site.api.post(path_of(stacks[1]) + "/deployments/pause")
    assert site.api.get(path + "/metadata")["pausedStacks"] == ["p/s0", "p/s1"]
    assert site.member.get(path + "/metadata")["pausedStacks"] == ["p/s1"]
    assert counts(site.member)["total"] == 4 and counts()["total"] == 6
    # With a stack its deployments go.
    site.api.ok("DELETE", path_of(stacks[1]))
    assert counts()["total"] == 4 and site.api.get(path)["total"] == 4
    site.server.admin("verify")
