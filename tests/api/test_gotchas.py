"""The documented traps of the protocol (cli-protocol §7), one test for each row, in its order. Some have further tests
elsewhere; here each has the one that carries its name."""
import base64
import json
import re
import socket
import time

import pytest
import requests
from helpers import programs
from helpers.api import path_of
from helpers.pulumi import Pulumi
from helpers.waiting import wait_until

from test_delta import delta, edit_for, sha, verbatim
from test_state import MAGIC, SECRETS, apply, begin, created, journal, names, resource

RFC3339 = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")
ENVELOPE, SECRET = "4dabf18193072939515e22adb298388d", "1b47061264138c4ac30d75fd1eb44270"
ABSENT = "00000000-0000-7000-8000-000000000000"


@pytest.fixture
def path(api, stack):
    return api.create_stack(stack)


def every_value(value, key=""):
    """(key, value) of everything in a JSON document that is neither object nor array."""
    if isinstance(value, dict):
        for k, v in value.items():
            yield from every_value(v, k)
    elif isinstance(value, list):
        for v in value:
            yield from every_value(v, key)
    else:
        yield key, value


def history(api, path):
    return api.get(f"{path}/updates?pageSize=10&page=1")["updates"]


# ---- error handling ------------------------------------------------------------------------------------------------
def test_every_error_has_its_code_in_the_body(dev, api, path):
    words = {400: "Bad Request: ", 401: "Unauthorized: ", 403: "Forbidden: ", 404: "Not Found: ", 405: "Method Not Allowed: ",
             409: "Conflict: ", 413: "Request Entity Too Large: "}
    begun, _ = begin(api, path)
    for status, client, method, where_, body in [
            (400, api, "POST", f"{path}/encrypt", {}), (401, api.with_token("pul-no"), "GET", path, ...), (401, api.with_token(None), "GET", path, ...),
            (403, dev.user(f"member-{path.split('/')[4]}"), "POST", "/api/orgs/acme/deployments/pause", ...), (404, api, "GET", f"{path}-not", ...),
            (404, api, "GET", "/api/no/such/thing", ...), (405, api, "PATCH", path, {}), (409, api, "DELETE", path, ...),
            (413, api, "POST", f"{path}/rename", {"newName": "x" * (2 << 20)})]:
        said = client.refused(status, method, where_, body)
        assert said.startswith(words[status]) or status == 413, said


def test_exact_texts_that_clients_match(api, path, stack):
    update, lease = begin(api, path)
    made = api.post(f"{path}/update", {"options": {}, "metadata": {}})
    assert api.refused(409, "POST", f"{path}/update/{made['updateID']}", {}) == "Conflict: Another update is currently in progress."
    journal(lease, update, [SECRETS, *created(2, 1, resource(path, "a", 1))])
    lease.post(f"{update}/complete", {"status": "succeeded"})
    assert api.refused(400, "DELETE", f"{path}?force=false") == "Bad Request: Stack still contains resources."
    org, project, name = stack.split("/")
    assert re.search("stack.*already exists", api.refused(409, "POST", f"/api/stacks/{org}/{project}", {"stackName": name}))


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"entries":5,"events":5,"plaintext":5,"ciphertext":5,"plaintexts":5,"ciphertexts":5,'
                                  b'"status":5,"duration":"x","version":"x","deployment":5,"untypedDeployment":5}'], ids=["empty", "cut", "list", "null", "types"])
