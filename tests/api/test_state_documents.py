"""Documents of the user: what goes in comes out, to the byte where that is promised; what cannot be is refused whole."""
import gzip
import json
import random

import pytest
import requests
from helpers.api import path_of

from test_state import SECRETS, apply, begin, created, journal, names, resource

MANIFEST = '"manifest":{"time":"2026-01-01T00:00:00Z","magic":"","version":""}'
# Numbers that no double holds, escapes, unusual Unicode, deep nesting.
ODD = ('{"big":123456789012345678901234567890,"one":1.0,"huge":1e400,"minus":-0,"e":1E+2,"esc":"\\u003cb\\u003e\\u0026\\u2028\\/","face":"\\ud83d\\ude00",'
       '"lone":"\\ud800","text":"é \u2603 \U0001f600","deep":' + "[" * 100 + "]" * 100 + ',"a":{"b":[null,true,false,""]}}')


@pytest.fixture
def path(api, stack):
    api.create_stack(stack)
    return path_of(stack)


def document(*resources):
    return ('{"version":3,"deployment":{' + MANIFEST + ',"resources":[' + ",".join(resources) + "]}}").encode()


def odd_resource(name="odd"):
    return '{"urn":"urn:pulumi:dev::p::t:i:T::' + name + '","custom":true,"type":"t:i:T","inputs":' + ODD + ', "outputs" : ' + ODD + "}"


def raw_export(api, path, encoding, version=""):
    """The bytes of an export as they are on the wire."""
    with requests.Session() as session:
        session.trust_env = False
        answer = session.get(f"{api.url}{path}/export{version}", stream=True, timeout=60,
                             headers={"Authorization": f"token {api.token}", "Accept-Encoding": encoding})
        assert answer.status_code == 200
        return answer.raw.read(decode_content=False), answer.headers.get("Content-Encoding")


@pytest.mark.parametrize("size", [0, 400_000])
def test_what_came_compressed_lies_as_it_came(api, path, size):
    filler = random.Random(1).randbytes(size).hex()
    text = document(odd_resource(), '{"urn":"u","custom":false,"type":"t","inputs":{"filler":"' + filler + '"}}')
    packed = gzip.compress(text, 9, mtime=12345)
    api.ok("POST", f"{path}/import", data=packed, headers={"Content-Encoding": "gzip"})
    assert raw_export(api, path, "gzip") == (packed, "gzip")
    assert raw_export(api, path, "identity") == (text, None)


def test_a_checkpoint_comes_out_as_it_went_in(api, path):
    update, lease = begin(api, path, journal=0)
    text = b' {"isInvalid":false, "version":3,"features":[],"deployment":{' + MANIFEST.encode() + b',"resources":[' + odd_resource().encode() + b"]}}\n"
    lease.ok("PATCH", f"{update}/checkpoint", data=text)
    lease.post(f"{update}/complete", {"status": "succeeded"})
    assert raw_export(api, path, "identity")[0] == text


def test_a_journal_leaves_the_text_of_others_alone(api, path):
    """One resource is removed, one is marked, one is added: whatever they hold stays as it was written."""
    api.ok("POST", f"{path}/import", data=document(odd_resource("gone"), odd_resource("marked"), odd_resource("kept")))
    update, lease = begin(api, path)
    entries = ('{"entries":[{"version":1,"kind":1,"sequenceID":1,"operationID":1,"removeOld":0,"removeNew":null},'
               '{"version":1,"kind":1,"sequenceID":2,"operationID":2,"removeOld":null,"removeNew":null,"deleteOld":1},'
               '{"version":1,"kind":1,"sequenceID":3,"operationID":3,"removeOld":null,"removeNew":null,"state":' + odd_resource("new") + "}]}")
    lease.ok("PATCH", f"{update}/journalentries", data=entries.encode(), zipped=True)
    for finished in (False, True):
        text = raw_export(api, path, "identity")[0].decode()
        assert odd_resource("new") + "," in text and odd_resource("kept") + "]" in text
        assert "::gone" not in text and text.count(ODD) == 6
        if not finished:
            lease.post(f"{update}/complete", {"status": "succeeded"})
    marked = next(r for r in json.loads(text)["deployment"]["resources"] if r["urn"].endswith("marked"))
    assert marked["delete"] is True


