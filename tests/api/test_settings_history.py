"""The history of deployment settings: who changed what and when; secrets are never in it."""
import sqlite3
import threading

import pytest
from helpers.access import STACK, Organization
from helpers.api import path_of

GIT = {"git": {"repoUrl": "https://example.invalid/shop.git", "branch": "main"}}


def variables(**values):
    return {"operationContext": {"environmentVariables": values}}


@pytest.fixture
def path(api, stack):
    api.create_stack(stack)
    return path_of(stack) + "/deployments/settings"


def history(api, path, query=""):
    return api.get(f"{path}/history{query}")["history"]


def changes(api, path):
    """Of the newest version: path -> the rest of its entry."""
    found = history(api, path)[0]["changes"]
    assert len({c["path"] for c in found}) == len(found)
    return {c.pop("path"): c for c in found}


def test_nothing_was_saved_yet(api, path):
    assert api.get(path + "/history") == {"history": [], "itemsPerPage": 10, "total": 0}
    api.refused(404, "GET", path + "/history/1", names="version 1")


def test_what_changed(api, path):
    api.post(path, {"sourceContext": GIT, "operationContext": {"preRunCommands": ["a"]}, "tag": "x"})
    assert changes(api, path) == {
        "/sourceContext/git/repoUrl": {"change": "added", "new": GIT["git"]["repoUrl"]},
        "/sourceContext/git/branch": {"change": "added", "new": "main"},
        "/operationContext/preRunCommands": {"change": "added", "new": ["a"]},
        "/tag": {"change": "added", "new": "x"}}
    api.post(path, {"sourceContext": {"git": {"branch": "next"}}, "operationContext": {"preRunCommands": ["a", "b"]}, "tag": None})
    assert changes(api, path) == {
        "/sourceContext/git/branch": {"change": "changed", "old": "main", "new": "next"},
        "/operationContext/preRunCommands": {"change": "changed", "old": ["a"], "new": ["a", "b"]},
        "/tag": {"change": "removed", "old": "x"}}
    api.post(path, {"sourceContext": {"git": {"branch": "next"}}})
    assert changes(api, path) == {}
    api.ok("PUT", path, {"cacheOptions": {}})
    assert changes(api, path) == {
        "/cacheOptions": {"change": "added", "new": {}},
        "/sourceContext/git/repoUrl": {"change": "removed", "old": GIT["git"]["repoUrl"]},
        "/sourceContext/git/branch": {"change": "removed", "old": "next"},
        "/operationContext/preRunCommands": {"change": "removed", "old": ["a", "b"]}}


def test_names_are_json_pointers_and_an_image_changes_its_shape(api, path):
    api.post(path, {"executorContext": {"executorImage": "a:1"}})
    api.post(path, {"executorContext": {"executorImage": {"reference": "b:2", "credentials": {"username": "u", "password": "hunter2"}}}})
    found = history(api, path)[0]["changes"]
    assert [c["path"] for c in found] == ["/executorContext/executorImage"] and found[0]["old"] == "a:1"
    assert found[0]["new"]["reference"] == "b:2" and found[0]["new"]["credentials"]["password"]["secret"] == "[secret]"
    assert "hunter2" not in str(found)


def test_secrets_are_only_said_to_have_changed(api, path):
    api.post(path, variables(TOKEN={"secret": "first-secret"}, OTHER={"secret": "other-secret"}, PLAIN="p"))
    api.post(path, variables(TOKEN={"secret": "second-secret"}, OTHER={"secret": "other-secret"}, NEW={"secret": "third-secret"}))
    prefix = "/operationContext/environmentVariables/"
    # OTHER was sealed anew with the value that it had.
    assert changes(api, path) == {prefix + "TOKEN": {"change": "changed", "secret": True}, prefix + "NEW": {"change": "added", "secret": True}}
    api.post(path, variables(TOKEN=None))
    assert changes(api, path) == {prefix + "TOKEN": {"change": "removed", "secret": True}}
    for query in ("", "/1", "/2", "/3"):
        text = api.call("GET", f"{path}/history{query}").text
        assert not [w for w in ("first-secret", "second-secret", "third-secret", "other-secret") if w in text]
    assert api.get(path + "/history/1")["operationContext"]["environmentVariables"]["PLAIN"] == "p"


def test_what_became_a_secret_is_hidden_in_older_versions(api, path):
    api.post(path, variables(TOKEN="was-in-the-clear"))
    api.post(path, variables(TOKEN="again-in-the-clear"))
    api.post(path, variables(TOKEN={"secret": "again-in-the-clear"}))
    for query in ("", "/1", "/2", "/3"):
        assert "in-the-clear" not in api.call("GET", f"{path}/history{query}").text, query
    assert api.get(path + "/history/1")["operationContext"]["environmentVariables"]["TOKEN"] == {"secret": "[secret]"}
    api.ok("DELETE", path)
    assert "in-the-clear" not in api.call("GET", path + "/history").text


def test_an_old_version_can_be_saved_again(api, path):
    api.post(path, variables(TOKEN={"secret": "kept"}, A="1"))
    api.ok("PUT", path, {"tag": "wrong"})
    api.ok("PUT", path, api.get(path + "/history/1"))
    assert api.get(path)["operationContext"] == api.get(path + "/history/1")["operationContext"]
    assert changes(api, path)["/operationContext/environmentVariables/TOKEN"] == {"change": "added", "secret": True}


