"""Runners and pools: claim, fencing, a runner that dies, clocks that run out."""
import gzip

import pytest
from helpers import programs
from helpers.api import path_of
from helpers.waiting import wait_until


class Site:
    """A server without a runner of its own, one user, one pool."""

    def __init__(self, own, clock, *options):
        self.server = own(*options, command="serve", clock=clock)
        self.server.admin("org", "add", "acme")
        self.api = self.server.user("operator", role="admin")
        self.pool = self.api.post("/api/orgs/acme/agent-pools", {"name": "builders", "description": "for tests"})

    def stack(self, name, repo, **settings):
        self.api.create_stack(name)
        self.api.settings(name, {"agentPoolID": self.pool["id"], "sourceContext": {"git": {"repoUrl": repo.url, "branch": "main"}}, **settings})

    def poll(self, wait=0):
        return self.server.api(self.pool["tokenValue"]).call("GET", "/api/deployments/poll", headers={"Prefer": f"wait={wait}"} if wait else {})


@pytest.fixture
def site(own, clock):
    return Site(own, clock)


def test_pools(api, project):
    name = f"pool-{project}"
    made = api.post("/api/orgs/acme/agent-pools", {"name": name, "description": "d"})
    assert made["id"] and made["tokenValue"].startswith("pul-")
    listed = next(p for p in api.get("/api/orgs/acme/agent-pools")["agentPools"] if p["id"] == made["id"])
    assert listed["name"] == name and "tokenValue" not in listed
    api.ok("DELETE", f"/api/orgs/acme/agent-pools/{made['id']}")
    assert name not in str(api.get("/api/orgs/acme/agent-pools"))


def test_a_pool_that_is_used_is_kept(api, project, stack, repo):
    made = api.post("/api/orgs/acme/agent-pools", {"name": f"pool-{project}"})
    api.create_stack(stack)
    api.settings(stack, {"agentPoolID": made["id"]})
    api.refused(400, "DELETE", f"/api/orgs/acme/agent-pools/{made['id']}")
    api.ok("DELETE", f"/api/orgs/acme/agent-pools/{made['id']}?force=true")


def test_the_token_of_a_deleted_pool_is_dead(dev, api, project):
    made = api.post("/api/orgs/acme/agent-pools", {"name": f"pool-{project}"})
    api.ok("DELETE", f"/api/orgs/acme/agent-pools/{made['id']}")
    assert dev.api(made["tokenValue"]).call("GET", "/api/deployments/poll").status_code in (401, 403)


def test_nothing_to_do(site):
    answer = site.poll()
    assert answer.status_code == 204 and int(answer.headers["Retry-After"]) >= 0


def test_executor_download(site):
    answer = site.server.api(site.pool["tokenValue"]).call("GET", "/api/deployments/executor", headers={"Accept-Encoding": "identity"})
    assert answer.status_code == 200
    body = answer.content
    assert (gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body)[:4] == b"\x7fELF"


def test_claim_is_exclusive(site, stack, repo, project):
    repo.commit(programs.stash(project))
    site.stack(stack, repo)
    made = site.api.deploy(stack, "preview")
    claim = site.poll()
    assert claim.status_code == 200
    body = claim.json()
    assert body["deploymentID"] == body["typeSpecificID"] == made["id"] and body["jobToken"] and body["jobID"] and body["runID"]
    assert site.poll().status_code == 204
    assert site.api.deployment(stack, made["id"])["status"] == "accepted"


def test_the_header_comes_with_a_started_update(site, stack, repo, project):
    """Between its creation and its start an update has no version: a CLI that asked then would not find what it follows."""
    repo.commit(programs.stash(project))
    site.stack(stack, repo)
    made = site.api.deploy(stack, "update")
    claim = site.poll().json()
    runner = site.server.api(claim["jobToken"])
    order = runner.get(f"/api/runner/{made['id']}/order?attempt={claim['attempt']}")
    runner.post(f"/api/runner/{made['id']}/steps", {"attempt": claim["attempt"], "step": 0, "name": "pulumi update", "status": "running"})

    def headers():
        return [line["header"] for line in site.api.log_lines(stack, made["id"]) if line.get("header")]

    run = site.server.api(order["runToken"])
    assert headers() == []
    update = run.post(path_of(stack) + "/update", {"name": project, "runtime": "yaml", "main": "", "description": "", "options": {}, "config": {}, "metadata": {}})
    assert headers() == []
    run.post(f"{path_of(stack)}/update/{update['updateID']}", {"tags": {}})
    assert headers() == ["pulumi update"]
    assert [u["version"] for u in site.api.get(f"{path_of(stack)}/deployments/{made['id']}/updates")] == [1]


