"""Start, stop, kill: what was acknowledged is there afterwards."""
import signal
import threading
import time

import pytest
import requests
from helpers import process, programs
from helpers.api import path_of
from helpers.waiting import wait_until


def plain(url, path):
    with requests.Session() as s:
        s.trust_env = False
        return s.get(url + path, timeout=10)


def test_health(dev):
    assert plain(dev.url, "/healthz").status_code == 200
    assert plain(dev.url, "/readyz").status_code == 200


def test_the_line_says_the_real_port(own):
    server = own(command="serve")
    assert server.port > 0 and plain(server.url, "/readyz").status_code == 200
    assert [line for line in server.lines if line and line.startswith("listening on ")] == [f"listening on {server.url}"]


def test_sigterm_stops_an_idle_server(own):
    for command in ("dev", "serve"):
        server = own(command=command)
        began = time.monotonic()
        server.stop(expect=0)
        assert time.monotonic() - began < 10


def test_sigint_stops_too(own):
    server = own()
    server.process.send_signal(signal.SIGINT)
    assert server.process.wait(20) == 0


def test_sigterm_with_a_poll_parked(own, agent):
    server = own(command="serve")
    server.admin("org", "add", "acme")
    token = server.admin("pool", "create", "--org", "acme", "p").stdout.strip()
    answers = []
    poll = threading.Thread(target=lambda: answers.append(server.api(token).call("GET", "/api/deployments/poll", headers={"Prefer": "wait=50"})))
    poll.start()
    time.sleep(1)
    server.stop(expect=0)
    poll.join(20)
    assert answers and answers[0].status_code == 204, "a parked poll is answered, not cut"


def test_sigterm_finishes_running_requests(own, stack):
    server = own(command="serve")
    server.admin("org", "add", "acme")
    api = server.user("operator", role="admin")
    path = api.create_stack(stack)
    body = b'{"version":3,"deployment":{"manifest":{"time":"2026-01-01T00:00:00Z","magic":"","version":""},"resources":[' \
           + b",".join(b'{"urn":"urn:pulumi:dev::p::t:i:T::n%d","custom":true,"type":"t:i:T","inputs":{"x":"%s"}}' % (i, b"y" * 8000) for i in range(2000)) + b"]}}"
    answers = []
    request = threading.Thread(target=lambda: answers.append(api.call("POST", f"{path}/import", data=body)))
    request.start()
    time.sleep(0.2)
    server.stop(expect=0)
    request.join(60)
    again = own(command="serve", folder=server.folder)
    resources = api_of(again, api).get(f"{path}/export")["deployment"].get("resources") or []
    if answers and answers[0].status_code == 200:
        assert len(resources) == 2000
    else:
        assert not resources


def api_of(server, api):
    return server.api(api.token)


def test_dev_starts_again_with_what_it_had(own, stack):
    server = own()
    token = server.token
    server.api().create_stack(stack)
    server.stop()
    again = own(folder=server.folder)
    assert again.token == token
    assert again.api().get(path_of(stack))["stackName"] == "dev"
    assert token not in "\n".join(line for line in again.lines if line), "the token is printed once"


def queue_two(api, stack, repo, project):
    """One deployment that is at its command and would stay there, one behind it."""
    repo.commit(programs.stash(project))
    api.create_stack(stack)
    api.settings(stack, {"sourceContext": {"git": {"repoUrl": repo.url, "branch": "main"}}})
    first = api.deploy(stack, "update", operationContext={"preRunCommands": ["echo here-we-are; sleep 300"]})
    second = api.deploy(stack, "update")
    wait_until(lambda: "here-we-are\n" in api.log(stack, first["id"]), 60, "the command")
    return first["id"], second["id"]


def test_sigterm_with_a_deployment_that_runs(own, stack, repo, project):
    """It gets its grace, nothing new is claimed, exit 0; the next start goes on with the queue."""
    server = own("--grace", "1s")
    first, second = queue_two(server.api(), stack, repo, project)
    server.stop(timeout=60, expect=0)
    assert process.left_in(server.data) == []
    api = own(folder=server.folder).api()
    assert api.wait_status(stack, second)["status"] == "succeeded"
    assert api.deployment(stack, first)["status"] == "failed"
    log = api.log(stack, first)
    assert "here-we-are\n" in log, log