def test_permanent_failures_are_never_a_5xx(api, path, body):
    """The CLI repeats these calls on a 5xx, and makes its user wait for seven seconds."""
    update, lease = begin(api, path)
    for client, method, tail in [(api, "POST", f"{path}/{t}") for t in ("encrypt", "decrypt", "batch-encrypt", "batch-decrypt", "import")] + \
            [(lease, "PATCH", f"{update}/{t}") for t in ("checkpoint", "checkpointverbatim", "checkpointdelta", "journalentries")] + \
            [(lease, "POST", f"{update}/{t}") for t in ("events/batch", "renew_lease", "complete")] + \
            [(api, "POST", f"{path}/update/{ABSENT}/cancel"), (api, "POST", f"{path}/deployments/{ABSENT}/cancel")]:
        for zipped in (False, True):
            answer = client.call(method, tail, data=body, zipped=zipped)
            # A renewal of nothing asks for the usual time; nothing else may be taken.
            fine = tail.endswith("renew_lease") and body in (b"", b"null")
            assert fine or 400 <= answer.status_code < 500 and answer.json()["code"] == answer.status_code, (tail, answer.status_code, answer.text)
            if fine and answer.status_code == 200:
                lease.token = client.token = answer.json()["token"]
    assert names(api, path) == []


def test_answers_are_empty_only_where_nobody_decodes_them(api, path):
    update, lease = begin(api, path)
    for client, method, tail, body in [
            (lease, "PATCH", f"{update}/journalentries", {"entries": [SECRETS]}), (lease, "POST", f"{update}/events/batch", {"events": []}),
            (lease, "POST", f"{update}/complete", {"status": "succeeded"}), (api, "PATCH", f"{path}/tags", {}),
            (api, "POST", f"{path}/decrypt/log-decryption", {"secretName": "x"})]:
        assert client.call(method, tail, body).status_code in (200, 204)
    other, its = begin(api, path)
    for client, method, tail, body in [
            (api, "GET", "/api/user", ...), (api, "GET", "/api/capabilities", ...), (api, "GET", "/api/user/organizations/default", ...),
            (api, "GET", path, ...), (api, "GET", f"{path}/export", ...), (api, "GET", "/api/user/stacks", ...),
            (api, "POST", f"{path}/encrypt", {"plaintext": "YQ=="}), (api, "POST", f"{path}/batch-encrypt", {"plaintexts": []}),
            (api, "POST", f"{path}/batch-decrypt", {"ciphertexts": []}), (its, "POST", f"{other}/renew_lease", {"token": "", "duration": 300}),
            (api, "GET", other, ...), (api, "GET", f"{other}/events", ...), (api, "GET", f"{path}/updates?pageSize=1&page=1", ...),
            (api, "GET", f"{path}/updates/latest", ...), (api, "GET", f"{path}/policypacks", ...), (api, "GET", f"{path}/deployments", ...),
            (api, "POST", f"{path}/deployments/settings/encrypt", "plain")]:
        answer = client.call(method, tail, body)
        assert answer.status_code == 200 and isinstance(answer.json(), (dict, list)), (tail, answer.text)


# ---- JSON shape ----------------------------------------------------------------------------------------------------
def test_null_is_absent_and_no_time_is_an_empty_text(api, path, stack):
    made = api.post(f"{path}/update", {"name": None, "runtime": None, "options": {"localPolicyPackPaths": None}, "config": None, "metadata": None, "more": 1})
    lease = api.with_token(api.post(f"{path}/update/{made['updateID']}", {"tags": None, "journalVersion": None})["token"], "update-token")
    lease.post(f"{path}/update/{made['updateID']}/complete", {"status": "succeeded", "more": None})
    api.settings(stack, {"sourceContext": {"git": {"repoUrl": "file:///nowhere.git", "branch": "main"}}})
    api.post(f"{path}/deployments/pause")
    deployment = api.deploy(stack, "preview", agentPoolID=None, executorContext=None, operationContext={"preRunCommands": None})
    for document in (api.get(f"{path}/deployments/{deployment['id']}"), api.get(f"{path}/deployments"), history(api, path), api.get(path),
                     api.get(f"{path}/export"), api.get(f"/api/user/stacks?project={stack.split('/')[1]}")):
        empty = [key for key, value in every_value(document) if value == "" and re.search("time$|started|lastupdated|created|modified", key.lower())]
        assert empty == [], document


