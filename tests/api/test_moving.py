"""`slipway admin import` against what other services and folders may do, and its route."""
import base64
import json
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from helpers import process, where
from helpers.api import path_of

from test_state import begin, resource
from test_versions import SECRET, state

ID = "018bcfe5-6800-8f01-bf03-0405060708{:02d}"
PATH = "/api/site/versions"


@pytest.fixture
def here(own):
    server = own(command="serve")
    server.admin("org", "add", "acme")
    return server, server.user("operator", role="admin")


@pytest.fixture
def site(here, stack):
    """(a client of the first user, who administers the site; path of an empty stack; body for its first version)"""
    _, api = here
    path = api.create_stack(stack)
    return api, path, version(stack, 1)


def version(stack, n, **more):
    org, project, name = stack.split("/")
    return {"organization": org, "project": project, "stack": name, "updateID": ID.format(n), "version": n, "kind": "update",
            "result": "succeeded", "startTime": 1700000000 + n, "endTime": 1700000060 + n, **more}


# ---- the route ---------------------------------------------------------------------------------------------------
def test_a_version_is_taken_once(site, stack):
    api, path, body = site
    text = state(resource(path, "a", 1))
    full = {**body, "version": 7, "message": "why", "environment": {"git.head": "abc"}, "config": {"p:k": {"string": "v", "secret": False}},
            "resourceChanges": {"create": 1}, "requestedBy": "operator", "state": text}
    assert api.post(PATH, full) == {"version": 7, "taken": True, "authorKnown": True}
    assert api.post(PATH, full) == {"version": 7, "taken": False, "authorKnown": False}
    assert api.get(f"{path}/export") == text and api.get(f"{path}/export/7") == text
    update = api.get(f"{path}/updates/7")
    info = update["info"]
    assert (info["startTime"], info["endTime"], info["message"], info["environment"], info["config"], info["resourceChanges"], info["resourceCount"]) == (
        1700000001, 1700000061, "why", {"git.head": "abc"}, {"p:k": {"string": "v", "secret": False}}, {"create": 1}, 1)
    assert update["updateID"] == full["updateID"] and update["requestedBy"]["githubLogin"] == "operator"
    summary = next(s for s in api.get("/api/user/stacks?organization=acme")["stacks"] if s["stackName"] == stack.split("/")[2])
    assert summary["lastUpdate"] == 1700000061 and summary["resourceCount"] == 1
    # The next ones: with no state, and without a number.
    assert api.post(PATH, version(stack, 9, result="failed", requestedBy="stranger", resourceCount=3)) == {"version": 9, "taken": True, "authorKnown": False}
    api.refused(404, "GET", f"{path}/export/9", names="no longer kept")
    assert api.get(f"{path}/export") == text, "the newest that there is"
    assert api.post(PATH, {**version(stack, 10), "version": 0})["version"] == 10
    assert [(v["version"], v["result"], v["stored"]) for v in api.get(f"{path}/versions")["versions"]] == [
        (10, "succeeded", False), (9, "failed", False), (7, "succeeded", True)]


def test_what_is_here_is_not_written_over(site, stack, project):
    api, path, body = site
    api.post(PATH, {**body, "version": 5})
    api.refused(409, "POST", PATH, version(stack, 4), names="version 4: the stack here has version 5 already")
    other = api.create_stack(f"acme/{project}/other")
    api.refused(409, "POST", PATH, {**body, "stack": "other"}, names="another stack's")
    update, lease = begin(api, path)
    api.refused(409, "POST", PATH, version(stack, 8), names="Another update")
    lease.post(f"{update}/complete", {"status": "succeeded"})
    api.refused(409, "POST", PATH, version(stack, 8), names="used here: version 6 was made here")
    assert api.get(path)["version"] == 6 and api.get(other)["version"] == 0
    # A state that came with the stack is one's own as well.
    api.post(f"/api/stacks/acme/{project}", {"stackName": "third", "state": state(resource(path, "a", 1))})
    api.refused(409, "POST", PATH, version(f"acme/{project}/third", 20), names="used here")


@pytest.mark.parametrize("change, names", [
    ({"updateID": "018bcfe5-6800-7f01-bf03-040506070809"}, "/updateID"), ({"updateID": "8"}, "/updateID"), ({"kind": "preview"}, "/kind"),
    ({"result": "in-progress"}, "/result"), ({"version": -1}, "/version"), ({"startTime": 2**62}, "/startTime"), ({"environment": {"a": 1}}, "/environment"),
    ({"config": []}, "/config"), ({"state": {"version": 3}}, "/state: /deployment"), ({"state": {"version": 9, "deployment": {}}}, "/state: /version"),
    ({"organization": None}, "/organization")], ids=str)
