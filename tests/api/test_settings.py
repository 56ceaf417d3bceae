"""Deployment settings: create, merge, replace, forget; secrets go in and never come out."""
import pytest
from helpers.api import path_of

GIT = {"git": {"repoUrl": "https://example.invalid/shop.git", "branch": "main", "repoDir": "infra"}}


@pytest.fixture
def path(api, stack):
    api.create_stack(stack)
    return path_of(stack) + "/deployments/settings"


def test_none_yet(api, path):
    api.refused(404, "GET", path)


def test_post_creates_then_merges(api, path):
    api.post(path, {"sourceContext": GIT, "operationContext": {"preRunCommands": ["a", "b"], "environmentVariables": {"A": "1", "B": "2"}}})
    api.post(path, {"sourceContext": {"git": {"branch": "next"}},
                    "operationContext": {"preRunCommands": ["c"], "environmentVariables": {"A": None, "C": "3"}}})
    seen = api.get(path)
    assert seen["sourceContext"]["git"]["branch"] == "next"
    assert seen["sourceContext"]["git"]["repoUrl"] == GIT["git"]["repoUrl"] and seen["sourceContext"]["git"]["repoDir"] == "infra"
    assert seen["operationContext"]["preRunCommands"] == ["c"], "arrays replace"
    assert seen["operationContext"]["environmentVariables"] == {"B": "2", "C": "3"}, "null deletes, objects merge"


def test_post_answers_the_result(api, path):
    answer = api.post(path, {"sourceContext": GIT, "tag": "blue"})
    assert answer["sourceContext"]["git"]["branch"] == "main" and answer["tag"] == "blue"


def test_put_replaces(api, path):
    api.post(path, {"sourceContext": GIT, "tag": "blue"})
    api.ok("PUT", path, {"operationContext": {"preRunCommands": ["only"]}})
    seen = api.get(path)
    assert "tag" not in seen or not seen["tag"]
    assert not (seen.get("sourceContext") or {}).get("git")
    assert seen["operationContext"]["preRunCommands"] == ["only"]


def test_delete(api, path):
    api.post(path, {"tag": "blue"})
    api.ok("DELETE", path)
    api.refused(404, "GET", path)
    api.refused(404, "DELETE", path)


def test_repo_url_in_both_spellings(api, path):
    api.post(path, {"sourceContext": {"git": {"repoURL": "https://example.invalid/x.git", "branch": "main"}}})
    assert api.get(path)["sourceContext"]["git"]["repoUrl"] == "https://example.invalid/x.git"


def test_version_counts(api, path):
    first = api.post(path, {"tag": "a"})["version"]
    assert api.post(path, {"tag": "b"})["version"] == first + 1


SECRETS = {
    "sourceContext": {"git": {"repoUrl": "https://example.invalid/x.git", "branch": "main",
                              "gitAuth": {"basicAuth": {"userName": "robot", "password": {"secret": "secret-of-basic-auth"}}}}},
    "operationContext": {"environmentVariables": {"PLAIN": "visible", "TOKEN": {"secret": "secret-of-the-environment"},
                                                  "EXPLICIT": {"isSecret": True, "value": "secret-said-explicitly"}}},
}
HIDDEN = ("secret-of-basic-auth", "secret-of-the-environment", "secret-said-explicitly")


def test_secrets_come_back_redacted(api, path):
    answers = [api.call("POST", path, SECRETS), api.call("GET", path)]
    for answer in answers:
        assert answer.status_code == 200
        for value in HIDDEN:
            assert value not in answer.text
    seen = answers[1].json()["operationContext"]["environmentVariables"]
    assert seen["PLAIN"] == "visible"
    assert isinstance(seen["TOKEN"], dict) and seen["TOKEN"]["ciphertext"], seen["TOKEN"]
    assert isinstance(seen["EXPLICIT"], dict) and seen["EXPLICIT"]["ciphertext"]
    password = answers[1].json()["sourceContext"]["git"]["gitAuth"]["basicAuth"]["password"]
    assert password["ciphertext"]


