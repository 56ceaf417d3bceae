"""Resources of the newest states: of a stack, of one alone, and the search over an organization, which follows a moment later."""
import json
import random
import urllib.parse

import pytest
from helpers.access import Organization
from helpers.api import path_of
from helpers.waiting import wait_until

from test_state import SECRETS, apply, begin, created, journal, resource
from test_versions import SECRET, put, site, state


@pytest.fixture
def path(api, stack):
    api.create_stack(stack)
    return path_of(stack)


def bucket(path, name, **more):
    return {**resource(path, name, 1), "type": "aws:s3/bucket:Bucket", "urn": resource(path, name, 1)["urn"].replace("pulumi:index:Stash", "aws:s3/bucket:Bucket"),
            "id": f"bucket-{name}-0af3", **more}


def names_of(page):
    return [r["name"] for r in page["resources"]]


def listed(api, path, query=""):
    return names_of(api.get(f"{path}/resources{query}"))


def found(api, **query):
    return api.get("/api/orgs/acme/resources?" + urllib.parse.urlencode(query))


def indexed(api, path, names):
    """The search has seen the newest state of the stack."""
    _, _, _, org, project, name = path.split("/")
    wait_until(lambda: names_of(found(api, project=project, stack=name)) == names, 20, f"the search to find {names}")


def test_the_list_of_a_stack_shows_what_was_acknowledged(api, path):
    assert api.get(f"{path}/resources") == {"resources": [], "continuationToken": None}
    apply(api, path, resource(path, "a", 1), bucket(path, "b", protect=True, parent="urn:parent", modified="2026-01-02T03:04:05Z"))
    by_name = {r["name"]: r for r in api.get(f"{path}/resources")["resources"]}
    _, _, _, org, project, stack = path.split("/")
    assert by_name["b"] == {"urn": f"urn:pulumi:dev::{project}::aws:s3/bucket:Bucket::b", "type": "aws:s3/bucket:Bucket", "name": "b", "package": "aws",
                            "module": "s3/bucket", "project": project, "stack": "dev", "id": "bucket-b-0af3", "parent_urn": "urn:parent", "custom": True,
                            "external": False, "protected": True, "delete": False, "modified": "2026-01-02T03:04:05Z"}
    # Each further state at once: changed, gone, new.
    put(api, path, bucket(path, "b"), resource(path, "c", 1))
    assert listed(api, path) == ["b", "c"]
    assert api.get(f"{path}/resources")["resources"][0]["protected"] is False
    put(api, path)
    assert listed(api, path) == []


def test_a_urn_that_repeats(api, path):
    """What a replacement has left to delete stays in the state beside its successor."""
    put(api, path, resource(path, "a", "old", delete=True, id="old"), resource(path, "a", "new", id="new"), resource(path, "a", "older", delete=True, id="older"))
    assert [(r["id"], r["delete"]) for r in api.get(f"{path}/resources")["resources"]] == [("new", False), ("old", True), ("older", True)]
    urn = urllib.parse.quote(resource(path, "a", 1)["urn"])
    assert [api.get(f"{path}/resource?urn={urn}&ordinal={n}")["resource"]["id"] for n in range(3)] == ["new", "old", "older"]
    api.refused(404, "GET", f"{path}/resource?urn={urn}&ordinal=3", names="resource '")


def test_one_resource_with_its_values_and_closed_secrets(api, path):
    values = {"plain": 1.0, "big": 12345678901234567890, "hidden": SECRET, "deep": [{"x": SECRET, "y": "\\"}]}
    first = {**resource(path, "a", 1), "inputs": values, "outputs": {"all": SECRET}}
    put(api, path, first)
    put(api, path, {**first, "inputs": {"plain": 2}})
    urn = urllib.parse.quote(first["urn"])
    seen = api.call("GET", f"{path}/resource?urn={urn}&version=1")
    assert seen.json()["resource"]["inputs"] == {"plain": 1.0, "big": 12345678901234567890, "hidden": "[secret]", "deep": [{"x": "[secret]", "y": "\\"}]}
    assert seen.json()["resource"]["outputs"] == {"all": "[secret]"} and '"plain":1.0' in seen.text.replace(" ", "")
    assert SECRET["ciphertext"] not in seen.text
    assert api.get(f"{path}/resource?urn={urn}")["resource"]["inputs"] == {"plain": 2}
    api.refused(400, "GET", f"{path}/resource", names="urn")
    api.refused(404, "GET", f"{path}/resource?urn=urn:x", names="resource 'urn:x'")
    api.refused(404, "GET", f"{path}/resource?urn={urn}&version=7", names="version 7")