def test_bad_versions_change_nothing(site, change, names):
    api, path, body = site
    api.refused(400, "POST", PATH, {**body, **change}, names=names)
    assert api.get(path)["version"] == 0


def test_foreign_secrets_are_refused(site, stack, project):
    api, path, body = site
    other = api.create_stack(f"acme/{project}/other")
    sealed = api.post(f"{other}/encrypt", {"plaintext": "aGk="})["ciphertext"]
    document = state(resource(path, "a", {**SECRET, "ciphertext": sealed}))
    document["deployment"]["secrets_providers"] = {"type": "service", "state": {"url": "http://x", "owner": "acme", "project": project, "stack": "dev"}}
    api.refused(400, "POST", PATH, {**body, "state": document}, names="from a different stack")
    assert api.get(path)["version"] == 0
    api.refused(404, "POST", PATH, {**body, "organization": "nobody"})
    api.refused(404, "POST", PATH, {**body, "stack": "nothing"}, names="nothing")


def test_the_route_is_for_site_administrators(here, stack):
    server, api = here
    api.create_stack(stack)
    member = server.user("second", role="admin")
    member.refused(403, "POST", PATH, version(stack, 1))
    member.refused(403, "GET", "/api/site")
    assert api.get("/api/site")["publicUrl"] == server.url


# ---- another service, as bad as they come ------------------------------------------------------------------------
class Service:
    """A service that answers from a table: path (with query) -> document, status, or function of the body."""

    def __init__(self, answers):
        self.answers, self.asked, self.token = answers, [], None
        service = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self):
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                service.asked.append((self.command, self.path))
                service.token = self.headers.get("Authorization")
                found = service.answers.get(self.path, 404)
                if isinstance(found, list):
                    found = found.pop(0) if len(found) > 1 else found[0]
                if callable(found):
                    found = found(json.loads(body))
                status = found if isinstance(found, int) else 200
                text = json.dumps({"code": status, "message": f"status {status}"} if status != 200 else found).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(text)))
                if status == 429:
                    self.send_header("Retry-After", "0")
                self.end_headers()
                self.wfile.write(text)

            do_GET = do_POST = answer

            def log_message(self, *_):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/prefix"
        self.answers = {"/prefix" + k: v for k, v in answers.items()}
        threading.Thread(target=self.http.serve_forever, daemon=True).start()


@pytest.fixture
def service():
    started = []

    def start(answers):
        started.append(Service(answers))
        return started[-1]

    yield start
    for one in started:
        one.http.shutdown()
        one.http.server_close()


def take(server, url, *options, expect=0):
    done = subprocess.run([where.slipway(), "admin", "import", "--from", url, "--data", str(server.data), *options], capture_output=True, text=True,
                          timeout=120, env=process.environment(server.folder / "home", PULUMI_ACCESS_TOKEN="pul-other"))
    assert done.returncode == expect, (done.returncode, done.stdout, done.stderr)
    return done


def update(n, **info):
    return {"updateID": f"u{n}", "version": n, "requestedBy": {"githubLogin": "operator"},
            "info": {"kind": "update", "result": "succeeded", "startTime": 1700000000 + n, "endTime": 1700000001 + n, "message": str(n),
                     "environment": {}, "config": {}, "version": n, **info}}


def answers(stacks, **more):
    """A service of empty stacks acme/p/NAME."""
    table = {"/api/user/stacks": {"stacks": [{"orgName": "acme", "projectName": "p", "stackName": s} for s in stacks]}}
    for s in stacks:
        path = f"/api/stacks/acme/p/{s}"
        table |= {path: {"tags": {}}, f"{path}/updates?output-type=service&pageSize=100&page=1": {"updates": []}, f"{path}/export": state()}
    return table | more