def test_names_whose_case_is_a_trap(api, path, stack):
    assert "updateID" in api.post(f"{path}/update", {"options": {}, "metadata": {}})
    assert "updateId" in api.post(f"{path}/import", {"version": 3, "deployment": {"manifest": MAGIC}})
    assert "gitHubLogin" in api.get("/api/user/organizations/default")
    user = api.get("/api/user")
    assert "githubLogin" in user and all("githubLogin" in org for org in user["organizations"])
    # The engine's summary says PolicyPacks, and says so when it is read again.
    update, lease = begin(api, path)
    lease.post(f"{update}/events/batch", {"events": [{"sequence": 0, "timestamp": 1, "summaryEvent": {"PolicyPacks": {"p": "1"}, "resourceChanges": {}}}]})
    lease.post(f"{update}/complete", {"status": "succeeded"})
    assert api.get(f"{update}/events")["events"][0]["summaryEvent"]["PolicyPacks"] == {"p": "1"}
    settings = {"executorContext": {"executorRootPath": "/r"}, "operationContext": {"preRunCommands": ["ls"]}, "sourceContext": {"git": {"repoUrl": "file:///r", "branch": "b"}}}
    api.settings(stack, settings)
    assert set(api.get(f"{path}/deployments/settings")) >= set(settings)


def test_nulls_that_requests_carry(api, path, stack):
    update, lease = begin(api, path)
    entries = [SECRETS, *created(2, 1, resource(path, "a", 1))]
    assert all(entry["removeOld"] is None and entry["removeNew"] is None for entry in entries)
    journal(lease, update, entries)
    lease.post(f"{update}/complete", {"status": "succeeded"})
    assert names(api, path) == ["a"]
    api.ok("PATCH", f"{path}/tags", {"a": "b"})
    api.ok("PATCH", f"{path}/tags", data=b"null")
    assert api.get(path)["tags"] == {}
    api.settings(stack, {"sourceContext": {"git": {"repoUrl": "file:///nowhere.git", "branch": "main"}}})
    api.post(f"{path}/deployments/pause")
    api.deploy(stack, "preview", agentPoolID=None, operationContext={"preRunCommands": [], "operation": "", "environmentVariables": {}})


def test_how_lists_end(api, path, stack):
    """A list's token is null in the end; "" would be taken for a token. Of logs it is the other way round."""
    assert api.get("/api/user/stacks?project=no-such-project")["continuationToken"] is None
    update, lease = begin(api, path)
    assert api.get(f"{update}/events")["continuationToken"], "a running update has more to come"
    lease.post(f"{update}/complete", {"status": "succeeded"})
    assert api.get(f"{update}/events")["continuationToken"] is None
    assert api.get(update).get("continuationToken") is None
    done, _ = api.run(stack, expect="failed", sourceContext={"git": {"repoUrl": "file:///nowhere.git", "branch": "main"}})
    token = None
    for _ in range(100):
        page = api.get(f"{path}/deployments/{done['id']}/logs" + (f"?continuationToken={token}" if token else ""))
        token = page.get("nextToken")
        if not token:
            return
    raise AssertionError("the log of an ended deployment does not end")


def test_integers_of_64_bits(api, path):
    update, lease = begin(api, path)
    big = (1 << 63) - 10
    first = [SECRETS, *created(2, big - 1, resource(path, "small", 1))]
    # Two numbers that are one number as doubles, in the wrong order.
    late = created(big, big, resource(path, "big", 1 << 62))
    late[1]["removeNew"] = big - 1
    journal(lease, update, first)
    journal(lease, update, late[::-1])
    lease.post(f"{update}/complete", {"status": "succeeded"})
    assert names(api, path) == ["big"]
    assert f'"input":{1 << 62}' in api.call("GET", f"{path}/export").text.replace(" ", "")
    again, lease = begin(api, path)
    lease.refused(400, "PATCH", f"{again}/journalentries", {"entries": [{**SECRETS, "sequenceID": 1 << 63}]})
    lease.refused(400, "PATCH", f"{again}/journalentries", {"entries": [{**SECRETS, "sequenceID": 0}]})