def test_a_secret_written_with_escapes_stays_closed(api, path):
    text = json.dumps(state({**resource(path, "a", 1), "inputs": {"hidden": SECRET}})).replace("1b47061264138c4ac30d75fd1eb44270", "\\u0031b47061264138c4ac30d75fd1eb44270")
    api.post(f"{path}/import", data=text.encode())
    seen = api.get(f"{path}/resource?urn={urllib.parse.quote(resource(path, 'a', 1)['urn'])}")
    assert seen["resource"]["inputs"] == {"hidden": "[secret]"}


def test_filters(api, path):
    put(api, path, resource(path, "a", 1), bucket(path, "logs"), bucket(path, "Logs-50%_x"), bucket(path, "other"))
    assert listed(api, path, "?type=aws:s3/bucket:Bucket") == ["Logs-50%_x", "logs", "other"]
    assert listed(api, path, "?type=AWS:*") == ["Logs-50%_x", "logs", "other"]
    assert listed(api, path, "?type=aws:s3/bucket") == [], "a type is the whole type"
    assert listed(api, path, "?type=" + urllib.parse.quote("%")) == [] == listed(api, path, "?type=_ws:s3/bucket:Bucket"), "LIKE's own signs mean nothing"
    assert listed(api, path, "?text=LOGS") == ["Logs-50%_x", "logs"]
    assert listed(api, path, "?text=" + urllib.parse.quote("50%_")) == ["Logs-50%_x"] and listed(api, path, "?text=" + urllib.parse.quote("5%x")) == []
    assert listed(api, path, "?text=bucket-logs-0af3") == ["logs"], "also by what the provider calls it"
    assert listed(api, path, "?urn=" + urllib.parse.quote(bucket(path, "other")["urn"])) == ["other"]
    assert listed(api, path, "?urn=*::other") == ["other"] and listed(api, path, "?urn=other") == []
    api.refused(400, "GET", f"{path}/resources?text=" + "x" * 2001, names="text")
    api.refused(400, "GET", f"{path}/resources?pageSize=0", names="pageSize")
    api.refused(400, "GET", f"{path}/resources?continuationToken=x", names="continuationToken")


def test_search_over_an_organization(api, project):
    paths = [api.create_stack(f"acme/{project}/{name}") for name in ("one", "three", "two")]
    for i, path in enumerate(paths):
        put(api, path, *[bucket(path, f"b{n}") for n in range(i + 1)])
        indexed(api, path, [f"b{n}" for n in range(i + 1)])
    assert [(r["stack"], r["name"]) for r in found(api, project=project, type="aws:*")["resources"]] == [
        ("one", "b0"), ("three", "b0"), ("three", "b1"), ("two", "b0"), ("two", "b1"), ("two", "b2")]
    assert [r["stack"] for r in found(api, project=project, text="::b1")["resources"]] == ["three", "two"]
    seen, token = [], ""
    for _ in range(4):
        page = found(api, project=project, pageSize=2, continuationToken=token)
        assert 0 < len(page["resources"]) <= 2
        seen += [(r["stack"], r["name"]) for r in page["resources"]]
        token = page["continuationToken"]
        if token is None:
            break
        assert token.replace("-", "").replace("_", "").isalnum(), "safe in a URL"
    assert seen == [("one", "b0"), ("three", "b0"), ("three", "b1"), ("two", "b0"), ("two", "b1"), ("two", "b2")]
    # The list follows names, and the stack's end.
    api.post(f"{paths[0]}/rename", {"newName": "zero"})
    assert found(api, project=project, stack="one")["resources"] == []
    wait_until(lambda: [r["stack"] for r in found(api, project=project, urn="urn:pulumi:zero::*")["resources"]] == ["zero"], 20, "the new URN")
    api.ok("DELETE", f"{paths[1]}?force=true")
    assert [r["stack"] for r in found(api, project=project)["resources"]] == ["two"] * 3 + ["zero"]


