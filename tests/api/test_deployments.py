"""Deployments over REST: the three ways to create one, reading, logs, cancelling."""
import re
import time

import pytest
from helpers import programs
from helpers.api import path_of
from helpers.waiting import wait_until

STAMP = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}$")
RFC3339 = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")


@pytest.fixture
def ready(api, stack, repo, project):
    """A stack whose settings lead to a program."""
    repo.commit(programs.stash(project))
    api.create_stack(stack)
    api.settings(stack, {"sourceContext": {"git": {"repoUrl": repo.url, "branch": "main"}},
                         "operationContext": {"environmentVariables": {"FROM": "settings", "KEPT": "settings"}}})
    return path_of(stack)


def test_everything_inherited(api, stack, ready):
    answer = api.call("POST", f"{ready}/deployments", {"operation": "update"})
    assert answer.status_code == 202
    made = answer.json()
    assert set(made) >= {"id", "version", "consoleUrl"} and made["version"] == 1
    done = api.wait_status(stack, made["id"])
    assert done["status"] == "succeeded", api.log(stack, made["id"])
    assert api.outputs(stack) == {"value": "one", "plain": "one"}


def test_a_part_overridden_for_one_run(api, stack, ready):
    before = api.get(f"{ready}/deployments/settings")
    _, log = api.run(stack, "preview", operationContext={"environmentVariables": {"FROM": "request"},
                                                         "preRunCommands": ['echo "FROM=$FROM KEPT=$KEPT"']})
    assert "FROM=request KEPT=settings" in log
    assert api.get(f"{ready}/deployments/settings") == before, "the saved settings are untouched"


def test_nothing_inherited(api, stack, ready, repo):
    _, log = api.run(stack, "preview", inheritSettings=False, sourceContext={"git": {"repoUrl": repo.url, "branch": "main"}},
                     operationContext={"preRunCommands": ['echo "FROM=$FROM."']})
    assert "FROM=.\n" in log
    done, log = api.run(stack, "preview", expect="failed", inheritSettings=False)
    assert "source" in log.lower()


def test_empty_values_of_the_cli_do_not_wipe(api, stack, ready):
    """`pulumi deployment run` always sends these empty members."""
    _, log = api.run(stack, "preview", inheritSettings=True, agentPoolID=None,
                     executorContext={"workingDirectory": ""}, sourceContext={"git": {"repoUrl": "", "branch": ""}},
                     operationContext={"preRunCommands": [], "operation": "", "environmentVariables": {}})
    assert "Get source" in log


def test_an_overriding_commit_drops_the_inherited_branch(api, stack, ready, repo, project):
    old = repo.git("rev-parse", "HEAD")
    repo.commit(programs.stash(project, value="two"))
    api.run(stack, "update", sourceContext={"git": {"commit": old}})
    assert api.outputs(stack)["plain"] == "one"


def test_versions_count_per_stack(api, stack, ready, project, repo):
    assert [api.deploy(stack, "preview")["version"] for _ in range(3)] == [1, 2, 3]
    api.create_stack(f"acme/{project}/other")
    made = api.deploy(f"acme/{project}/other", "preview", sourceContext={"git": {"repoUrl": repo.url, "branch": "main"}})
    assert made["version"] == 1


def test_shapes(api, stack, ready):
    made = api.deploy(stack, "update", **{})
    done = api.wait_status(stack, made["id"])
    again = api.deployment(stack, made["version"])
    assert again["id"] == made["id"] == done["id"]
    assert STAMP.match(done["created"]) and STAMP.match(done["modified"])
    assert done["version"] == 1 and done["latestVersion"] == 1 and done["pulumiOperation"] == "update"
    assert done["requestedBy"]["githubLogin"] == "admin" and done["requestedBy"]["name"] and "avatarUrl" in done["requestedBy"]
    job, = done["jobs"]
    assert job["status"] == "succeeded" and RFC3339.match(job["started"]) and RFC3339.match(job["lastUpdated"])
    names = [s["name"] for s in job["steps"]]
    assert names[0] == "Setup" and names[1:3] == ["Download deployment executor", "Get source"] and names[-1] == "pulumi update", names
    for step in job["steps"]:
        assert step["status"] == "succeeded" and RFC3339.match(step["started"]) and RFC3339.match(step["lastUpdated"])
    variables = {v["name"]: v for v in done["configuration"]["environmentVariables"]}
    assert variables["FROM"]["value"] == "settings" and not variables["FROM"]["secret"]
    updates = api.get(f"{ready}/deployments/{made['id']}/updates")
    assert len(updates) == 1 and updates[0]["kind"] == "update" and updates[0]["result"] == "succeeded" and updates[0]["version"] == 1
    assert updates[0]["updateID"]
    environment = updates[0]["environment"]
    assert environment["ci.system"] == "Pulumi Deployments" and environment["ci.build.id"] == made["id"], environment


