"""What "bad input" gets: a JSON error that names the field, and nothing changed. One test for each line."""
import json
import socket

import pytest
from helpers import programs
from helpers.api import path_of


@pytest.fixture
def stack_path(api, stack):
    api.create_stack(stack)
    return path_of(stack)


def deployments(api, stack_path):
    return api.get(f"{stack_path}/deployments")["total"]


@pytest.mark.parametrize("body", ["", "{", '{"operation":', '{"operation":"update"}}', '{"operation":"update",}', "[]", '"update"', "null",
                                  '{"operation":"update","operation', '{"operation":"\ud800"}'.encode("utf-8", "surrogatepass").decode("latin-1"),
                                  "[" * 5000])
def test_malformed_json(api, stack_path, body):
    api.refused(400, "POST", f"{stack_path}/deployments", data=body.encode("latin-1"), names="JSON")
    assert deployments(api, stack_path) == 0


def test_malformed_json_of_settings_changes_nothing(api, stack_path, stack):
    api.settings(stack, {"operationContext": {"environmentVariables": {"A": "1"}}})
    api.refused(400, "POST", f"{stack_path}/deployments/settings", data=b'{"operationContext":{"environmentVariables":{"A":"2"')
    assert api.get(f"{stack_path}/deployments/settings")["operationContext"]["environmentVariables"]["A"] == "1"


@pytest.mark.parametrize("method, tail, body", [
    ("POST", "/deployments", {"operation": "update"}), ("GET", "/deployments", ...), ("GET", "", ...), ("GET", "/export", ...),
    ("POST", "/deployments/settings", {}), ("GET", "/deployments/settings", ...), ("POST", "/update", {}), ("GET", "/updates", ...),
    ("POST", "/encrypt", {"plaintext": "YQ=="}), ("DELETE", "", ...)])
def test_unknown_stack(api, method, tail, body):
    api.refused(404, method, f"/api/stacks/acme/no-such-project/dev{tail}", body)


def test_unknown_stack_is_not_made_by_asking(api, stack, project):
    api.refused(404, "POST", path_of(stack) + "/deployments", {"operation": "update"})
    api.refused(404, "GET", path_of(stack))
    assert project not in json.dumps(api.get(f"/api/user/stacks?project={project}"))


@pytest.mark.parametrize("body", [{}, {"operation": ""}, {"operation": None}, {"operation": "up"}, {"operation": 7}, {"operation": ["update"]}])
def test_missing_or_wrong_operation(api, stack_path, body):
    api.refused(400, "POST", f"{stack_path}/deployments", body, names="operation")
    assert deployments(api, stack_path) == 0


def test_nested_operation(api, stack_path):
    api.refused(400, "POST", f"{stack_path}/deployments", {"operationContext": {"operation": "update"}}, names="operation")
    assert deployments(api, stack_path) == 0


def test_commit_and_branch_together(api, stack_path):
    git = {"repoUrl": "https://example.invalid/a.git", "branch": "main", "commit": "0" * 40}
    message = api.refused(400, "POST", f"{stack_path}/deployments", {"operation": "update", "sourceContext": {"git": git}}, names="commit")
    assert "branch" in message
    assert deployments(api, stack_path) == 0


def test_commit_and_branch_together_in_settings(api, stack_path):
    git = {"repoUrl": "https://example.invalid/a.git", "branch": "main", "commit": "0" * 40}
    api.refused(400, "POST", f"{stack_path}/deployments/settings", {"sourceContext": {"git": git}}, names="commit")
    api.refused(404, "GET", f"{stack_path}/deployments/settings")