def test_numbers_and_texts_of_users_stay_as_they_are(api, path):
    odd = r'{"a":1.0,"b":12345678901234567890123,"c":1e400,"d":-0.0,"e":1E+2,"f":"\u003cb\u003e\u2028\ud83d\ude00\u0000","g":"ü/\/"}'
    text = '{"version":3,"deployment":{"manifest":%s,"resources":[{"urn":"urn:pulumi:dev::p::a:b:C::n","custom":true,"type":"a:b:C","inputs":%s}]}}' \
        % (json.dumps(MAGIC), odd)
    api.post(f"{path}/import", data=text.encode())
    assert odd in api.call("GET", f"{path}/export").text
    update, lease = begin(api, path)
    entry = '{"version":1,"kind":1,"sequenceID":2,"operationID":1,"removeOld":null,"removeNew":null,"state":{"urn":"urn:pulumi:dev::p::a:b:C::m",' \
            '"custom":true,"type":"a:b:C","inputs":%s}}' % odd
    lease.ok("PATCH", f"{update}/journalentries", data=('{"entries":[%s,%s]}' % (json.dumps(SECRETS), entry)).encode())
    assert odd in api.call("GET", f"{path}/export").text
    lease.post(f"{update}/complete", {"status": "succeeded"})
    assert api.call("GET", f"{path}/export").text.count(odd) == 2


def test_the_envelope_of_a_secret_is_opaque(api, path):
    sealed = api.post(f"{path}/encrypt", {"plaintext": base64.b64encode(b'"hidden"').decode()})["ciphertext"]
    value = {ENVELOPE: SECRET, "ciphertext": sealed}
    apply(api, path, resource(path, "a", value))
    seen = api.get(f"{path}/export")["deployment"]["resources"][0]
    assert seen["inputs"]["input"] == value == seen["outputs"]["output"]
    assert base64.b64decode(api.post(f"{path}/decrypt", {"ciphertext": sealed})["plaintext"]) == b'"hidden"'


# ---- time ----------------------------------------------------------------------------------------------------------
def test_formats_of_times(api, path, stack, project):
    now = time.time()
    update, lease = begin(api, path)
    started = api.get(path)["currentOperation"]["started"]
    listed = api.get(f"/api/user/stacks?project={project}")["stacks"][0]
    assert listed["lastUpdate"] == 0, "in progress"
    expires = lease.post(f"{update}/renew_lease", {"token": "", "duration": 300})["tokenExpiration"]
    journal(lease, update, [SECRETS])
    lease.post(f"{update}/complete", {"status": "succeeded"})
    entry = history(api, path)[0]
    listed = api.get(f"/api/user/stacks?project={project}")["stacks"][0]
    for seconds in (started, expires, entry["startTime"], entry["endTime"], listed["lastUpdate"]):
        assert isinstance(seconds, int) and abs(seconds - now) < 4000, seconds
    api.create_stack(f"acme/{project}/never")
    assert "lastUpdate" not in next(s for s in api.get(f"/api/user/stacks?project={project}")["stacks"] if s["stackName"] == "never")
    assert RFC3339.match(api.get(f"{path}/export")["deployment"]["manifest"]["time"])
    done, _ = api.run(stack, expect="failed", sourceContext={"git": {"repoUrl": "file:///nowhere.git", "branch": "main"}})
    job = done["jobs"][0]
    for when in (job["started"], job["lastUpdated"], *(s["started"] for s in job["steps"] if "started" in s)):
        assert RFC3339.match(when), when
    assert all(RFC3339.match(line["timestamp"]) for line in api.log_lines(stack, done["id"]) if "timestamp" in line)
    api.settings(stack, {"operationContext": {"oidc": {"aws": {"roleArn": "arn:aws:iam::1:role/r", "sessionName": "s", "duration": "1h0m0s"}}}})
    assert api.get(f"{path}/deployments/settings")["operationContext"]["oidc"]["aws"]["duration"] == "1h0m0s"