def test_pages_of_stacks_and_of_history(here, service):
    server, api = here
    table = answers(["a", "b"])
    table["/api/user/stacks"] = {"stacks": table["/api/user/stacks"]["stacks"][:1], "continuationToken": "a/b?c"}
    table["/api/user/stacks?continuationToken=a%2Fb%3Fc"] = {"stacks": [{"orgName": "acme", "projectName": "p", "stackName": "b"}], "continuationToken": ""}
    history = [update(n) for n in range(230, 0, -1)]
    for page in range(3):
        table[f"/api/stacks/acme/p/a/updates?output-type=service&pageSize=100&page={page + 1}"] = {"updates": history[100 * page:100 * page + 100]}
    # The service is busy now and then, and keeps only the newest states.
    table["/api/stacks/acme/p/a/export"] = [429, 503, state(resource("/api/stacks/acme/p/a", "newest", 230))]
    table["/api/stacks/acme/p/a/export/230"] = state(resource("/api/stacks/acme/p/a", "newest", 230))
    there = service(table)
    done = take(server, there.url)
    assert "acme/p/a: 230 versions taken" in done.stdout and "\n  the states of 229 versions from 1 to 229 are not kept there\n" in done.stdout
    assert "acme/p/b: 0 versions taken" in done.stdout and there.token == "token pul-other"
    assert api.get("/api/stacks/acme/p/a/updates?pageSize=1&page=230")["updates"][0]["message"] == "1"
    assert api.get("/api/stacks/acme/p/a/export/230") == state(resource("/api/stacks/acme/p/a", "newest", 230))
    asked = len(there.asked)
    assert "0 versions taken, 230 here before" in take(server, there.url + "/").stdout
    assert len(there.asked) - asked < 20, "what is here is not read again"


def test_what_a_service_cannot_give(here, service):
    """Each stack has a trouble of its own, which is told; the others come."""
    server, api = here
    table = answers(["gone", "running", "kinds", "sealed", "newest", "tags", "noisy", "good"])
    path = "/api/stacks/acme/p/"
    updates = "/updates?output-type=service&pageSize=100&page=1"
    del table[path + "gone"]
    table[path + "running"] = {"tags": {}, "currentOperation": {"kind": "update"}}
    table[path + "running" + updates] = {"updates": [update(2, result="in-progress"), update(1)]}
    table[path + "running/export/1"] = state(resource("/api/stacks/acme/p/r", "a", 1))
    table[path + "kinds" + updates] = {"updates": [update(3, kind="resource-import"), update(2, kind="preview"), update(1, kind="something-new", result="failed")]}
    document = state(resource("/api/stacks/acme/p/s", "a", {**SECRET, "ciphertext": base64.b64encode(b"x" * 40).decode()}))
    document["deployment"]["secrets_providers"] = {"type": "service", "state": {}}
    table[path + "sealed" + updates] = {"updates": [update(2), update(1, config={"p:k": {"string": "c2VhbGVk", "secret": True}})]}
    table[path + "sealed/export/1"] = document
    table[path + "sealed/export/2"] = table[path + "sealed/export"] = state(resource("/api/stacks/acme/p/s", "b", 1))
    table[path + "sealed/batch-decrypt"] = 400
    table[path + "newest/export"] = document
    table[path + "newest/batch-decrypt"] = {"plaintexts": {}}
    table[path + "tags"] = {"tags": {"not allowed!": "x"}}
    table[path + "noisy" + updates] = {"updates": [update(n, config={"p:k": {"string": "c2VhbGVk", "secret": True}}) for n in range(1, 31)]}
    done = take(server, service(table).url, "--json", expect=1)
    told = {s["stack"].split("/")[2]: s for s in json.loads(done.stdout)["stacks"]}
    assert {k for k, v in told.items() if "problem" in v} == {"gone", "newest"} and "2 with a problem" in done.stderr
    assert "has not decrypted every secret" in told["newest"]["problem"]
    # The state so far of what runs there is taken, and taken again once it has ended.
    assert told["running"]["taken"] == 2 and "version 2 has not ended there and is not taken" in told["running"]["notes"]
    assert "an update is running there: what it has not finished is missing here" in told["running"]["notes"]
    assert [(v["kind"], v["result"]) for v in api.get(path + "kinds/versions")["versions"]][-2:] == [("import", "succeeded"), ("update", "failed")]
    assert any("the state of version 1 is not taken" in n for n in told["sealed"]["notes"])
    assert any("configuration of version 1 keeps its old seal" in n for n in told["sealed"]["notes"])
    assert api.get(path + "sealed/export")["deployment"]["resources"][0]["urn"].endswith("b")
    assert any(n.startswith("its tags are not taken: Bad Request") for n in told["tags"]["notes"])
    assert told["noisy"]["taken"] == 31 and told["noisy"]["notes"][-2:] == ["the states of 30 versions from 1 to 30 are not kept there", "and 16 notes more"]
    assert told["good"] == {"stack": "acme/p/good", "taken": 0, "before": 0, "notes": []} and api.get(path + "good")["version"] == 0