@pytest.mark.parametrize("body, field", [
    ({"operation": "update", "operationContext": "no object"}, "operationContext"),
    ({"operation": "update", "operationContext": {"preRunCommands": "ls"}}, "preRunCommands"),
    ({"operation": "update", "operationContext": {"preRunCommands": [1]}}, "preRunCommands"),
    ({"operation": "update", "operationContext": {"environmentVariables": {"A": 1}}}, "environmentVariables"),
    ({"operation": "update", "operationContext": {"options": {"skipInstallDependencies": "yes"}}}, "skipInstallDependencies"),
    ({"operation": "update", "inheritSettings": "yes"}, "inheritSettings"),
    ({"operation": "update", "sourceContext": {"git": {"repoUrl": 5}}}, "repoUrl"),
])
def test_wrong_type_is_named(api, stack_path, body, field):
    api.refused(400, "POST", f"{stack_path}/deployments", body, names=field)
    assert deployments(api, stack_path) == 0


def test_body_over_its_limit(api, stack_path):
    huge = b'{"operation":"update","operationContext":{"preRunCommands":["' + b"x" * (8 << 20) + b'"]}}'
    api.refused(413, "POST", f"{stack_path}/deployments", data=huge)
    assert deployments(api, stack_path) == 0


@pytest.mark.parametrize("how", ["length", "chunked"])
def test_body_over_its_limit_of_a_client_that_reads_while_it_writes(dev, stack_path, how):
    """As Go's client: it writes on, does not ask before, and takes the answer when it comes; a reset would hide it."""
    import threading
    piece, count = b"x" * 65536, 512
    head = f"Content-Length: {len(piece) * count}" if how == "length" else "Transfer-Encoding: chunked"
    with socket.create_connection(("127.0.0.1", dev.port), 10) as s:
        s.settimeout(30)
        s.sendall((f"POST {stack_path}/deployments HTTP/1.1\r\nHost: x\r\nAuthorization: token {dev.token}\r\n"
                   f"Content-Type: application/json\r\n{head}\r\n\r\n").encode())
        broken = []

        def write():
            try:
                for _ in range(count):
                    s.sendall(piece if how == "length" else b"%x\r\n%s\r\n" % (len(piece), piece))
                if how == "chunked":
                    s.sendall(b"0\r\n\r\n")
            except OSError as error:
                broken.append(error)

        writer = threading.Thread(target=write)
        writer.start()
        answer = b""
        while b"\r\n\r\n" not in answer or len(answer.split(b"\r\n\r\n", 1)[1]) < length_of(answer):
            part = s.recv(65536)
            assert part, f"closed after {answer!r}"
            answer += part
        writer.join(30)
    assert b" 413 " in answer.split(b"\r\n")[0] and json.loads(answer.split(b"\r\n\r\n", 1)[1])["code"] == 413, answer
    assert not broken, "the rest of the body is taken, so that no reset overtakes the answer"


def length_of(answer: bytes) -> int:
    lengths = [line.split(b":")[1] for line in answer.split(b"\r\n\r\n", 1)[0].lower().split(b"\r\n") if line.startswith(b"content-length:")]
    return int(lengths[0])


def test_body_that_inflates_over_its_limit(api, stack_path):
    huge = b'{"operation":"update","operationContext":{"preRunCommands":["' + b"x" * (64 << 20) + b'"]}}'
    api.refused(413, "POST", f"{stack_path}/deployments", data=huge, zipped=True)
    assert deployments(api, stack_path) == 0


def test_body_that_says_gzip_and_is_not(api, stack_path):
    api.refused(400, "POST", f"{stack_path}/deployments", data=b'{"operation":"update"}', headers={"Content-Encoding": "gzip"})


def test_unknown_content_encoding(api, stack_path):
    answer = api.call("POST", f"{stack_path}/deployments", data=b"x", headers={"Content-Encoding": "br"})
    assert answer.status_code in (400, 415) and answer.json()["code"] == answer.status_code


def test_large_body_of_a_stranger_is_not_read(dev, stack_path):
    """A body past 64 KiB is authenticated before it is read: the answer comes without the body having been sent."""
    with socket.create_connection(("127.0.0.1", dev.port), 10) as s:
        s.settimeout(20)
        s.sendall((f"POST {stack_path}/import HTTP/1.1\r\nHost: x\r\nAuthorization: token pul-wrong\r\nContent-Type: application/json\r\n"
                   f"Content-Length: {1 << 20}\r\nExpect: 100-continue\r\n\r\n").encode())
        answer = s.recv(4096)
    assert b" 401 " in answer.split(b"\r\n")[0], answer