def test_removing_is_an_entry_and_numbers_go_on(api, path):
    api.post(path, {"tag": "a"})
    api.ok("DELETE", path)
    assert [(h["version"], h["deleted"]) for h in history(api, path)] == [(2, True), (1, False)]
    assert changes(api, path) == {"/tag": {"change": "removed", "old": "a"}}
    api.refused(404, "GET", path + "/history/2", names="removed")
    assert api.post(path, {"tag": "b"})["version"] == 3
    assert changes(api, path) == {"/tag": {"change": "added", "new": "b"}}
    api.refused(404, "GET", path + "/history/no-number")
    api.refused(404, "GET", path + "/history/4")
    api.ok("DELETE", path)
    api.refused(404, "DELETE", path)
    assert api.get(path + "/history")["total"] == 4


def test_pages_and_retention(api, path):
    for n in range(104):
        api.post(path, {"tag": str(n)})
    first = api.get(path + "/history?pageSize=100")
    assert (first["total"], first["itemsPerPage"]) == (100, 100)
    assert [h["version"] for h in first["history"]] == list(range(104, 4, -1)), "the newest hundred, newest first"
    assert [h["version"] for h in history(api, path, "?page=10")] == list(range(14, 4, -1))
    assert history(api, path, "?page=11") == []
    assert all(len(h["changes"]) == 1 for h in first["history"][:-1])
    assert "changes" not in first["history"][-1], "what the oldest one changed is not known any more"
    assert api.get(path + "/history/5")["tag"] == "4"
    api.refused(404, "GET", path + "/history/4")
    for query in ("page=0", "pageSize=0", "pageSize=101", "page=x"):
        api.refused(400, "GET", f"{path}/history?{query}", names=query.split("=")[0])


def test_who(own):
    org = Organization(own, clock=None)
    path = org.stack + "/deployments/settings"
    org.write.post(path, {"tag": "by-write"}, headers={"X-Pulumi-Source": "provider"})
    org.machine("ci", admin=True).post(path, {"tag": "by-machine"})
    by = [(h["source"], h["changedBy"]) for h in history(org.read, path)]
    assert by[0] == ("api", {"tokenKind": "organization", "tokenName": "ci"})
    assert by[1][0] == "provider" and by[1][1]["githubLogin"] == "with-write" and by[1][1]["tokenKind"] == "personal"
    assert by[2][1]["githubLogin"] == "boss"
    for tail in ("", "/1"):
        org.deploy.refused(403, "GET", f"{path}/history{tail}")
        org.none.refused(404, "GET", f"{path}/history{tail}", names=f"stack '{STACK}'")
    # Words outlive the account.
    org.boss.ok("DELETE", "/api/orgs/acme/members/with-write")
    assert history(org.read, path)[1]["changedBy"]["githubLogin"] == "with-write"


def test_a_pool_that_goes_away_is_a_change(api, path):
    pool = api.post("/api/orgs/acme/agent-pools", {"name": f"pool-{path.split('/')[4]}"})["id"]
    api.post(path, {"agentPoolID": pool})
    assert changes(api, path) == {"/agentPoolID": {"change": "added", "new": pool}}
    assert api.get(path + "/history/1")["agentPoolID"] == pool
    api.ok("DELETE", f"/api/orgs/acme/agent-pools/{pool}?force=true")
    assert changes(api, path) == {"/agentPoolID": {"change": "removed", "old": pool}}
    assert api.get(path)["version"] == 2 == history(api, path)[0]["version"]
    assert api.post(path, {"tag": "a"})["version"] == 3


def test_it_goes_with_the_stack_and_stays_with_its_name(api, path, stack, project):
    api.post(path, {"tag": "a"})
    api.post(path_of(stack) + "/rename", {"newName": "other"})
    renamed = f"/api/stacks/acme/{project}/other"
    assert api.get(renamed + "/deployments/settings/history")["total"] == 1
    api.ok("DELETE", renamed)
    api.create_stack(f"acme/{project}/other")
    assert api.get(renamed + "/deployments/settings/history")["total"] == 0


def test_rotation_verify_and_backup_know_the_versions(own, stack, tmp_path):
    server = own(command="serve")
    server.admin("org", "add", "acme")
    api = server.user("operator", role="admin")
    api.create_stack(stack)
    path = path_of(stack) + "/deployments/settings"
    api.post(path, variables(TOKEN={"secret": "kept"}))
    api.post(path, variables(TOKEN={"secret": "other"}))
    server.admin("key", "rotate")
    assert server.admin("verify").stdout == ""
    assert changes(api, path)["/operationContext/environmentVariables/TOKEN"] == {"change": "changed", "secret": True}
    api.ok("PUT", path, api.get(path + "/history/1"))
    server.admin("backup", tmp_path / "b")
    server.stop()
    with sqlite3.connect(server.data / "slipway.db") as c:
        document = c.execute("SELECT document FROM settings_versions WHERE version = 1").fetchone()[0]
        assert "kept" not in document and "$sealed" in document
        c.execute("UPDATE settings_versions SET document = '{\"a\":{\"$sealed\":\"AAAA\"}}' WHERE version = 1")
    c.close()
    damaged = server.admin("verify", check=False)
    assert damaged.returncode == 1 and "version 1 of the deployment settings" in damaged.stdout


def test_many_at_once_lose_nothing(api, path):
    """Each of many who change one value at the same time finds it in the end, and a version of its own in the history."""
    faults = []

    def change(n):
        for step in range(8):
            answer = api.call("POST", path, variables(**{f"V{n}_{step}": str(step)}))
            if answer.status_code != 200:
                faults.append(answer.text)

    workers = [threading.Thread(target=change, args=(n,)) for n in range(8)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert not faults, faults[0]
    assert len(api.get(path)["operationContext"]["environmentVariables"]) == 64 and api.get(path)["version"] == 64
    entries = history(api, path, "?pageSize=100")
    assert [h["version"] for h in entries] == list(range(64, 0, -1))
    assert all(len(h["changes"]) == 1 and h["changes"][0]["change"] == "added" for h in entries)
    assert len({h["changes"][0]["path"] for h in entries}) == 64