def test_initiator(api, stack, ready):
    answer = api.post(f"{ready}/deployments", {"operation": "preview"}, headers={"X-Pulumi-Deployment-Initiator": "automation-api"})
    assert api.deployment(stack, answer["id"])["initiator"] == "automation-api"


def test_list(api, stack, ready):
    ids = [api.deploy(stack, "preview")["id"] for _ in range(5)]
    page = api.get(f"{ready}/deployments?page=1&pageSize=2")
    assert [d["id"] for d in page["deployments"]] == ids[:2:-1] and page["itemsPerPage"] == 2 and page["total"] == 5
    assert [d["id"] for d in api.get(f"{ready}/deployments?page=3&pageSize=2")["deployments"]] == ids[:1]
    assert [d["id"] for d in api.get(f"{ready}/deployments?asc=true")["deployments"]] == ids
    row = page["deployments"][0]
    assert row["projectName"] and row["stackName"] == "dev" and row["paused"] is False and "updates" in row


def test_one_at_a_time_in_order(api, stack, ready):
    made = [api.deploy(stack, "preview", operationContext={"preRunCommands": ["sleep 1"]}) for _ in range(3)]
    seen = set()

    def active():
        states = [api.deployment(stack, m["id"])["status"] for m in made]
        seen.add(sum(s in ("accepted", "running") for s in states))
        return all(s == "succeeded" for s in states)

    wait_until(active, 120, "three previews one after another")
    assert max(seen) == 1
    starts = [api.deployment(stack, m["id"])["jobs"][0]["started"] for m in made]
    assert starts == sorted(starts)


def test_jobs_are_absent_before_the_start(own, stack, repo):
    server = own(command="serve")
    server.admin("org", "add", "acme")
    api = server.user("someone")
    api.create_stack(stack)
    made = api.deploy(stack, "preview", sourceContext={"git": {"repoUrl": repo.url, "branch": "main"}})
    seen = api.deployment(stack, made["id"])
    assert seen["status"] == "not-started" and "jobs" not in seen
    assert api.get(f"{path_of(stack)}/deployments")["deployments"][0]["jobs"] == []


# ---- logs --------------------------------------------------------------------------------------------------------
def test_log_as_a_stream(api, stack, ready):
    done, log = api.run(stack, "update", operationContext={"preRunCommands": ["printf 'a\\nb\\n'; printf '\\303\\244\\n'"]})
    lines = api.log_lines(stack, done["id"])
    headers = [line["header"] for line in lines if line.get("header")]
    assert headers == [s["name"] for s in done["jobs"][0]["steps"]]
    assert all(line["line"].endswith("\n") for line in lines if "line" in line and not line.get("header"))
    assert all(RFC3339.match(line["timestamp"]) for line in lines if line.get("timestamp"))
    assert "a\nb\nä\n" in log and "Result:" in log or "Resources:" in log


def test_the_header_of_the_operation_waits_for_its_update(api, stack, ready):
    """`pulumi update` as a header tells the CLI to ask for the update: from then on it is there."""
    repo_is_slow = {"preRunCommands": ["sleep 1"]}
    made = api.deploy(stack, "update", operationContext=repo_is_slow)
    early, header = 0, False
    while not header:
        header = any(line.get("header") == "pulumi update" for line in api.log_lines(stack, made["id"]))
        updates = api.get(f"{ready}/deployments/{made['id']}/updates")
        early += not header
        assert not header or len(updates) == 1 and updates[0]["updateID"] and updates[0]["version"] == 1, updates
        assert api.deployment(stack, made["id"])["status"] != "failed", api.log(stack, made["id"])
    assert early > 0
    api.wait_status(stack, made["id"])