@pytest.mark.parametrize("token", ["", "x", "pul-0000000000000000000000000000000000000000", "pul-" + "9" * 5000, "pul-\u00e9"])
def test_bad_token(api, stack_path, token):
    answer = api.with_token(None).call("GET", stack_path, headers={"Authorization": f"token {token}".encode("latin-1")})
    assert answer.status_code == 401 and answer.json()["code"] == 401, answer.text


@pytest.mark.parametrize("scheme", ["Bearer", "Basic", "update-token", "nonsense"])
def test_good_token_with_another_scheme(dev, stack_path, scheme):
    answer = dev.api().with_token(dev.token, scheme).call("GET", stack_path)
    assert answer.status_code in (401, 200 if scheme == "Bearer" else 401), answer.text


def test_another_organizations_stack(dev, api, stack_path, stack, project):
    """Who is not in the organization cannot tell its stacks from ones that do not exist."""
    name = f"org-{project}"
    dev.admin("org", "add", name)
    other = dev.user(f"user-{project}", org=name)
    absent = other.refused(404, "GET", f"/api/stacks/acme/{project}/no-such-stack")
    for method, tail, body in [("GET", "", ...), ("GET", "/export", ...), ("POST", "/deployments", {"operation": "update"}),
                               ("GET", "/deployments", ...), ("POST", "/deployments/settings", {}), ("DELETE", "", ...),
                               ("POST", "/update", {}), ("POST", "/decrypt", {"ciphertext": "YQ=="})]:
        message = other.refused(404, method, stack_path + tail, body)
        if method == "GET" and not tail:
            assert message.replace("no-such-stack", "dev") == absent.replace("no-such-stack", "dev"), "the answers differ"
    other.refused(404, "POST", f"/api/stacks/acme/{project}", {"stackName": "mine"})
    assert api.get(stack_path)["stackName"] == "dev"
    assert project not in json.dumps(other.get("/api/user/stacks"))


def test_repository_that_does_not_exist(api, stack, stack_path, tmp_path):
    done, log = api.run(stack, expect="failed", sourceContext={"git": {"repoUrl": (tmp_path / "nowhere.git").as_uri(), "branch": "main"}})
    step = next(s for s in done["jobs"][0]["steps"] if s["name"] == "Get source")
    assert step["status"] == "failed"
    text = log.split("== Get source\n", 1)[1].split("\n== ", 1)[0]
    assert "nowhere.git" in text and ("not exist" in text or "not found" in text or "does not appear to be a git repository" in text), text
    assert not any(s["status"] == "succeeded" and s["name"].startswith("pulumi") for s in done["jobs"][0]["steps"])
    assert api.get(f"{stack_path}/deployments/{done['id']}/updates") == []


def test_repository_that_does_not_exist_on_a_server(api, stack, stack_path, http_git):
    """Over http, with credentials that the server takes: it answers 404."""
    url = f"http://127.0.0.1:{http_git.server.server_port}/nowhere.git"
    auth = {"basicAuth": {"userName": http_git.user, "password": {"secret": http_git.password}}}
    done, log = api.run(stack, expect="failed", sourceContext={"git": {"repoUrl": url, "branch": "main", "gitAuth": auth}})
    assert [s["status"] for s in done["jobs"][0]["steps"] if s["name"] == "Get source"] == ["failed"]
    text = log.split("== Get source\n", 1)[1].split("\n== ", 1)[0]
    assert "nowhere.git" in text and "not found" in text, text
    assert http_git.password not in log


def test_branch_that_does_not_exist(api, stack, stack_path, repo):
    repo.commit(programs.stash("p"))
    done, log = api.run(stack, expect="failed", sourceContext={"git": {"repoUrl": repo.url, "branch": "no-such-branch"}})
    assert next(s for s in done["jobs"][0]["steps"] if s["name"] == "Get source")["status"] == "failed"
    assert "no-such-branch" in log