@pytest.mark.parametrize("body, words", [
    (b"{", "JSON"),
    (b"[]", "object"),
    (b"{}", "/version"),
    (b'{"version":5,"deployment":{}}', "/version"),
    (b'{"version":"3","deployment":{}}', "/version"),
    (b'{"version":3}', "/deployment"),
    (b'{"version":3,"deployment":null}', "/deployment"),
    (b'{"version":3,"deployment":[]}', "/deployment"),
    (b'{"version":3,"deployment":{"resources":{}}}', "/deployment/resources"),
    (b'{"version":3,"deployment":{"resources":[{"urn":"u"},{"id":"x"}]}}', "/deployment/resources/1/urn"),
    (b'{"version":3,"deployment":{"pending_operations":[{"type":"creating"}]}}', "/deployment/pending_operations/0/resource"),
    (b'{"version":3,"features":"x","deployment":{}}', "/features"),
    (b'{"version":3,"deployment":{"x":"\xff"}}', ""),
])
def test_a_state_that_cannot_be_is_refused(api, path, body, words):
    apply(api, path, resource(path, "a", 1))
    api.refused(400, "POST", f"{path}/import", data=body, names=words)
    update, lease = begin(api, path, journal=0)
    lease.refused(400, "PATCH", f"{update}/checkpoint", data=body, names=words)
    assert names(api, path) == ["a"]


@pytest.mark.parametrize("entry, words", [
    ({"kind": 10, "sequenceID": 1}, "/entries/1: kind"),
    ({"kind": "1", "sequenceID": 1}, "/entries/1: kind"),
    ({"kind": 1, "sequenceID": 0}, "/entries/1: sequenceID"),
    ({"kind": 1}, "/entries/1: sequenceID"),
    ({"kind": 1, "sequenceID": 1.5}, "/entries/1: sequenceID"),
    ({"kind": 1, "sequenceID": 1, "removeOld": "0"}, "/entries/1: removeOld"),
    ({"kind": 1, "sequenceID": 1, "state": []}, "/entries/1: state"),
    ({"kind": 5, "sequenceID": 1}, "/entries/1: newSnapshot"),
    ({"kind": 6, "sequenceID": 1}, "/entries/1: secretsProvider"),
    ([], "/entries/1"),
])
def test_a_journal_entry_that_cannot_be_is_refused(api, path, entry, words):
    update, lease = begin(api, path)
    lease.refused(400, "PATCH", f"{update}/journalentries", {"entries": [SECRETS, entry]}, names=words)
    lease.refused(400, "PATCH", f"{update}/journalentries", {"entries": None}, names="/entries")
    lease.post(f"{update}/complete", {"status": "succeeded"})
    assert "secrets_providers" not in api.get(f"{path}/export")["deployment"], "nothing of the refused batch was kept"


def test_versions(api, path):
    api.refused(404, "GET", f"{path}/export/1")
    apply(api, path, resource(path, "a", 1))
    api.ok("POST", f"{path}/import", data=document(odd_resource("b")))
    update, lease = begin(api, path)
    journal(lease, update, [SECRETS, *created(2, 1, resource(path, "c", 1))])
    assert [r["urn"][-1] for r in api.get(f"{path}/export/1")["deployment"]["resources"]] == ["a"]
    assert [r["urn"][-1] for r in api.get(f"{path}/export/2")["deployment"]["resources"]] == ["b"]
    assert [r["urn"][-1] for r in api.get(f"{path}/export/3")["deployment"]["resources"]] == ["c", "b"]
    lease.post(f"{update}/complete", {"status": "failed"})
    assert [r["urn"][-1] for r in api.get(f"{path}/export/3")["deployment"]["resources"]] == ["c", "b"]
    assert [u["version"] for u in api.get(f"{path}/updates")["updates"]] == [3, 2, 1]
    for bad in ("0", "-1", "x", "1.0"):
        api.refused(400, "GET", f"{path}/export/{bad}", names="version")