@pytest.mark.parametrize("descendants", [True, False], ids=["everything", "the server"])
def test_kill_in_the_middle_of_a_deployment_of(own, stack, repo, project, descendants):
    """`dev` starts again with a runner in the same folder, which knows that its former runs are dead: the deployment
    has failed at once, and the queue goes on."""
    server = own()
    first, second = queue_two(server.api(), stack, repo, project)
    server.kill(descendants=descendants)
    wait_until(lambda: not process.left_in(server.data), 60, "the runner, which has lost its server, to end")
    server.check()
    api = own(folder=server.folder).api()
    assert "here-we-are\n" in api.log(stack, first), "what was acknowledged is there"
    assert api.wait_status(stack, second)["status"] == "succeeded"
    assert api.deployment(stack, first)["status"] == "failed"
    assert api.outputs(stack)["plain"] == "one"


def test_kill_of_a_server_loses_nothing_acknowledged(own, project):
    """Several clients write, the server dies in the middle, all that was answered is there."""
    server = own(command="serve")
    server.admin("org", "add", "acme")
    api = server.user("operator", role="admin")
    acknowledged, stop = [], threading.Event()

    def write(worker):
        n = 0
        while not stop.is_set():
            name = f"w{worker}-{n}"
            try:
                if api.call("POST", f"/api/stacks/acme/{project}", {"stackName": name, "tags": {"n": str(n)}}, timeout=10).status_code < 300:
                    acknowledged.append((name, n))
            except requests.RequestException:
                return
            n += 1

    threads = [threading.Thread(target=write, args=(w,)) for w in range(4)]
    for t in threads:
        t.start()
    wait_until(lambda: len(acknowledged) > 150, 60, "some writes")
    server.kill()
    stop.set()
    for t in threads:
        t.join(20)
    again = own(command="serve", folder=server.folder)
    back = again.api(api.token)
    for name, n in acknowledged:
        assert back.get(f"/api/stacks/acme/{project}/{name}")["tags"] == {"n": str(n)}


def test_kill_of_a_server_in_the_middle_of_a_deployment(own, agent, stack, repo, project, clock):
    """The server comes back on the same address; the runner goes on, or the deployment ends failed: never twice, never lost."""
    server = own(command="serve", clock=clock)
    server.admin("org", "add", "acme")
    api = server.user("operator", role="admin")
    token = server.admin("pool", "create", "--org", "acme", "p").stdout.strip()
    repo.commit(programs.stash(project))
    api.create_stack(stack)
    pool = api.get("/api/orgs/acme/agent-pools")["agentPools"][0]["id"]
    agent(server, token)
    source = {"git": {"repoUrl": repo.url, "branch": "main"}}
    made = api.deploy(stack, "update", agentPoolID=pool, sourceContext=source,
                      operationContext={"preRunCommands": ["echo before-the-fall; sleep 5; echo after-the-fall"]})
    wait_until(lambda: "before-the-fall\n" in api.log(stack, made["id"]), 60, "the command")
    settled = api.get(path_of(stack))
    server.kill(descendants=False)
    again = own(command="serve", folder=server.folder, listen=f"127.0.0.1:{server.port}", clock=clock)
    assert again.url == server.url
    assert api.get(path_of(stack))["stackName"] == settled["stackName"]
    assert "before-the-fall" in api.log(stack, made["id"])
    done = api.wait_status(stack, made["id"], timeout=90)
    log = api.log(stack, made["id"])
    assert done["status"] == "succeeded", log
    assert log.count("after-the-fall\n") == 1 or "\nafter-the-fall\n" in log
    lines = [line["line"] for line in api.log_lines(stack, made["id"]) if line.get("line") in ("before-the-fall\n", "after-the-fall\n")]
    assert lines == ["before-the-fall\n", "after-the-fall\n"], "no line twice, none missing"