def test_a_waiting_poll_is_woken(site, stack, repo, project):
    import threading
    import time
    repo.commit(programs.stash(project))
    site.stack(stack, repo)
    answers = []
    poll = threading.Thread(target=lambda: answers.append((site.poll(wait=30), time.monotonic())))
    poll.start()
    time.sleep(1)
    began = time.monotonic()
    site.api.deploy(stack, "preview")
    poll.join(40)
    answer, ended = answers[0]
    assert answer.status_code == 200 and ended - began < 5


def test_a_claim_without_a_work_order_is_taken_back(site, clock, stack, repo, project):
    repo.commit(programs.stash(project))
    site.stack(stack, repo)
    made = site.api.deploy(stack, "preview")
    first = site.poll().json()
    clock.advance(20)
    wait_until(lambda: site.api.deployment(stack, made["id"])["status"] == "not-started", 10, "the claim to be taken back")
    second = site.poll().json()
    assert second["deploymentID"] == made["id"] and second["attempt"] == first["attempt"] + 1
    runner = site.server.api(first["jobToken"])
    answer = runner.call("GET", f"/api/runner/{made['id']}/order?attempt={first['attempt']}")
    assert answer.status_code in (401, 409), "the first attempt is fenced off"


def test_the_work_order(site, stack, repo, project):
    repo.commit(programs.stash(project))
    site.stack(stack, repo, operationContext={"environmentVariables": {"A": "1", "S": {"secret": "hidden"}}, "preRunCommands": ["true"]})
    made = site.api.deploy(stack, "preview")
    claim = site.poll().json()
    runner = site.server.api(claim["jobToken"])
    order = runner.get(f"/api/runner/{made['id']}/order?attempt={claim['attempt']}")
    assert order["source"]["git"]["repoUrl"] == repo.url and order["preRunCommands"] == ["true"]
    assert {e["name"]: (e["value"], e["secret"]) for e in order["environment"]} == {"A": ("1", False), "S": ("hidden", True)}
    assert order["runToken"] != claim["jobToken"]
    runner.refused(401, "GET", "/api/user") if runner.call("GET", "/api/user").status_code == 401 else runner.refused(403, "GET", "/api/user")
    run = site.server.api(order["runToken"])
    assert run.call("GET", f"/api/runner/{made['id']}/order?attempt={claim['attempt']}").status_code in (401, 403)


def test_writes_of_a_runner_may_be_repeated(site, stack, repo, project):
    repo.commit(programs.stash(project))
    site.stack(stack, repo)
    made = site.api.deploy(stack, "preview")
    claim = site.poll().json()
    runner, base, attempt = site.server.api(claim["jobToken"]), f"/api/runner/{made['id']}", claim["attempt"]
    runner.get(f"{base}/order?attempt={attempt}")
    for _ in range(2):
        runner.post(f"{base}/steps", {"attempt": attempt, "step": 0, "name": "Setup", "status": "running"})
    assert site.api.deployment(stack, made["id"])["status"] == "running"
    lines = [{"t": 1790000000000000 + i, "l": f"line {i}\n"} for i in range(10)]
    for _ in range(2):
        assert runner.post(f"{base}/log", {"attempt": attempt, "step": 0, "offset": 0, "lines": lines})["next"] == 10
    assert runner.post(f"{base}/log", {"attempt": attempt, "step": 0, "offset": 5, "lines": lines[5:] + [{"t": 1790000000000099, "l": "more\n"}]})["next"] == 11
    assert "expected offset 11" in runner.refused(409, "POST", f"{base}/log", {"attempt": attempt, "step": 0, "offset": 20, "lines": lines})
    assert [l["line"] for l in site.api.log_lines(stack, made["id"]) if not l.get("header")] == [f"line {i}\n" for i in range(10)] + ["more\n"]
    runner.refused(409, "POST", f"{base}/heartbeat", {"attempt": attempt + 1})
    assert runner.post(f"{base}/heartbeat", {"attempt": attempt})["cancel"] is False
    runner.post(f"{base}/steps", {"attempt": attempt, "step": 0, "name": "Setup", "status": "succeeded"})
    runner.refused(409, "POST", f"{base}/steps", {"attempt": attempt, "step": 0, "name": "Setup", "status": "running"})
    for _ in range(2):
        runner.post(f"{base}/finish", {"attempt": attempt, "status": "succeeded", "message": ""})
    assert site.api.deployment(stack, made["id"])["status"] == "succeeded"