def test_folder_that_does_not_exist(api, stack, stack_path, repo):
    repo.commit(programs.stash("p"))
    done, log = api.run(stack, expect="failed", sourceContext={"git": {"repoUrl": repo.url, "branch": "main", "repoDir": "no/such/dir"}})
    assert "no/such/dir" in log


@pytest.mark.parametrize("folder", ["../..", "/etc", "a/../../..", "link"])
def test_folder_outside_of_the_repository(api, stack, stack_path, repo, folder):
    (repo.tree / "link").symlink_to("/etc")
    repo.commit(programs.stash("p"))
    source = {"git": {"repoUrl": repo.url, "branch": "main", "repoDir": folder}}
    answer = api.call("POST", f"{stack_path}/deployments", {"operation": "update", "sourceContext": source})
    if answer.status_code == 400:
        assert "repoDir" in answer.json()["message"]
        return
    done = api.wait_status(stack, answer.json()["id"])
    assert done["status"] == "failed"


def test_program_that_fails(api, stack, stack_path, repo, project):
    repo.commit(programs.failing(project))
    done, log = api.run(stack, expect="failed", sourceContext={"git": {"repoUrl": repo.url, "branch": "main"}})
    steps = {s["name"]: s["status"] for s in done["jobs"][0]["steps"]}
    assert steps["Get source"] == "succeeded" and steps["pulumi update"] == "failed", steps
    assert "fn::fromBase64" in log, log
    updates = api.get(f"{stack_path}/deployments/{done['id']}/updates")
    assert [u["result"] for u in updates] == ["failed"], updates
    # The stack can be used again.
    repo.commit(programs.stash(project))
    api.run(stack, sourceContext={"git": {"repoUrl": repo.url, "branch": "main"}})


def test_program_of_another_project(api, stack, project, stack_path, repo):
    repo.commit(programs.stash("another-project"))
    done, log = api.run(stack, expect="failed", sourceContext={"git": {"repoUrl": repo.url, "branch": "main"}})
    assert f"project name \"{project}\" doesn't match Pulumi.yaml" in log


def test_prerun_command_that_fails(api, stack, stack_path, repo, project):
    repo.commit(programs.stash(project))
    done, log = api.run(stack, expect="failed", sourceContext={"git": {"repoUrl": repo.url, "branch": "main"}},
                        operationContext={"preRunCommands": ["echo one", "echo to-stderr >&2; exit 7", "echo three"]})
    steps = {s["name"]: s["status"] for s in done["jobs"][0]["steps"]}
    assert steps["Pre-run command 1"] == "succeeded" and steps["Pre-run command 2"] == "failed", steps
    assert steps.get("Pre-run command 3", "not-started") == "not-started"
    assert "to-stderr" in log and "7" in log.split("to-stderr\n")[-1] and "three\n" not in log


def test_an_image_on_a_runner_without_containers(api, stack, stack_path, repo, project):
    repo.commit(programs.stash(project))
    done, log = api.run(stack, expect="failed", sourceContext={"git": {"repoUrl": repo.url, "branch": "main"}},
                        executorContext={"executorImage": "example.invalid/image:1"})
    assert done["jobs"][0]["steps"][0]["name"] == "Setup" and done["jobs"][0]["steps"][0]["status"] == "failed"
    assert "image" in log


@pytest.mark.parametrize("source, word", [({"template": {"sourceUrl": "registry://templates/a/b/c"}}, "template"),
                                          ({"hg": {"repoUrl": "https://example.invalid/hg"}}, "hg")])
def test_sources_that_are_not_built_yet(api, stack, stack_path, source, word):
    done, log = api.run(stack, expect="failed", sourceContext=source)
    assert next(s for s in done["jobs"][0]["steps"] if s["name"] == "Get source")["status"] == "failed"