def test_no_header_of_the_operation_without_an_update(api, stack, ready, repo, project):
    """A program that the CLI refuses before it begins: the step is there, its header is not."""
    repo.commit({"Pulumi.yaml": "name: [\n"})
    done, _ = api.run(stack, "update", expect="failed")
    assert [line["header"] for line in api.log_lines(stack, done["id"]) if line.get("header") == "pulumi update"] == []
    assert api.get(f"{ready}/deployments/{done['id']}/updates") == []


def test_log_by_step(api, stack, ready):
    done, _ = api.run(stack, "preview", operationContext={"preRunCommands": ["seq 1 1200"]})
    step = next(i for i, s in enumerate(done["jobs"][0]["steps"]) if s["name"] == "Pre-run command 1")
    text, offset, calls = "", 0, 0
    while True:
        part = api.get(f"{path_of(stack)}/deployments/{done['id']}/logs?job=0&step={step}&offset={offset}&count=499")
        text += "".join(line["line"] for line in part["lines"])
        calls += 1
        if not part.get("nextOffset"):
            break
        assert part["nextOffset"] > offset
        offset = part["nextOffset"]
    assert "".join(f"{n}\n" for n in range(1, 1201)) in text
    assert calls >= 3


def test_token_stays_while_there_is_nothing_new(api, stack, ready):
    made = api.deploy(stack, "preview", operationContext={"preRunCommands": ["echo ready-to-wait; sleep 4"]})
    wait_until(lambda: "ready-to-wait\n" in api.log(stack, made["id"]), 60, "the command's line")
    token = None
    while True:
        answer = api.get(f"{ready}/deployments/{made['id']}/logs" + (f"?continuationToken={token}" if token else ""), headers={"Prefer": "wait=0"})
        assert answer.get("nextToken"), "a running deployment's log has not ended"
        if answer["nextToken"] == token:
            break
        token = answer["nextToken"]
        assert re.fullmatch(r"[A-Za-z0-9._-]+", token)
    api.wait_status(stack, made["id"])
    assert not api.get(f"{ready}/deployments/{made['id']}/logs?continuationToken={token}").get("lines") is None


def test_log_comes_live(api, stack, ready):
    made = api.deploy(stack, "preview", operationContext={"preRunCommands": ["echo first-part; sleep 5; echo second-part"]})
    wait_until(lambda: "first-part\n" in api.log(stack, made["id"]), 60, "the first line")
    assert "\nsecond-part" not in api.log(stack, made["id"])
    assert api.deployment(stack, made["id"])["status"] == "running"
    api.wait_status(stack, made["id"])
    assert "second-part" in api.log(stack, made["id"])


def test_secrets_are_masked(api, stack, ready):
    secret = "correct horse/battery+staple"
    commands = ['echo "raw $TOKEN"', 'printf %s "$TOKEN" | base64', 'python3 -c "import os,urllib.parse as u; print(u.quote(os.environ[\'TOKEN\'], safe=\'\'))" || true',
                'printf "half: correct horse/bat"; sleep 1; printf "tery+staple\\n"', 'echo "$PULUMI_ACCESS_TOKEN"']
    done, log = api.run(stack, "preview", operationContext={"environmentVariables": {"TOKEN": {"secret": secret}}, "preRunCommands": commands})
    import base64
    import urllib.parse
    output = "\n".join(line.get("line", "") for line in api.log_lines(stack, done["id"]) if not line.get("line", "").startswith("$ "))
    for form in (secret, base64.b64encode(secret.encode()).decode().rstrip("="), urllib.parse.quote(secret, safe="")):
        assert form not in output, form
    assert "raw " in output and "pul-" not in output