def test_a_silent_runner_fails_its_deployment(site, clock, stack, repo, project):
    repo.commit(programs.stash(project))
    site.stack(stack, repo)
    made = site.api.deploy(stack, "update")
    later = site.api.deploy(stack, "preview")
    claim = site.poll().json()
    runner, base, attempt = site.server.api(claim["jobToken"]), f"/api/runner/{made['id']}", claim["attempt"]
    runner.get(f"{base}/order?attempt={attempt}")
    runner.post(f"{base}/steps", {"attempt": attempt, "step": 0, "name": "Setup", "status": "running"})
    clock.advance(9 * 60)
    runner.post(f"{base}/heartbeat", {"attempt": attempt})
    clock.advance(9 * 60)
    assert site.api.deployment(stack, made["id"])["status"] == "running"
    clock.advance(2 * 60)
    assert site.api.wait_status(stack, made["id"], "failed", timeout=10)
    assert runner.call("POST", f"{base}/heartbeat", {"attempt": attempt}).status_code in (401, 409)
    assert site.poll().json()["deploymentID"] == later["id"], "never run twice; the next one is free"


def test_a_runner_that_is_killed(site, agent, clock, stack, repo, project, tmp_path):
    """In the middle of an update: the deployment ends failed after the runner timeout, its update is closed, the stack is free."""
    from helpers import where
    started = tmp_path / "started"
    repo.commit(programs.slow(project, 300, started))
    site.stack(stack, repo, operationContext={"preRunCommands": [f"ln -s {where.node_sdk()}/node_modules node_modules"],
                                              "options": {"skipInstallDependencies": True}})
    runner = agent(site.server, site.pool["tokenValue"], clock=clock)
    made = site.api.deploy(stack, "update")
    wait_until(started.exists, 90, "the slow resource", interval=0.2)
    runner.kill()
    assert site.api.deployment(stack, made["id"])["status"] == "running"
    clock.advance(11 * 60)
    done = site.api.wait_status(stack, made["id"], "failed", timeout=20)
    update, = site.api.get(f"{path_of(stack)}/deployments/{done['id']}/updates")
    assert update["result"] == "failed"
    state = site.api.get(f"{path_of(stack)}/export")["deployment"]
    names = [r["urn"].split("::")[-1] for r in state["resources"]]
    assert "quick" in names and "slow" not in names
    assert [p["resource"]["urn"].split("::")[-1] for p in state["pending_operations"]] == ["slow"]
    # The stack can be used again, with another runner.
    agent(site.server, site.pool["tokenValue"], name="second", clock=clock)
    repo.commit(programs.node(project, 'new Thing("quick", { value: "quick" });'))
    site.api.run(stack, "update")


def test_two_runners_never_run_one_stack_at_once(site, agent, stack, repo, project, tmp_path):
    """Four places on two runners, eight deployments of one stack: each finds the place of the one before it empty."""
    repo.commit(programs.stash(project))
    place = tmp_path / "place"
    site.stack(stack, repo, operationContext={"preRunCommands": [f"mkdir {place} && sleep 0.3 && rmdir {place}"]})
    for name in ("first", "second"):
        agent(site.server, site.pool["tokenValue"], "--concurrency", "2", name=name)
    made = [site.api.deploy(stack, "preview") for _ in range(8)]
    done = [site.api.wait_status(stack, m["id"], "succeeded", timeout=120) for m in made]
    begins = [d["jobs"][0]["started"] for d in done]
    assert begins == sorted(begins) and len(set(begins)) == 8


def test_a_runner_runs_no_more_than_it_may(site, agent, repo, project, tmp_path):
    """--concurrency 1: two stacks, one after the other."""
    repo.commit(programs.stash(project))
    place = tmp_path / "place"
    made = []
    for name in ("one", "two", "three"):
        stack = f"acme/{project}/{name}"
        site.stack(stack, repo, operationContext={"preRunCommands": [f"mkdir {place} && sleep 0.5 && rmdir {place}"]})
        made.append((stack, site.api.deploy(stack, "preview")["id"]))
    agent(site.server, site.pool["tokenValue"], "--concurrency", "1")
    for stack, id in made:
        site.api.wait_status(stack, id, "succeeded")


def test_a_pool_gets_only_what_is_meant_for_it(site, stack, repo, project):
    repo.commit(programs.stash(project))
    site.stack(stack, repo)
    other = site.api.post("/api/orgs/acme/agent-pools", {"name": "others"})
    made = site.api.deploy(stack, "preview")
    assert site.server.api(other["tokenValue"]).call("GET", "/api/deployments/poll").status_code == 204
    assert site.poll().json()["deploymentID"] == made["id"]