def test_an_update_without_a_journal_keeps_the_state(api, path):
    apply(api, path, resource(path, "a", 1))
    before = raw_export(api, path, "identity")
    update, lease = begin(api, path)
    assert raw_export(api, path, "identity") == before
    lease.post(f"{update}/complete", {"status": "failed"})
    assert raw_export(api, path, "identity") == before
    assert api.get(f"{path}/updates")["updates"][0]["resourceCount"] == 1


def secret(ciphertext):
    return {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270", "ciphertext": ciphertext}


def test_secrets_of_another_stack_are_not_taken_in(api, path, project):
    other = api.create_stack(f"acme/{project}/other")
    mine, foreign = (api.post(f"{p}/encrypt", {"plaintext": "eA=="})["ciphertext"] for p in (path, other))

    def state(ciphertext, provider="service"):
        return {"version": 3, "deployment": {"secrets_providers": {"type": provider}, "resources": [
            {"urn": "u", "type": "t", "inputs": {"a": [1, {"b": secret(mine)}]}, "outputs": {"x": {"y": [secret(ciphertext)]}}}]}}
    api.post(f"{path}/import", state(mine))
    for wrong in (foreign, "AAAA", "%"):
        api.refused(400, "POST", f"{path}/import", state(wrong), names="different stack")
    api.post(f"{path}/import", state("v1:abc", "passphrase"))
    assert api.get(path)["version"] == 2


def test_checkpoints_that_were_replaced_are_not_kept(own, stack):
    """Large ones lie in files: one per version, and none when the stack is gone."""
    server = own()
    api = server.api()
    path = api.create_stack(stack)

    def files():
        return sum(1 for f in (server.data / "blobs").rglob("*") if f.is_file())
    for version in range(2):
        update, lease = begin(api, path, journal=0)
        for i in range(5):
            filler = random.Random(version * 10 + i).randbytes(300_000).hex()
            state = {"isInvalid": False, "version": 3, "deployment": {"resources": [resource(path, "a", filler)]}}
            lease.ok("PATCH", f"{update}/checkpoint", state, status=204)
            assert files() == version + 1
            assert api.get(f"{path}/export")["deployment"]["resources"][0]["inputs"]["input"] == filler
        lease.post(f"{update}/complete", {"status": "succeeded"})
    api.get(f"{path}/export/1")
    api.ok("DELETE", f"{path}?force=true", status=204)
    assert files() == 0


def test_a_refused_state_leaves_no_file(own, stack):
    """A large one is written before the transaction that may refuse it."""
    server = own()
    api = server.api()
    path = api.create_stack(stack)

    def files():
        return sum(1 for f in (server.data / "blobs").rglob("*") if f.is_file())
    filler = random.Random(1).randbytes(300_000).hex()
    state = {"version": 3, "deployment": {"resources": [resource(path, "a", filler)]}}
    api.post(f"{path}/import", state)
    assert files() == 1, "large enough for a file"
    update, lease = begin(api, path)
    lease.refused(400, "PATCH", f"{update}/checkpoint", state, names="journal")
    lease.refused(400, "PATCH", f"{update}/checkpointverbatim", {"version": 3, "untypedDeployment": state, "sequenceNumber": 1}, names="journal")
    api.refused(409, "POST", f"{path}/import", state)
    org, project, name = stack.split("/")
    api.refused(409, "POST", f"/api/stacks/{org}/{project}", {"stackName": name, "state": state})
    lease.post(f"{update}/complete", {"status": "succeeded"})
    lease.refused(409, "PATCH", f"{update}/checkpoint", state)
    assert files() == 1


def test_rename_takes_the_urns_along(api, path, project):
    ref = {"4dabf18193072939515e22adb298388d": "5cf8f73096256a8f31e491e813e4eb8e", "urn": f"urn:pulumi:dev::{project}::t:i:T::a", "id": "a"}
    root = {"urn": f"urn:pulumi:dev::{project}::pulumi:pulumi:Stack::{project}-dev", "type": "pulumi:pulumi:Stack", "outputs": {"r": [ref]}}
    child = {"urn": f"urn:pulumi:dev::{project}::t:i:T::a", "type": "t:i:T", "parent": root["urn"], "dependencies": [root["urn"]],
             "propertyDependencies": {"k": [root["urn"]]}, "provider": f"urn:pulumi:dev::{project}::pulumi:providers:t::default::id-1",
             "inputs": {"text": root["urn"]}}
    foreign = {"urn": f"urn:pulumi:devel::{project}::t:i:T::b", "type": "t:i:T"}
    api.post(f"{path}/import", {"version": 3, "deployment": {"resources": [root, child, foreign],
                                                             "pending_operations": [{"resource": child, "type": "creating"}]}})
    api.refused(400, "POST", f"{path}/rename", {"newName": "dev"}, names="No rename")
    api.post(f"{path}/rename", {"newName": "prod", "newProject": f"{project}-x"})
    now = f"/api/stacks/acme/{project}-x/prod"
    deployment = api.get(f"{now}/export")["deployment"]
    new_root = f"urn:pulumi:prod::{project}-x::pulumi:pulumi:Stack::{project}-x-prod"
    got_root, got, got_foreign = deployment["resources"]
    assert got_root["urn"] == new_root and got_root["outputs"]["r"][0]["urn"] == f"urn:pulumi:prod::{project}-x::t:i:T::a"
    assert got["parent"] == new_root and got["dependencies"] == [new_root] and got["propertyDependencies"] == {"k": [new_root]}
    assert got["provider"] == f"urn:pulumi:prod::{project}-x::pulumi:providers:t::default::id-1"
    assert got["inputs"] == {"text": root["urn"]}, "a text of the user is no reference"
    assert got_foreign == foreign and deployment["pending_operations"][0]["resource"] == got
    history = api.get(f"{now}/updates")["updates"]
    assert [u["kind"] for u in history] == ["rename", "import"]

    assert api.get(path)["stackName"] == "prod", "the former name still leads there"
    api.create_stack(f"acme/{project}/dev")
    assert api.get(path)["stackName"] == "dev", "until a new stack has it"
    assert api.get(now)["stackName"] == "prod"
    assert "already exists" in api.refused(409, "POST", f"{now}/rename", {"newName": "dev", "newProject": project})


@pytest.mark.parametrize("large", [False, True])
def test_the_address_in_a_state_is_the_one_that_the_client_uses(own, stack, large):
    """The CLI asks for secrets at the address in the state, and has a token for no other."""
    def export(server, host):
        answer = server.api().call("GET", f"{path_of(stack)}/export", headers={"Host": host})
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert body["deployment"]["resources"][0]["inputs"] == json.loads(resource_text)["inputs"]
        return body["deployment"]["secrets_providers"]["state"]["url"]

    def save(server, url, kind="service"):
        provider = json.dumps({"type": kind, "state": {"url": url, "owner": "acme"}})
        text = '{"version":3,"deployment":{' + MANIFEST + f',"secrets_providers": {provider},"resources":[{resource_text}]' + "}}"
        server.api().ok("POST", f"{path_of(stack)}/import", data=gzip.compress(text.encode()), headers={"Content-Encoding": "gzip"})

    filler = random.Random(1).randbytes(400_000 if large else 0).hex()
    resource_text = odd_resource()[:-1] + ',"custom2":"' + filler + '"}'
    server = own()
    server.api().create_stack(stack)
    save(server, "http://elsewhere:1")
    assert export(server, "localhost:99") == "http://localhost:99"
    assert export(server, "no/host") == "http://elsewhere:1"
    save(server, "https://behind-a-proxy")
    assert export(server, "localhost:99") == "https://behind-a-proxy"
    save(server, "http://elsewhere:1", kind="passphrase")
    assert export(server, "localhost:99") == "http://elsewhere:1", "not ours"
    server.stop()
    server = own("--public-url", "https://slipway.example.com/ci", folder=server.folder)
    save(server, "http://elsewhere:1")
    assert export(server, "Slipway.Example.com") == "https://slipway.example.com/ci"
    assert export(server, "slipway.example.co") == export(server, "127.0.0.1:1") == "http://elsewhere:1", "who knows who that is"