def test_secrets_pass_in_order_and_stay_apart(here, service):
    """More secrets than one call takes, repeated ones among them, and ones that are deep in structured configuration."""
    server, api = here
    sealed = lambda text: base64.b64encode(f"sealed {text}".encode()).decode()  # noqa: E731
    plain = lambda text: base64.b64encode(str(text).encode()).decode()  # noqa: E731
    names = [f"{i % 300}" for i in range(501)]
    document = state(*(resource("/api/stacks/acme/p/s", f"r{i}", {**SECRET, "ciphertext": sealed(n)}) for i, n in enumerate(names)))
    document["deployment"]["secrets_providers"] = {"type": "service", "state": {"url": "https://elsewhere", "owner": "o", "project": "p", "stack": "s"}}
    config = {"p:one": {"string": sealed("one"), "secret": True, "object": False}, "p:plain": {"string": sealed("not opened"), "secret": False},
              "p:other": {"string": "v1:abc:def", "secret": True, "object": False},
              "p:deep": {"string": json.dumps({"a": [{"secure": sealed("deep")}, {"secure": "x", "b": 1}]}), "secret": True, "object": True}}
    table = answers(["s"])
    path = "/api/stacks/acme/p/s"
    table[path + "/updates?output-type=service&pageSize=100&page=1"] = {"updates": [update(1, config=config)]}
    table[path + "/export/1"] = table[path + "/export"] = document
    batches = []

    def decrypt(body):
        batches.append(body["ciphertexts"])
        return {"plaintexts": {c: plain(base64.b64decode(c).decode()[7:]) for c in body["ciphertexts"]}}

    table[path + "/batch-decrypt"] = decrypt
    done = take(server, service(table).url)
    assert "acme/p/s: 1 version taken" in done.stdout and "pulumi config refresh" in done.stdout
    assert max(map(len, batches)) <= 200 and len(batches) >= 3
    exported = api.get(path + "/export")["deployment"]
    assert exported["secrets_providers"]["state"] == {"url": server.url, "owner": "acme", "project": "p", "stack": "s"}
    # A Stash of test_state holds its value in input and output.
    ciphertexts = [r["inputs"]["input"]["ciphertext"] for r in exported["resources"]]
    opened = api.post(path + "/batch-decrypt", {"ciphertexts": ciphertexts})["plaintexts"]
    assert [base64.b64decode(opened[c]).decode() for c in ciphertexts] == names
    taken = api.get(path + "/updates/latest")["info"]["config"]
    assert taken["p:plain"] == config["p:plain"] and taken["p:other"] == config["p:other"]
    deep = json.loads(taken["p:deep"]["string"])
    assert deep["a"][1] == {"secure": "x", "b": 1}
    for text, ciphertext in (("one", taken["p:one"]["string"]), ("deep", deep["a"][0]["secure"])):
        assert api.post(path + "/decrypt", {"ciphertext": ciphertext})["plaintext"] == plain(text)


def test_numbers_and_escapes_stay(here):
    server, api = here
    text = '{"version":3,"deployment":{"manifest":{"time":"t","magic":"","version":""},"resources":[{"urn":"urn:x","n":[1.0,1e400,12345678901234567890],"s":"\\u00e9\\ud83d\\ude00"}]}}'
    folder = server.folder / "backend" / ".pulumi" / "stacks" / "p"
    folder.mkdir(parents=True)
    (folder.parent.parent / "meta.yaml").write_text("version: 1\n")
    (folder / "raw.json").write_text('{"version":3,"checkpoint":{"stack":"organization/p/raw","latest":' + text[text.index('{"manifest'):-1] + "}}")
    take(server, f"file://{server.folder}/backend", "--org", "acme")
    assert api.call("GET", "/api/stacks/acme/p/raw/export").text == text


def test_usage(here, tmp_path):
    server, _ = here
    assert "--from URL is missing" in subprocess.run([where.slipway(), "admin", "import", "--data", str(server.data)], capture_output=True, text=True).stderr
    assert "--org" in take(server, f"file://{tmp_path}", expect=2).stderr
    assert "must begin with" in take(server, "s3://bucket", expect=2).stderr
    assert "has used this folder" in take(server, f"file://{tmp_path}", "--org", "acme", expect=1).stderr
    (tmp_path / ".pulumi").mkdir()
    (tmp_path / ".pulumi" / "meta.yaml").write_text("version: 2\n")
    assert "no layout that this program knows" in take(server, f"file://{tmp_path}", "--org", "acme", expect=1).stderr
    (tmp_path / ".pulumi" / "meta.yaml").write_text("version: 1\n")
    assert "0 stacks, 0 versions taken" in take(server, f"file://{tmp_path}", "--org", "acme").stderr