def test_log_retention(own, clock, stack, repo, project):
    site = Site(own, clock, "--log-retention", "2160h")
    repo.commit(programs.stash(project))
    site.stack(stack, repo)
    made = site.api.deploy(stack, "preview")
    claim = site.poll().json()
    runner, base, attempt = site.server.api(claim["jobToken"]), f"/api/runner/{made['id']}", claim["attempt"]
    runner.get(f"{base}/order?attempt={attempt}")
    runner.post(f"{base}/steps", {"attempt": attempt, "step": 0, "name": "Setup", "status": "running"})
    runner.post(f"{base}/log", {"attempt": attempt, "step": 0, "offset": 0, "lines": [{"t": 1790000000000000, "l": "of-long-ago\n"}]})
    runner.post(f"{base}/steps", {"attempt": attempt, "step": 0, "name": "Setup", "status": "succeeded"})
    runner.post(f"{base}/finish", {"attempt": attempt, "status": "succeeded", "message": ""})
    clock.advance(89 * 86400)
    assert "of-long-ago\n" in site.api.log(stack, made["id"])
    clock.advance(2 * 86400)
    wait_until(lambda: "of-long-ago" not in site.api.log(stack, made["id"]), 10, "the log to be forgotten")
    assert site.api.deployment(stack, made["id"])["status"] == "succeeded", "the deployment itself stays"


def test_queue_expiry(own, clock, stack, repo, project):
    site = Site(own, clock, "--queue-expiry", "168h")
    repo.commit(programs.stash(project))
    site.stack(stack, repo)
    made = site.api.deploy(stack, "preview")
    clock.advance(167 * 3600)
    assert site.api.deployment(stack, made["id"])["status"] == "not-started"
    clock.advance(2 * 3600)
    assert site.api.wait_status(stack, made["id"], "skipped", timeout=10)


def test_deployment_timeout(own, clock, agent, stack, repo, project):
    site = Site(own, clock, "--deployment-timeout", "8m")
    repo.commit(programs.stash(project))
    site.stack(stack, repo, operationContext={"preRunCommands": ["echo waiting-now; sleep 300"]})
    agent(site.server, site.pool["tokenValue"], clock=clock)
    made = site.api.deploy(stack, "preview")
    wait_until(lambda: "waiting-now\n" in site.api.log(stack, made["id"]), 60, "the command")
    clock.advance(8 * 60 + 5)  # less than a silent runner has
    assert site.api.wait_status(stack, made["id"], "failed", timeout=60)["message"] == "the time limit of 8 min is over"


def test_an_agent_stops_on_sigterm(site, agent):
    runner = agent(site.server, site.pool["tokenValue"])
    runner.wait_stderr("polls")
    runner.stop(expect=0)


def test_an_agent_with_a_bad_token(site, agent):
    runner = agent(site.server, "pul-nonsense")
    runner.process.wait(30)
    assert runner.process.returncode not in (0, None)
    assert "401" in runner.stderr() or "token" in runner.stderr()
    runner._end()


def test_an_agent_without_the_option_refuses_local_sources(site, agent, stack, repo, project):
    repo.commit(programs.stash(project))
    site.stack(stack, repo)
    agent(site.server, site.pool["tokenValue"], insecure=False)
    done, log = site.api.run(stack, "preview", expect="failed")
    assert next(s for s in done["jobs"][0]["steps"] if s["name"] == "Get source")["status"] == "failed"
    assert "--allow-insecure-sources" in log


def test_an_agent_without_the_option_refuses_plain_http(site, agent, stack, repo, project, http_git):
    repo.commit(programs.stash(project))
    site.stack(stack, repo)
    agent(site.server, site.pool["tokenValue"], insecure=False)
    done, log = site.api.run(stack, "preview", expect="failed", sourceContext={"git": {"repoUrl": http_git.url(repo), "branch": "main"}})
    assert "--allow-insecure-sources" in log and http_git.requests == []


def test_an_agent_waits_for_its_server(site, agent, stack, repo, project, own):
    """The server goes away and comes back; the runner finds it again."""
    repo.commit(programs.stash(project))
    site.stack(stack, repo)
    runner = agent(site.server, site.pool["tokenValue"])
    site.server.stop()
    again = own(command="serve", folder=site.server.folder, listen=f"127.0.0.1:{site.server.port}", clock=site.server.clock)
    assert again.url == site.server.url and runner.process.poll() is None
    site.api.run(stack, "preview")


def test_two_deployments_at_once_on_two_stacks(dev, api, repo, project):
    """`dev` runs up to two at once."""
    import time
    repo.commit(programs.stash(project))
    made = []
    for name in ("one", "two"):
        api.create_stack(f"acme/{project}/{name}")
        made.append((f"acme/{project}/{name}", api.deploy(f"acme/{project}/{name}", "preview", sourceContext={"git": {"repoUrl": repo.url, "branch": "main"}},
                                                          operationContext={"preRunCommands": ["sleep 4"]})["id"]))
    wait_until(lambda: all(api.deployment(s, i)["status"] == "running" for s, i in made), 60, "both to run")
    time.sleep(0.1)
    for s, i in made:
        assert api.wait_status(s, i)["status"] == "succeeded"