def test_secrets_are_sealed_on_disk(own, stack):
    server = own()
    api = server.api()
    api.create_stack(stack)
    api.settings(stack, SECRETS)
    server.stop()
    for file in server.data.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            for value in HIDDEN:
                assert value.encode() not in content, f"{value} lies in {file.name}"
    for value in HIDDEN:
        assert value not in server.stderr()


def test_a_secret_read_back_and_written_again_keeps_its_value(api, path, stack, repo, project):
    """Seen from inside of a run, since nothing else may see it."""
    from helpers import programs
    repo.commit(programs.stash(project))
    api.post(path, {"sourceContext": {"git": {"repoUrl": repo.url, "branch": "main"}},
                    "operationContext": {"environmentVariables": {"TOKEN": {"secret": "still-the-same"}}}})
    api.ok("PUT", path, api.get(path))
    _, log = api.run(stack, "preview", operationContext={"preRunCommands": ['test "$TOKEN" = still-the-same && echo it-kept-its-value']})
    assert "it-kept-its-value" in log


def test_a_secret_of_another_stack_is_refused(api, path, project):
    """Ciphertext is bound to its owner: it cannot be carried to a stack whose runs one may watch."""
    api.post(path, SECRETS)
    stolen = api.get(path)["operationContext"]["environmentVariables"]["TOKEN"]
    api.create_stack(f"acme/{project}/thief")
    api.refused(400, "POST", f"/api/stacks/acme/{project}/thief/deployments/settings",
                {"operationContext": {"environmentVariables": {"TOKEN": {"ciphertext": stolen["ciphertext"]}}}})


def test_image_as_text_or_as_object(api, path):
    api.post(path, {"executorContext": {"executorImage": "example.invalid/a:1"}})
    assert api.get(path)["executorContext"]["executorImage"] in ("example.invalid/a:1", {"reference": "example.invalid/a:1"})
    api.post(path, {"executorContext": {"executorImage": {"reference": "example.invalid/b:2",
                                                          "credentials": {"username": "u", "password": {"secret": "image-secret"}}}}})
    answer = api.call("GET", path)
    assert answer.json()["executorContext"]["executorImage"]["reference"] == "example.invalid/b:2" and "image-secret" not in answer.text
    api.post(path, {"executorContext": {"executorImage": None}})
    assert not (api.get(path).get("executorContext") or {}).get("executorImage")


def test_settings_go_with_their_stack(api, path, stack):
    api.post(path, {"tag": "blue"})
    api.ok("DELETE", path_of(stack))
    api.create_stack(stack)
    api.refused(404, "GET", path)


def test_encrypt_for_older_clients(api, path):
    answer = api.post(path + "/encrypt", data=b'"plain text of an old client"')
    assert answer["ciphertext"] and "plain text" not in str(answer)


@pytest.mark.parametrize("text", [
    "{" + ",".join(['"tag":"a"'] * 90_000) + "}",
    "{" + ",".join(f'"u{n}":1' for n in range(90_000)) + "}",
    '{"operationContext":{"environmentVariables":{' + ",".join(f'"V{n:04}":{{"secret":"{"x" * 600}"}}' for n in range(1000)) + "}}}",
], ids=["one name again and again", "names that nobody knows", "as many variables as there may be"])
def test_a_document_with_many_members_takes_no_time(api, path, text):
    """Once each member was looked up from the document's beginning: a megabyte of them took minutes."""
    for method in ("PUT", "POST", "POST"):
        assert api.call(method, path, data=text.encode(), timeout=20).status_code == 200
    api.call("GET", path + "/history?pageSize=100", timeout=20)
    api.call("GET", path + "/history/1", timeout=20)
    assert api.call("POST", path[:path.rindex("/")], data=b'{"operation":"preview",' + text.encode()[1:], timeout=20).status_code in (202, 400)