# ---- what a run sees ---------------------------------------------------------------------------------------------
def test_environment_of_a_run(api, stack, ready, project):
    done, log = api.run(stack, "preview", operationContext={"preRunCommands": ["env | sort"]})
    seen = dict(line.split("=", 1) for line in log.splitlines() if re.match(r"^[A-Z_]+=", line))
    assert seen["PULUMI_CI_SYSTEM"] == "Pulumi Deployments"
    assert seen["PULUMI_CI_BUILD_ID"] == done["id"] and seen["PULUMI_CI_BUILD_NUMBER"] == "1"
    assert seen["PULUMI_CI_ORGANIZATION"] == "acme" and seen["PULUMI_CI_PROJECT"] == project and seen["PULUMI_CI_STACK"] == "dev"
    assert seen["PULUMI_CI_OPERATION"] == "preview" and seen["PULUMI_BACKEND_URL"].startswith("http://")
    assert seen["PULUMI_CI_BRANCH_NAME"] in ("main", "refs/heads/main")
    assert seen["FROM"] == "settings"
    assert "SLIPWAY_TEST_CLOCK" not in seen and "ASAN_OPTIONS" not in seen


def test_variables_carry_over_by_pulumi_env(api, stack, ready):
    _, log = api.run(stack, "preview", operationContext={"preRunCommands": [
        "export LOST=1; echo CARRIED=over >> \"${PULUMI_ENV_FILE:-/PULUMI_ENV}\"", 'echo "carried=$CARRIED lost=$LOST."']})
    assert "carried=over lost=.\n" in log


def test_prerun_commands_run_in_the_program_folder(api, stack, repo, project):
    repo.commit({f"deep/er/{k}": v for k, v in programs.stash(project).items()})
    api.create_stack(stack)
    _, log = api.run(stack, "preview", sourceContext={"git": {"repoUrl": repo.url, "branch": "main", "repoDir": "deep/er"}},
                     operationContext={"preRunCommands": ["ls", "pwd"]})
    assert "Pulumi.yaml\n" in log and "/deep/er\n" in log


def test_another_shell(api, stack, ready):
    _, log = api.run(stack, "preview", operationContext={"preRunCommands": ["echo shell=$0"], "options": {"shell": "sh"}})
    assert re.search(r"shell=\S*\bsh\n", log)


@pytest.mark.parametrize("operation, kind", [("update", "update"), ("preview", "preview"), ("refresh", "refresh"), ("destroy", "destroy")])
def test_operations(api, stack, ready, operation, kind):
    api.run(stack, "update")
    done, log = api.run(stack, operation)
    assert done["jobs"][0]["steps"][-1]["name"] == f"pulumi {operation}"
    updates = api.get(f"{ready}/deployments/{done['id']}/updates")
    assert len(updates) == 1 and updates[0]["result"] == "succeeded", updates
    assert updates[0]["kind"].lower().lstrip("p").endswith(kind.lstrip("p")), updates
    if operation == "destroy":
        assert not api.get(f"{ready}/export")["deployment"].get("resources")


def test_skip_intermediate(api, stack, ready):
    options = {"options": {"skipIntermediateDeployments": True}}
    made = [api.deploy(stack, "preview", operationContext={**options, "preRunCommands": ["sleep 3"]}) for _ in range(4)]
    ends = [api.wait_status(stack, m["id"])["status"] for m in made]
    assert ends[0] == "succeeded" and ends[-1] == "succeeded" and ends[1:3] == ["skipped", "skipped"], ends


# ---- the run's token ---------------------------------------------------------------------------------------------
def test_the_run_token_has_the_requesters_rights_without_power_to_administer(api, stack, ready):
    probe = ('code() { curl -s -o /dev/null -w "%{http_code}" -X "$1" -H "Authorization: token $PULUMI_ACCESS_TOKEN" '
             '-H "Content-Type: application/json" ${3:+-d "$3"} "$PULUMI_BACKEND_URL$2"; }; '
             f'echo "read=$(code GET {ready}) settings=$(code POST {ready}/deployments/settings {{}}) '
             'pool=$(code POST /api/orgs/acme/agent-pools \'{"name":"from-a-run"}\')"')
    _, log = api.run(stack, "preview", operationContext={"preRunCommands": [probe]})
    assert "read=200 settings=403 pool=403" in log, log


def test_the_run_token_dies_with_the_run(dev, api, stack, ready, tmp_path):
    """Said backwards, so that the masking does not hide it."""
    _, log = api.run(stack, "preview", operationContext={"preRunCommands": ["printf %s \"$PULUMI_ACCESS_TOKEN\" | rev; echo"]})
    found = re.search(r"^([a-z0-9]{40,}-nur-lup)$", log, re.M)
    assert found, log
    dev.api(found.group(1)[::-1]).refused(401, "GET", "/api/user")