# ---- bytes ---------------------------------------------------------------------------------------------------------
def test_the_escapes_of_go_are_kept_for_deltas(api, path):
    update, lease = begin(api, path, journal=0)
    text = ('{"manifest":%s,"resources":[{"urn":"urn:pulumi:dev::p::a:b:C::n","custom":true,"type":"a:b:C","inputs":{"x":"\\u003ca\\u003e \\u0026 \\u2028"}}]}'
            % json.dumps(MAGIC)).encode()
    text = b'{"version":3,"deployment":' + text + b"}"
    assert verbatim(lease, update, text, 1).status_code == 204
    edits = edit_for(text, b"\\u0026", "and \\u0026")
    changed = text.replace(b"\\u0026", b"and \\u0026")
    answer = delta(lease, update, edits, 2, sha(changed))
    assert answer.status_code == 204, answer.text
    lease.post(f"{update}/complete", {"status": "succeeded"})
    assert api.get(f"{path}/export")["deployment"]["resources"][0]["inputs"]["x"] == "<a> and & \u2028"


def test_a_plaintext_is_any_bytes(api, path):
    for plain in (b"\0", b"\0" * 32, bytes(range(256)), b"\xff\xfe"):
        text = base64.b64encode(plain).decode()
        assert api.post(f"{path}/decrypt", api.post(f"{path}/encrypt", {"plaintext": text}))["plaintext"] == text


def test_gzip_in_both_directions(api, path):
    body = json.dumps({"version": 3, "deployment": {"manifest": MAGIC, "resources": [resource(path, "a", "x" * 5000)]}}).encode()
    for zipped in (False, True):
        api.post(f"{path}/import", data=body, zipped=zipped)
        for accept, expected in (("gzip", "gzip"), ("identity", None)):
            answer = api.call("GET", f"{path}/export", headers={"Accept-Encoding": accept})
            assert answer.headers.get("Content-Encoding") == expected and answer.json()["deployment"]["resources"][0]["id"] == "a"


def test_no_body_is_needed_and_no_type_of_it(dev, api, path):
    update, lease = begin(api, path)
    raw = (f"POST {update}/cancel HTTP/1.1\r\nHost: x\r\nAuthorization: token {dev.token}\r\nContent-Type: application/json\r\n"
           "Content-Length: 0\r\nConnection: close\r\n\r\n")
    with socket.create_connection(("127.0.0.1", dev.port), 10) as s:
        s.sendall(raw.encode())
        assert re.match(rb"HTTP/1.1 20[04] ", s.recv(4096))
    for kind in ("application/json", "application/x-yaml", "text/plain", "nonsense", ""):
        assert api.call("POST", f"{path}/encrypt", {"plaintext": "YQ=="}, headers={"Content-Type": kind}).status_code == 200, kind
        assert api.call("GET", path, headers={"Content-Type": kind}).status_code == 200, kind


def test_head_of_a_project(api, path, stack):
    org, project, _ = stack.split("/")
    there, not_there = (api.call("HEAD", f"/api/stacks/{org}/{p}") for p in (project, f"{project}-not"))
    assert (there.status_code, not_there.status_code) == (200, 404) and not there.content + not_there.content


# ---- updates -------------------------------------------------------------------------------------------------------
def test_a_preview_is_known_by_its_path_or_by_dry_run(api, path):
    """What only looks neither counts nor holds the stack; all later calls say "update", whatever it is."""
    for kind, dry_run in (("preview", False), ("update", True), ("refresh", True), ("destroy", True)):
        update, lease = begin(api, path, kind, dry_run)
        assert "/update/" in update
        lease.post(f"{update}/events/batch", {"events": []})
        lease.post(f"{update}/complete", {"status": "succeeded"})
    assert api.get(path)["version"] == 0 and history(api, path) == []
    for kind in ("update", "refresh", "destroy"):
        update, lease = begin(api, path, kind)
        lease.post(f"{update}/complete", {"status": "succeeded"})
    assert [u["kind"] for u in history(api, path)] == ["destroy", "refresh", "update"] and api.get(path)["version"] == 3