def test_who_is_no_member_finds_nothing(dev, api, path):
    put(api, path, bucket(path, "b"))
    indexed(api, path, ["b"])
    dev.admin("org", "add", "elsewhere", check=False)
    stranger = dev.user("stranger", org="elsewhere")
    for query in ("resources", "search/resources?query=b", "search/resourcesv2?query=b"):
        stranger.refused(404, "GET", f"/api/orgs/acme/{query}")
        assert stranger.get(f"/api/orgs/elsewhere/{query}")["resources"] == []
    stranger.refused(404, "GET", f"{path}/resources")
    stranger.refused(404, "GET", f"{path}/resource?urn=x")


def test_the_search_of_the_cli(api, path):
    put(api, path, resource(path, "a", 1), bucket(path, "logs"), bucket(path, "my logs"))
    indexed(api, path, ["logs", "my logs", "a"])
    project = path.split("/")[4]

    def v2(query, **more):
        return api.get("/api/orgs/acme/search/resourcesv2?" + urllib.parse.urlencode({"query": f"project:{project} {query}", **more}))

    for query, names in (("", ["logs", "my logs", "a"]), ("type:aws:s3/bucket:Bucket", ["logs", "my logs"]), ("package:pulumi", ["a"]), ("name:logs", ["logs"]),
                         ('name:"my logs"', ["my logs"]), ("stack:dev name:my*", ["my logs"]), ("logs my", ["my logs"]), ("aws:s3", ["logs", "my logs"]),
                         ("stack:prod", [])):
        assert names_of(v2(query)) == names, query
        assert v2(query)["total"] == len(names)
    first = v2("", size=2)
    assert names_of(first) == ["logs", "my logs"] and first["total"] == 3
    assert names_of(api.get(first["pagination"]["next"])) == ["a"] == names_of(v2("", size=2, page=2))
    assert "next" not in v2("", size=2, page=2)["pagination"]
    old = api.get(f"/api/orgs/acme/search/resources?query=project:{project}")
    assert old["total"] == 3 and old["query"] == f"project:{project}" and all(r["modified"] == "" and r["module"] for r in old["resources"])
    for query, name in (("modified:>2026", "modified"), ("type:a type:b", "type"), ("a b c d", "words"), ("x" * 2001, "query")):
        api.refused(400, "GET", "/api/orgs/acme/search/resourcesv2?" + urllib.parse.urlencode({"query": query}), names=name)
    api.refused(400, "GET", "/api/orgs/acme/search/resourcesv2?sort=name", names="sort")


def test_many_resources_are_written_in_steps(api, path):
    """More than go into one transaction; then only a few of them change, some go."""
    everything = [resource(path, f"r{i:04}", i) for i in range(1234)]
    put(api, path, *everything)

    def walk():
        seen, token = [], ""
        while token is not None:
            page = api.get(f"{path}/resources?pageSize=500&continuationToken={token}")
            seen += page["resources"]
            token = page["continuationToken"]
        return seen

    assert [r["name"] for r in walk()] == [f"r{i:04}" for i in range(1234)]
    everything[7]["protect"] = True
    put(api, path, *everything[:700])
    seen = walk()
    assert [r["name"] for r in seen] == [f"r{i:04}" for i in range(700)] and [r["name"] for r in seen if r["protected"]] == ["r0007"]