# ---- cancel ------------------------------------------------------------------------------------------------------
def test_cancel_while_queued(api, stack, ready):
    first = api.deploy(stack, "preview", operationContext={"preRunCommands": ["sleep 5"]})
    second = api.deploy(stack, "preview")
    api.ok("POST", f"{ready}/deployments/{second['id']}/cancel")
    assert api.deployment(stack, second["id"])["status"] == "skipped"
    api.ok("POST", f"{ready}/deployments/{second['id']}/cancel")
    assert api.wait_status(stack, first["id"])["status"] == "succeeded"


def test_cancel_while_running(api, stack, ready):
    made = api.deploy(stack, "update", operationContext={"preRunCommands": ["echo here-we-are; sleep 120"]})
    wait_until(lambda: "here-we-are\n" in api.log(stack, made["id"]), 60, "the command")
    began = time.monotonic()
    api.ok("POST", f"{ready}/deployments/{made['id']}/cancel")
    done = api.wait_status(stack, made["id"], timeout=60)
    assert done["status"] == "failed" and time.monotonic() - began < 45
    api.run(stack, "update", operationContext={"preRunCommands": []}, inheritSettings=True)


@pytest.mark.parametrize("after", [0, 0.05, 0.2, 0.5])
def test_cancel_soon_after_the_start(api, stack, ready, after):
    """However early: a cancel that was answered well comes before the program, or the program is interrupted."""
    made = api.deploy(stack, "update", operationContext={"preRunCommands": ["sleep 1.5"]})
    time.sleep(after)
    api.ok("POST", f"{ready}/deployments/{made['id']}/cancel")
    assert api.wait_status(stack, made["id"], ("failed", "skipped"), timeout=60)
    assert not api.get(f"{ready}/export")["deployment"].get("resources")


def test_cancel_when_done(api, stack, ready):
    done, _ = api.run(stack, "preview")
    answer = api.call("POST", f"{ready}/deployments/{done['id']}/cancel")
    assert answer.status_code < 500
    assert api.deployment(stack, done["id"])["status"] == "succeeded"


def test_status_for_runners(api, dev, stack, ready):
    done, _ = api.run(stack, "preview")
    pool = api.post("/api/orgs/acme/agent-pools", {"name": f"watch-{done['id'][:13]}"})
    answer = dev.api(pool["tokenValue"]).call("GET", f"/api/deployments/{done['id']}/status")
    assert (answer.status_code == 200 and answer.json() == "succeeded") or answer.status_code in (403, 404)


# ---- the page ----------------------------------------------------------------------------------------------------
def test_console_page(dev, api, stack, ready):
    import requests
    done, log = api.run(stack, "update", operationContext={"preRunCommands": ["echo '<script>alert(1)</script>'"]})
    url = api.post(f"{ready}/deployments", {"operation": "preview"})["consoleUrl"]
    assert url.startswith(dev.url + "/")
    page = url.rsplit("/", 1)[0] + "/1"
    with requests.Session() as browser:
        browser.trust_env = False
        first = browser.get(page, timeout=30)
        assert "admin" not in first.text or first.status_code in (200, 401)
        assert "<script" not in first.text and "pulumi update" not in first.text, "nobody is signed in yet"
        form = re.search(r'<form[^>]*action="([^"]*)"', first.text)
        field = re.search(r'<input[^>]*name="(\w*token\w*)"', first.text)
        assert form and field, first.text[:2000]
        from urllib.parse import urljoin
        hidden = dict(re.findall(r'<input[^>]*type="hidden"[^>]*name="([^"]*)"[^>]*value="([^"]*)"', first.text))
        signed = browser.post(urljoin(first.url, form.group(1)), data={**hidden, field.group(1): dev.token}, timeout=30)
        assert signed.status_code == 200, signed.text[:500]
        cookie = next(iter(browser.cookies))
        assert cookie.has_nonstandard_attr("HttpOnly") and dev.token not in cookie.value
        shown = browser.get(page, timeout=30)
        assert shown.status_code == 200 and "succeeded" in shown.text and "pulumi update" in shown.text
        assert "<script" not in shown.text and "&lt;script&gt;alert(1)" in shown.text
        assert "default-src" in shown.headers.get("Content-Security-Policy", "")