def test_a_start_has_a_token_and_a_version(api, path):
    for kind, dry_run, version in (("preview", False, 0), ("update", True, 0), ("update", False, 1)):
        made = api.post(f"{path}/{kind}", {"options": {"dryRun": dry_run}, "metadata": {}})
        started = api.post(f"{path}/update/{made['updateID']}", {"journalVersion": 1})
        assert isinstance(started["token"], str) and started["token"] and isinstance(started["version"], int), started
        assert api.get(path)["version"] == version


def test_the_former_lease_token_is_good_for_a_while(own, clock, stack):
    server = own("--lease", "5m", clock=clock)
    api = server.api()
    path = api.create_stack(stack)
    update, lease = begin(api, path)
    renewed = api.with_token(lease.post(f"{update}/renew_lease", {"token": "", "duration": 300})["token"], "update-token")
    assert renewed.token != lease.token
    for client in (lease, renewed):  # events that were under way with the old one
        client.post(f"{update}/events/batch", {"events": []})
    clock.advance(200)
    assert lease.call("POST", f"{update}/events/batch", {"events": []}).status_code in (401, 403)
    renewed.post(f"{update}/complete", {"status": "succeeded"})


def test_a_stack_is_free_after_complete_lease_and_cancel(own, clock, stack):
    server = own("--lease", "5m", clock=clock)
    api = server.api()
    path = api.create_stack(stack)

    def end_by_complete(update, lease):
        lease.post(f"{update}/complete", {"status": "failed"})

    def end_by_cancel(update, lease):
        api.ok("POST", f"{update}/cancel")

    def end_by_time(update, lease):
        clock.advance(400)
        wait_until(lambda: "currentOperation" not in api.get(path), 15, "the end of the lease")

    for end in (end_by_complete, end_by_cancel, end_by_time, end_by_complete):
        update, lease = begin(api, path)
        assert api.get(path)["currentOperation"]["kind"] == "update"
        end(update, lease)
        assert "currentOperation" not in api.get(path), end.__name__


def test_events_come_in_any_order_and_after_the_checkpoints(api, path):
    update, lease = begin(api, path)
    events = [{"sequence": i, "timestamp": 1, "stdoutEvent": {"message": f"{i}", "color": "raw"}} for i in range(9)]
    lease.post(f"{update}/events/batch", {"events": events[6:]})
    journal(lease, update, [SECRETS, *created(2, 1, resource(path, "a", 1))])
    for part in (events[3:6], events[:4], events[6:]):
        lease.post(f"{update}/events/batch", {"events": part})
    lease.post(f"{update}/complete", {"status": "succeeded"})
    assert [e["sequence"] for e in api.get(f"{update}/events")["events"]] == list(range(9))


# ---- deployments ---------------------------------------------------------------------------------------------------
def test_a_log_token_stays_while_nothing_is_new(api, path, stack):
    """Otherwise the CLI would ask again at once, without end."""
    api.settings(stack, {"sourceContext": {"git": {"repoUrl": "file:///nowhere.git", "branch": "main"}}})
    api.post(f"{path}/deployments/pause")
    logs = f"{path}/deployments/{api.deploy(stack, 'preview')['id']}/logs"
    token = api.get(logs)["nextToken"]
    assert token and [api.get(f"{logs}?continuationToken={token}", headers={"Prefer": "wait=0"})["nextToken"] for _ in range(3)] == [token] * 3