@pytest.mark.parametrize("url", ["ext::sh -c 'touch /tmp/slipway-owned'", "--upload-pack=touch /tmp/slipway-owned", "fd::3",
                                 "-oProxyCommand=x", "ssh://-oProxyCommand=x/y"])
def test_hostile_repository_urls(api, stack, stack_path, url):
    answer = api.call("POST", f"{stack_path}/deployments", {"operation": "update", "sourceContext": {"git": {"repoUrl": url, "branch": "main"}}})
    if answer.status_code == 400:
        assert "repoUrl" in answer.json()["message"]
        return
    done = api.wait_status(stack, answer.json()["id"])
    assert done["status"] == "failed"
    import os
    assert not os.path.exists("/tmp/slipway-owned")


@pytest.mark.parametrize("query", ["pageSize=0", "pageSize=101", "page=0", "pageSize=x", "page=-1", "pageSize=99999999999999999999"])
def test_pages_out_of_bounds(api, stack_path, query):
    api.refused(400, "GET", f"{stack_path}/deployments?{query}", names=query.split("=")[0])


@pytest.mark.parametrize("count", ["0", "500", "x", "-1"])
def test_log_count_out_of_bounds(api, stack, stack_path, count):
    made = api.deploy(stack, "preview", sourceContext={"git": {"repoUrl": "file:///nonexistent.git", "branch": "main"}})
    api.refused(400, "GET", f"{stack_path}/deployments/{made['id']}/logs?job=0&step=0&offset=0&count={count}")


@pytest.mark.parametrize("id", ["0", "no-such-id", "00000000-0000-0000-0000-000000000000", "version/99", "version/x", "a%00b", "a%2fb"])
def test_unknown_deployment(api, stack_path, id):
    answer = api.call("GET", f"{stack_path}/deployments/{id}")
    assert answer.status_code in (400, 404) and answer.json()["code"] == answer.status_code, answer.text


def test_deployment_of_another_stack(api, stack, stack_path, project):
    api.create_stack(f"acme/{project}/other")
    made = api.deploy(stack, "preview", sourceContext={"git": {"repoUrl": "file:///nonexistent.git", "branch": "main"}})
    api.refused(404, "GET", f"/api/stacks/acme/{project}/other/deployments/{made['id']}")
    api.refused(404, "POST", f"/api/stacks/acme/{project}/other/deployments/{made['id']}/cancel")


def test_invalid_pool(api, stack, stack_path):
    api.refused(400, "POST", f"{stack_path}/deployments/settings", {"agentPoolID": "00000000-0000-0000-0000-000000000000"}, names="agentPoolID")
    api.refused(404, "GET", f"{stack_path}/deployments/settings")


@pytest.mark.parametrize("name", ["", "a b", "a/b", "ü", "x" * 101, "..", None, 5])
def test_invalid_stack_name(api, project, name):
    api.refused(400, "POST", f"/api/stacks/acme/{project}", {"stackName": name}, names="stackName")


def test_unknown_route(api):
    api.refused(404, "GET", "/api/no/such/route")
    api.refused(404, "GET", "/api/../../etc/passwd")


def test_wrong_method(api, stack_path):
    api.refused(405, "PATCH", f"{stack_path}/deployments/settings", {})


def test_unknown_fields_are_named_not_refused(api, stack, stack_path):
    body = {"operation": "preview", "surprise": 1, "operationContext": {"more": True},
            "sourceContext": {"git": {"repoUrl": "file:///nonexistent.git", "branch": "main"}}}
    answer = api.call("POST", f"{stack_path}/deployments", body)
    assert answer.status_code == 202, answer.text
    ignored = answer.headers["Slipway-Ignored"]
    assert "/surprise" in ignored and "/operationContext/more" in ignored
    before = deployments(api, stack_path)
    api.refused(400, "POST", f"{stack_path}/deployments", body, headers={"Prefer": "handling=strict"}, names="surprise")
    assert deployments(api, stack_path) == before