def test_a_running_update(api, path):
    """One with a journal changes the newest state at its end; one without at every step, and is waited for."""
    apply(api, path, resource(path, "a", 1))
    update, lease = begin(api, path)
    journal(lease, update, [SECRETS, *created(2, 1, resource(path, "b", 1))])
    assert listed(api, path) == ["a"]
    lease.post(f"{update}/complete", {"status": "failed"})
    assert listed(api, path) == ["a", "b"]
    update, lease = begin(api, path, journal=0)
    lease.ok("PATCH", f"{update}/checkpoint", state(resource(path, "c", 1)))
    assert listed(api, path) == ["a", "b"]
    lease.post(f"{update}/complete", {"status": "succeeded"})
    assert listed(api, path) == ["c"]


def test_the_list_is_made_anew_after_a_crash(own, clock, stack):
    """Killed before the ticker came to it: what is due stands in the database."""
    server, api = site(own, clock)
    path = api.create_stack(stack)
    for i in range(3):
        put(api, path, resource(path, f"r{i}", 1))
    server.kill()
    server = own(command="serve", folder=server.folder, clock=clock)
    indexed(server.api(api.token), path, ["r2"])


def test_the_search_shows_what_may_be_read(own):
    """Each by the levels on the stacks, as lists of stacks do; hidden ones do not even count."""
    org = Organization(own)
    hidden = org.boss.create_stack("acme/shop/hidden")
    org.boss.post(f"{hidden}/import", state(resource(hidden, "secret-plan", 1)))
    wait_until(lambda: len(org.boss.get("/api/orgs/acme/resources")["resources"]) == 2, 20, "the search to find both")
    for api, stacks in ((org.boss, ["dev", "hidden"]), (org.read, ["dev"]), (org.deploy, ["dev"]), (org.none, []), (org.machine("ci"), []),
                        (org.machine("ops", admin=True), ["dev", "hidden"])):
        assert [r["stack"] for r in api.get("/api/orgs/acme/resources")["resources"]] == stacks
        for name in ("search/resources", "search/resourcesv2"):
            answer = api.get(f"/api/orgs/acme/{name}")
            assert [r["stack"] for r in answer["resources"]] == stacks and answer["total"] == len(stacks)
    org.read.refused(404, "GET", f"{hidden}/resources", names="stack 'acme/shop/hidden'")
    org.grant("with-none", "read", "acme/shop/hidden")
    assert [r["stack"] for r in org.none.get("/api/orgs/acme/resources")["resources"]] == ["hidden"]
    # A run sees what its requester sees; one that nobody asked for, nothing beyond its stack.
    org.read.refused(404, "GET", "/api/orgs/elsewhere/resources")
    org.deploy.deploy("acme/shop/dev", "preview")
    _, _, run = org.claim()
    assert [r["stack"] for r in run.get("/api/orgs/acme/resources")["resources"]] == ["dev"]
    assert len(run.get(f"{org.stack}/resources")["resources"]) == 1


def test_a_state_that_cannot_be_read_stops_nothing(own, clock, stack, project):
    """Its blob is gone: said once in the log, its rows stay as they were, and the other stacks are listed."""
    server, api = site(own, clock)
    path = api.create_stack(stack)
    put(api, path, resource(path, "before", 1))
    indexed(api, path, ["before"])
    put(api, path, resource(path, "after", random.Random(3).randbytes(200_000).hex()))
    server.kill()  # within the half second
    for blob in (server.data / "blobs").rglob("*"):
        if blob.is_file():
            blob.unlink()
    server = own(command="serve", folder=server.folder, clock=clock)
    api = server.api(api.token)
    wait_until(lambda: "are not listed anew" in server.stderr(), 20, "the word in the log")
    other = api.create_stack(f"acme/{project}/other")
    put(api, other, resource(other, "fine", 1))
    indexed(api, other, ["fine"])
    assert listed(api, path) == ["before"] and server.stderr().count("are not listed anew") == 1
    put(api, path, resource(path, "again", 1))
    assert listed(api, path) == ["again"]