def test_the_header_of_an_operation_means_that_its_update_is_there(api, path, stack, repo, project):
    repo.commit(programs.stash(project))
    made = api.deploy(stack, sourceContext={"git": {"repoUrl": repo.url, "branch": "main"}})
    seen = wait_until(lambda: any(line.get("header") == "pulumi update" for line in api.log_lines(stack, made["id"])), 90, "the header")
    assert seen and [u["version"] for u in api.get(f"{path}/deployments/{made['id']}/updates")] == [1]
    api.wait_status(stack, made["id"])


# ---- environment ---------------------------------------------------------------------------------------------------
def test_links_lead_to_pages_of_the_server(dev, cli, api, stack, project):
    """The CLI makes links only when it knows the console: by PULUMI_CONSOLE_DOMAIN, or on localhost:8080 (then :3000)."""
    cli.write(programs.stash(project))
    cli.run("stack", "init", stack)
    env = {"PULUMI_CONSOLE_DOMAIN": f"127.0.0.1:{dev.port}"}
    links = re.findall(r"https?://\S+", cli.run("up", "--yes", env=env).stdout)
    assert len(links) == 2 and links[0].startswith(f"{dev.url}/{stack}/previews/") and links[1] == f"{dev.url}/{stack}/updates/1", links
    with requests.Session() as browser:
        browser.trust_env = False
        assert browser.post(f"{dev.url}/console/session", data={"token": dev.token}, timeout=30).status_code == 200
        for link, word in zip(links, ("preview", "update")):
            page = browser.get(link, timeout=30)
            assert page.status_code == 200 and word in page.text.lower() and project in page.text, page.text[:500]


def test_an_agent_without_a_token_is_told_so(dev, tmp_path):
    """With the variable of an AI agent and no token the CLI asks for a sign-up, which there is not: an error, and no waiting."""
    user = Pulumi(tmp_path, dev.url)
    user.refused("stack", "ls", "--all", names="[404]", env={"CLAUDECODE": "1"}, timeout=60)


def test_exit_codes_of_the_cli(dev, cli, api, stack, project, tmp_path):
    """As this CLI really ends; a flag that it does not know is a 1."""
    cli.write(programs.stash(project))
    cli.run("stack", "init", stack)
    cli.run("up", "--yes", "--skip-preview")
    cli.write(programs.stash(project, name="another"))
    made = api.post("/api/user/tokens", {"description": "to be revoked"})
    revoked = Pulumi(tmp_path, dev.url, made["tokenValue"], name="revoked")
    revoked.run("whoami")
    api.ok("DELETE", f"/api/user/tokens/{made['id']}")
    nobody = Pulumi(tmp_path, dev.url, name="nobody")
    found = {"ok": cli.run("stack", "select", stack).returncode,
             "stack": cli.run("stack", "select", "no-such-stack", expect=None).returncode,
             "changes": cli.run("preview", "--expect-no-changes", expect=None).returncode,
             "revoked": revoked.run("stack", "ls", "--all", expect=None).returncode,
             "nobody": nobody.run("stack", "ls", "--all", expect=None).returncode}
    assert found == {"ok": 0, "stack": 6, "changes": 7, "revoked": 3, "nobody": 3}, found


def test_tokens_of_lists_need_no_escaping(own, tmp_path):
    server = own(command="serve")
    server.admin("org", "add", "acme")
    api = server.user("operator", role="admin")
    for name in ("a+b", "ü"):
        api.refused(400, "POST", "/api/stacks/acme/project", {"stackName": name})
    for i in range(5):
        api.create_stack(f"acme/pro.ject_{i}/s-{i}")
    seen, token = [], ""
    while token is not None:
        page = api.get(f"/api/user/stacks?maxResults=2&continuationToken={token}" if token else "/api/user/stacks?maxResults=2")
        seen += [s["stackName"] for s in page["stacks"]]
        token = page["continuationToken"]
        assert token is None or re.fullmatch("[A-Za-z0-9_-]+", token), token
    assert seen == [f"s-{i}" for i in range(5)]
