"""What a program can do with the token of its run: nothing but what its deployment needs, and nothing at all once that has ended."""
import re
from dataclasses import dataclass, field

import pytest
from helpers import process
from helpers.api import path_of
from helpers.git import Repository
from helpers.hostile import python
from helpers.runner import Site

STACK, OTHER = "acme/tokens/own", "acme/tokens/of-others"
OWN, FOREIGN, RUNNER = path_of(STACK), path_of(OTHER), "/api/runner/{id}"
GIT = {"sourceContext": {"git": {"repoUrl": "https://example.com/x.git", "branch": "main"}}}


@dataclass
class Call:
    """One request of the program. {id} is its deployment."""
    name: str
    method: str
    path: str
    body: dict = field(default_factory=dict)


CALLS = [
    Call("claims a deployment", "GET", "/api/deployments/poll"),
    Call("fetches the executor", "GET", "/api/deployments/executor"),
    Call("reads the work order with its secrets", "GET", RUNNER + "/order?attempt=1"),
    Call("holds its own lease", "POST", RUNNER + "/heartbeat", {"attempt": 1}),
    Call("reports a step", "POST", RUNNER + "/steps", {"attempt": 1, "step": 9, "name": "forged", "status": "running"}),
    Call("writes to the log", "POST", RUNNER + "/log", {"attempt": 1, "step": 0, "offset": 0, "lines": [{"t": 1, "l": "forged\n"}]}),
    Call("reports its own success", "POST", RUNNER + "/finish", {"attempt": 1, "status": "succeeded", "message": ""}),
    Call("mints a token of the user", "POST", "/api/user/tokens", {"description": "mine now"}),
    Call("lists the user's tokens", "GET", "/api/user/tokens"),
    Call("mints a token of the organization", "POST", "/api/orgs/acme/tokens", {"name": "mine", "description": "", "admin": True}),
    Call("makes a pool, and with it a token", "POST", "/api/orgs/acme/agent-pools", {"name": "mine"}),
    Call("changes its deployment settings", "POST", OWN + "/deployments/settings", {"operationContext": {"preRunCommands": ["true"]}}),
    Call("replaces its deployment settings", "PUT", OWN + "/deployments/settings", GIT),
    Call("removes its deployment settings", "DELETE", OWN + "/deployments/settings"),
    Call("makes a schedule", "POST", OWN + "/deployments/schedules", {"scheduleCron": "0 1 * * *", "request": {"operation": "update"}}),
    Call("gives somebody its stack", "PUT", OWN + "/collaborators/stranger", {"permission": 103}),
    Call("changes the organization", "PATCH", "/api/orgs/acme", {"setDefaultStackPermission": 103}),
    Call("adds a member", "POST", "/api/orgs/acme/members/stranger", {"role": "admin"}),
    Call("lists the site's users", "GET", "/api/site/users"),
    Call("takes a backup", "POST", "/api/site/backup"),
    Call("reads a stack that the requester may not", "GET", FOREIGN + "/export"),
    Call("writes to it", "POST", FOREIGN + "/import", {"version": 3, "deployment": {}}),
    Call("starts an update of it", "POST", FOREIGN + "/update", {"name": "tokens", "runtime": "yaml", "config": {}, "metadata": {}}),
    Call("deploys it", "POST", FOREIGN + "/deployments", {"operation": "destroy", **GIT}),
    Call("removes it", "DELETE", FOREIGN),
]
# What shows that the token is one.
ITS_OWN = Call("reads its own stack", "GET", OWN)

PROGRAM = python("""
    import json, os, urllib.error, urllib.request
    for number, (method, path, body) in enumerate(json.load(open("calls.json"))):
        request = urllib.request.Request(os.environ["PULUMI_BACKEND_URL"] + path.replace("{{id}}", os.environ["PULUMI_CI_BUILD_ID"]), method=method,
            data=None if method == "GET" else json.dumps(body).encode(),
            headers={{"Authorization": "token " + os.environ["PULUMI_ACCESS_TOKEN"], "Content-Type": "application/json", "Accept": "application/vnd.pulumi+9"}})
        try: status = urllib.request.urlopen(request, timeout=20).status
        except urllib.error.HTTPError as e: status = e.code
        print(f"call {{number}}: {{status}}")
    print("token", os.environ["PULUMI_ACCESS_TOKEN"][::-1])
    """).replace("{{", "{").replace("}}", "}")


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """One run of a program that tries them all: its answers, and (server, deployment, token) for what it tries afterwards."""
    import json
    folder, servers = tmp_path_factory.mktemp("tokens"), []

    def own(*options, command):
        servers.append(process.Server(folder / "server", *options, command=command))
        return servers[-1]

    site = Site(own)
    agent = process.Agent(folder / "agent", site.server, site.pool["tokenValue"], isolation="process")
    site.server.admin("org", "add", "elsewhere")
    site.server.user("stranger", org="elsewhere")
    site.api.ok("PATCH", "/api/orgs/acme", {"setDefaultStackPermission": 0})
    repository = Repository(folder)
    repository.commit({"calls.json": json.dumps([[c.method, c.path, c.body] for c in [*CALLS, ITS_OWN]])})
    source = {"sourceContext": {"git": {"repoUrl": repository.url, "branch": "main"}}}
    site.stack(STACK, **source)
    site.stack(OTHER)
    asker = site.server.user("asker")
    site.api.ok("PUT", f"{OWN}/collaborators/asker", {"permission": 102})
    made = asker.deploy(STACK, "preview", operationContext={"preRunCommands": [PROGRAM, "exit 1"]})
    site.api.wait_status(STACK, made["id"], "failed")
    log = site.api.log(STACK, made["id"])
    answers = {int(n): int(status) for n, status in re.findall(r"call (\d+): (\d+)", log)}
    assert len(answers) == len(CALLS) + 1, log
    yield answers, site.server.api(re.search(r"^token (\S+)", log, re.M).group(1)[::-1]), made["id"], log
    agent.stop(expect=None)
    for server in servers:
        server.stop(expect=None)


def test_the_token_is_good_for_its_own_stack(ran):
    assert ran[0][len(CALLS)] == 200


@pytest.mark.parametrize("number", range(len(CALLS)), ids=[c.name for c in CALLS])
def test_while_it_runs(ran, number):
    answers, _, _, log = ran
    assert answers[number] in (401, 403, 404), CALLS[number]
    assert "forged" not in "".join(log.split("== ")[1:2])


@pytest.mark.parametrize("call", [*CALLS, ITS_OWN], ids=[c.name for c in [*CALLS, ITS_OWN]])
def test_after_its_end(ran, call):
    _, token, id, _ = ran
    token.refused(401, call.method, call.path.replace("{id}", id), *([] if call.method == "GET" else [call.body]))
