"""The state backend as the CLI speaks it, without the CLI: what it retries, what it counts on, exact texts."""
import base64
import copy
import threading

import pytest
from helpers.api import path_of
from helpers.waiting import wait_until

MAGIC = {"time": "2026-01-01T00:00:00Z", "magic": "", "version": ""}


@pytest.fixture
def path(api, stack):
    api.create_stack(stack)
    return path_of(stack)


def begin(api, path, kind="update", dry_run=False, journal=1):
    """Creates and starts an update; returns (its path, a client with its lease)."""
    made = api.post(f"{path}/{kind}", {"name": "p", "runtime": "yaml", "main": "", "description": "", "config": {},
                                       "options": {"dryRun": dry_run, "localPolicyPackPaths": None, "color": "raw", "parallel": 4},
                                       "metadata": {"message": "a message", "environment": {"exec.kind": "cli"}}})
    update = f"{path}/update/{made['updateID']}"
    started = api.post(update, {"journalVersion": journal} if journal else {})
    assert started["token"] and isinstance(started["version"], int)
    if journal and not dry_run and kind != "preview":
        assert started["journalVersion"] == 1
    return update, api.with_token(started["token"], "update-token")


def resource(path, name, value, **more):
    _, _, _, org, project, stack = path.split("/")
    return {"urn": f"urn:pulumi:{stack}::{project}::pulumi:index:Stash::{name}", "custom": True, "id": name, "type": "pulumi:index:Stash",
            "inputs": {"input": value}, "outputs": {"input": value, "output": value}, **more}


SECRETS = {"version": 1, "kind": 6, "sequenceID": 1, "operationID": 0, "removeOld": None, "removeNew": None,
           "secretsProvider": {"type": "service", "state": {"url": "http://x", "owner": "acme", "project": "p", "stack": "dev"}}}


def created(sequence, operation, state):
    return [{"version": 1, "kind": 0, "sequenceID": sequence, "operationID": operation, "removeOld": None, "removeNew": None,
             "operation": {"resource": {k: v for k, v in state.items() if k != "outputs"}, "type": "creating"}},
            {"version": 1, "kind": 1, "sequenceID": sequence + 1, "operationID": operation, "removeOld": None, "removeNew": None, "state": state}]


def journal(lease, update, entries, zipped=True):
    import json
    lease.ok("PATCH", f"{update}/journalentries", data=json.dumps({"entries": entries}).encode(), zipped=zipped)


def names(api, path):
    return [r["urn"].split("::")[-1] for r in api.get(f"{path}/export")["deployment"].get("resources") or []]


def apply(api, path, *resources):
    """One whole update that creates these resources on an empty stack."""
    update, lease = begin(api, path)
    entries, at = [SECRETS], 2
    for i, state in enumerate(resources):
        entries += created(at, i + 1, state)
        at += 2
    journal(lease, update, entries)
    lease.post(f"{update}/complete", {"status": "succeeded"})
    return update, lease


def test_new_stack_exports_an_empty_deployment(api, path):
    seen = api.get(f"{path}/export")
    assert seen["version"] in (3, 4) and isinstance(seen["deployment"], dict)
    assert seen["deployment"]["manifest"]["magic"] == "" and not seen["deployment"].get("resources")


def test_stack_that_exists(api, stack):
    api.create_stack(stack)
    org, project, name = stack.split("/")
    assert "already exists" in api.refused(409, "POST", f"/api/stacks/{org}/{project}", {"stackName": name})


def test_project_exists(api, stack):
    org, project, _ = stack.split("/")
    assert api.call("HEAD", f"/api/stacks/{org}/{project}").status_code == 404
    api.create_stack(stack)
    answer = api.call("HEAD", f"/api/stacks/{org}/{project}")
    assert answer.status_code == 200 and not answer.content


def test_state_given_at_creation(api, stack):
    state = {"version": 3, "deployment": {"manifest": MAGIC, "secrets_providers": {"type": "passphrase", "state": {"salt": "v1:x"}}, "metadata": {}}}
    path = api.create_stack(stack, state=state)
    assert api.get(f"{path}/export")["deployment"]["secrets_providers"] == {"type": "passphrase", "state": {"salt": "v1:x"}}


def test_journal_to_state(api, path):
    apply(api, path, resource(path, "a", 1), resource(path, "b", "two"))
    assert names(api, path) == ["a", "b"]
    assert api.get(path)["version"] == 1
    seen = api.get(f"{path}/export")["deployment"]
    assert seen["secrets_providers"]["type"] == "service" and not seen.get("pending_operations")


def test_numbers_stay_as_they_were_written(api, path):
    update, lease = begin(api, path)
    text = ('{"entries":[{"version":1,"kind":6,"sequenceID":1,"operationID":0,"removeOld":null,"removeNew":null,"secretsProvider":{"type":"service"}},'
            '{"version":1,"kind":1,"sequenceID":2,"operationID":1,"removeOld":null,"removeNew":null,"state":{"urn":"urn:pulumi:dev::p::t:i:T::n","custom":true,'
            '"type":"t:i:T","inputs":{"a":1.0,"b":12345678901234567890123,"c":1e400,"d":-0.0,"e":0.1000},"outputs":{"x":"\\u003cb\\u003e \\ud83d\\ude00"}}}]}')
    lease.ok("PATCH", f"{update}/journalentries", data=text.encode())
    lease.post(f"{update}/complete", {"status": "succeeded"})
    raw = api.call("GET", f"{path}/export").text.replace(" ", "")
    assert '"a":1.0,' in raw and '"b":12345678901234567890123' in raw and '"c":1e400' in raw and '"d":-0.0' in raw and '"e":0.1000' in raw


def test_a_repeated_journal_batch_is_harmless(api, path):
    update, lease = begin(api, path)
    entries = [SECRETS, *created(2, 1, resource(path, "a", 1))]
    for _ in range(3):
        journal(lease, update, entries)
    journal(lease, update, entries[1:] + created(4, 2, resource(path, "b", 2)))
    lease.post(f"{update}/complete", {"status": "succeeded"})
    assert names(api, path) == ["a", "b"]


def test_journal_entries_out_of_order(api, path):
    update, lease = begin(api, path)
    entries = [SECRETS, *created(2, 1, resource(path, "a", 1)), *created(4, 2, resource(path, "b", 2))]
    journal(lease, update, entries[3:])
    journal(lease, update, list(reversed(entries[:3])), zipped=False)
    lease.post(f"{update}/complete", {"status": "succeeded"})
    assert names(api, path) == ["a", "b"]


def test_changes_and_removals(api, path):
    apply(api, path, resource(path, "a", 1), resource(path, "b", 2), resource(path, "c", 3))
    update, lease = begin(api, path)
    entry = {"version": 1, "operationID": 1, "removeOld": None, "removeNew": None}
    journal(lease, update, [copy.deepcopy(SECRETS),
                            {**entry, "kind": 0, "sequenceID": 2, "operation": {"resource": resource(path, "a", 1), "type": "updating"}},
                            {**entry, "kind": 1, "sequenceID": 3, "removeOld": 0, "state": resource(path, "a", 10)},
                            {**entry, "kind": 0, "sequenceID": 4, "operationID": 2, "operation": {"resource": resource(path, "b", 2), "type": "deleting"}},
                            {**entry, "kind": 1, "sequenceID": 5, "operationID": 2, "removeOld": 1}])
    lease.post(f"{update}/complete", {"status": "succeeded"})
    assert names(api, path) == ["a", "c"]
    assert api.get(f"{path}/export")["deployment"]["resources"][0]["inputs"] == {"input": 10}
    assert names_of_version(api, path, 1) == ["a", "b", "c"], "older versions stay readable"


def names_of_version(api, path, version):
    return [r["urn"].split("::")[-1] for r in api.get(f"{path}/export/{version}")["deployment"]["resources"]]


def test_export_during_an_update_shows_what_is_there(api, path):
    update, lease = begin(api, path)
    journal(lease, update, [SECRETS, *created(2, 1, resource(path, "a", 1)), created(4, 2, resource(path, "b", 2))[0]])
    assert names(api, path) == ["a"]
    pending = api.get(f"{path}/export")["deployment"]["pending_operations"]
    assert [p["type"] for p in pending] == ["creating"] and pending[0]["resource"]["urn"].endswith("::b")
    lease.post(f"{update}/complete", {"status": "failed"})
    assert names(api, path) == ["a"]


def test_full_checkpoints(api, path):
    update, lease = begin(api, path, journal=0)
    for count in (1, 2):
        lease.ok("PATCH", f"{update}/checkpoint", {"isInvalid": False, "version": 3, "deployment": {
            "manifest": MAGIC, "resources": [resource(path, f"r{i}", i) for i in range(count)]}}, zipped=False)
    lease.post(f"{update}/complete", {"status": "succeeded"})
    assert names(api, path) == ["r0", "r1"]


def test_complete_twice(api, path):
    update, lease = begin(api, path)
    journal(lease, update, [SECRETS, *created(2, 1, resource(path, "a", 1))])
    lease.post(f"{update}/complete", {"status": "succeeded"})
    lease.post(f"{update}/complete", {"status": "succeeded"})
    assert names(api, path) == ["a"] and api.get(path)["version"] == 1


def test_conflict_in_the_words_that_clients_match(api, path):
    update, lease = begin(api, path)
    second = api.post(f"{path}/update", {"name": "p", "runtime": "yaml", "options": {}, "metadata": {}, "config": {}})
    message = api.refused(409, "POST", f"{path}/update/{second['updateID']}", {"journalVersion": 1})
    assert message == "Conflict: Another update is currently in progress."
    lease.post(f"{update}/complete", {"status": "succeeded"})
    assert api.post(f"{path}/update/{second['updateID']}", {"journalVersion": 1})["token"]


def test_previews_hold_nothing(api, path):
    update, lease = begin(api, path)
    preview, preview_lease = begin(api, path, "preview")
    dry, dry_lease = begin(api, path, dry_run=True)
    for one, its in ((preview, preview_lease), (dry, dry_lease)):
        its.post(f"{one}/complete", {"status": "succeeded"})
    lease.post(f"{update}/complete", {"status": "succeeded"})
    assert [u["version"] for u in api.get(f"{path}/updates?pageSize=10&page=1")["updates"]] == [1], "previews are no history"


def test_history(api, path):
    apply(api, path, resource(path, "a", 1))
    update, lease = begin(api, path, "destroy")
    lease.post(f"{update}/complete", {"status": "failed"})
    newest, first = api.get(f"{path}/updates?pageSize=10&page=1")["updates"]
    assert (newest["kind"], newest["result"], newest["version"]) == ("destroy", "failed", 2)
    assert (first["kind"], first["result"], first["version"], first["message"]) == ("update", "succeeded", 1, "a message")
    assert isinstance(first["startTime"], int) and first["endTime"] >= first["startTime"] > 1_600_000_000
    assert first["environment"]["exec.kind"] == "cli"
    assert api.get(f"{path}/updates/latest")["info"]["version"] == 2


def test_delete_refuses_while_there_are_resources(api, path):
    apply(api, path, resource(path, "a", 1))
    assert api.refused(400, "DELETE", f"{path}?force=false") == "Bad Request: Stack still contains resources."
    api.ok("DELETE", f"{path}?force=true")
    api.refused(404, "GET", path)


def test_lease_is_needed_and_renewed(api, path):
    update, lease = begin(api, path)
    api.refused(401, "POST", f"{update}/complete", {"status": "succeeded"})
    lease.with_token("nonsense", "update-token").refused(401, "PATCH", f"{update}/journalentries", {"entries": [SECRETS]})
    renewed = lease.post(f"{update}/renew_lease", {"token": "", "duration": 300})
    assert renewed["token"]
    journal(lease, update, [SECRETS])
    api.with_token(renewed["token"], "update-token").post(f"{update}/complete", {"status": "succeeded"})


def test_a_renewed_lease_lasts_from_its_renewal(own, clock, stack):
    server = own("--lease", "5m", clock=clock)
    path = server.api().create_stack(stack)
    update, lease = begin(server.api(), path)
    for i in range(3):
        clock.advance(200)
        renewed = lease.post(f"{update}/renew_lease", {"token": "", "duration": 300})
        # A batch that was under way carries the token before: it counts for a little longer.
        journal(lease, update, [{**SECRETS, "sequenceID": 1 + 2 * i}])
        lease = server.api(renewed["token"])
        lease.scheme = "update-token"
        journal(lease, update, [{**SECRETS, "sequenceID": 2 + 2 * i}])
    clock.advance(250)
    lease.post(f"{update}/complete", {"status": "succeeded"})


def test_a_lease_is_for_its_update(api, path, project):
    update, lease = begin(api, path)
    other = api.create_stack(f"acme/{project}/other")
    foreign, foreign_lease = begin(api, other)
    answer = foreign_lease.call("PATCH", f"{update}/journalentries", {"entries": [SECRETS]})
    assert answer.status_code in (401, 403, 404)
    for one, its in ((update, lease), (foreign, foreign_lease)):
        its.post(f"{one}/complete", {"status": "succeeded"})


def test_events(api, path):
    update, lease = begin(api, path)
    events = [{"sequence": i, "timestamp": 1790000000, "diagnosticEvent": {"message": f"line {i}\n", "color": "raw", "severity": "info"}} for i in range(120)]
    for part in (events[50:100], events[:50], events[:50], events[100:]):
        lease.post(f"{update}/events/batch", {"events": part})
    running = api.get(f"{update}/events")
    assert running["continuationToken"], "an update that runs has more to come"
    lease.post(f"{update}/complete", {"status": "succeeded"})
    seen, token = [], None
    for _ in range(100):
        page = api.get(f"{update}/events" + (f"?continuationToken={token}" if token else ""))
        seen += page["events"]
        token = page.get("continuationToken")
        if token is None:
            break
    assert [e["sequence"] for e in seen] == list(range(120))
    assert seen[7]["diagnosticEvent"]["message"] == "line 7\n"


def test_cancel(api, path):
    update, lease = begin(api, path)
    journal(lease, update, [SECRETS, *created(2, 1, resource(path, "a", 1))])
    assert api.get(path)["activeUpdate"] == update.split("/")[-1]
    api.ok("POST", f"{update}/cancel")
    answer = lease.call("PATCH", f"{update}/journalentries", {"entries": created(4, 2, resource(path, "b", 2))})
    assert answer.status_code in (401, 403, 409)
    assert names(api, path) == ["a"], "what was acknowledged stays"
    apply_again, again = begin(api, path)
    again.post(f"{apply_again}/complete", {"status": "succeeded"})


def test_an_expired_lease_frees_the_stack(own, clock, stack):
    server = own("--lease", "5m", clock=clock)
    api = server.api()
    path = api.create_stack(stack)
    update, lease = begin(api, path)
    journal(lease, update, [SECRETS, *created(2, 1, resource(path, "a", 1)), created(4, 2, resource(path, "b", 2))[0]])
    clock.advance(400)
    wait_until(lambda: api.get(f"{path}/updates?pageSize=10&page=1")["updates"][0]["result"] == "failed", 15, "the update's end")
    assert names(api, path) == ["a"]
    assert lease.call("POST", f"{update}/complete", {"status": "succeeded"}).status_code in (401, 403, 409)
    again, its = begin(api, path)
    its.post(f"{again}/complete", {"status": "succeeded"})


# ---- secrets -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("plain", [b"x", b"\0\1\2\377" * 8, bytes(range(256)), b"a" * 100_000, b""],
                         ids=["short", "binary", "every-byte", "long", "empty"])
def test_encrypt_and_decrypt(api, path, plain):
    text = base64.b64encode(plain).decode()
    sealed = api.post(f"{path}/encrypt", {"plaintext": text})["ciphertext"]
    assert sealed and (len(plain) < 8 or plain not in base64.b64decode(sealed))
    assert api.post(f"{path}/decrypt", {"ciphertext": sealed})["plaintext"] == text
    assert api.post(f"{path}/encrypt", {"plaintext": text})["ciphertext"] != sealed, "a fresh nonce each time"


def test_batches(api, path):
    plain = [base64.b64encode(b"value %d" % i).decode() for i in range(1000)]
    import json
    sealed = api.post(f"{path}/batch-encrypt", data=json.dumps({"plaintexts": plain}).encode(), zipped=True)["ciphertexts"]
    assert len(sealed) == 1000
    opened = api.post(f"{path}/batch-decrypt", data=json.dumps({"ciphertexts": sealed + sealed[:3]}).encode(), zipped=True)["plaintexts"]
    assert [opened[c] for c in sealed] == plain
    assert api.post(f"{path}/batch-decrypt", {"ciphertexts": []})["plaintexts"] == {}


def test_ciphertext_of_another_stack(api, path, project):
    sealed = api.post(f"{path}/encrypt", {"plaintext": "YQ=="})["ciphertext"]
    other = api.create_stack(f"acme/{project}/other")
    api.refused(400, "POST", f"{other}/decrypt", {"ciphertext": sealed})


def test_damaged_ciphertext(api, path):
    sealed = bytearray(base64.b64decode(api.post(f"{path}/encrypt", {"plaintext": "YWJj"})["ciphertext"]))
    for at in (0, 1, len(sealed) // 2, len(sealed) - 1):
        broken = bytearray(sealed)
        broken[at] ^= 1
        api.refused(400, "POST", f"{path}/decrypt", {"ciphertext": base64.b64encode(broken).decode()})
    for text in ("", "!", "YQ==", None, 5):
        api.refused(400, "POST", f"{path}/decrypt", {"ciphertext": text})


# ---- import, tags, rename ----------------------------------------------------------------------------------------
def test_import(api, path):
    body = {"version": 3, "deployment": {"manifest": MAGIC, "resources": [resource(path, "a", 1)]}}
    made = api.post(f"{path}/import", body)
    seen = api.get(f"{path}/update/{made['updateId']}")
    assert seen["status"] == "succeeded" and seen.get("continuationToken") is None
    assert names(api, path) == ["a"]
    assert api.get(f"{path}/updates?pageSize=1&page=1")["updates"][0]["kind"] == "import"


@pytest.mark.parametrize("body", [{}, {"version": 3}, {"version": 99, "deployment": {}}, {"version": 3, "deployment": []},
                                  {"version": "3", "deployment": {}}])
def test_import_of_nonsense(api, path, body):
    api.refused(400, "POST", f"{path}/import", body)
    assert api.get(path).get("version", 0) == 0


def test_tags(api, path):
    api.ok("PATCH", f"{path}/tags", {"a": "1", "b": "2"})
    api.ok("PATCH", f"{path}/tags", {"c": "3"})
    assert api.get(path)["tags"] == {"c": "3"}
    api.ok("PATCH", f"{path}/tags", data=b"null")
    assert not api.get(path).get("tags")


def test_rename_keeps_secrets(api, path, project):
    sealed = api.post(f"{path}/encrypt", {"plaintext": "YWJj"})["ciphertext"]
    api.ok("POST", f"{path}/rename", {"newName": "prod", "newProject": project})
    moved = f"/api/stacks/acme/{project}/prod"
    assert api.get(moved)["stackName"] == "prod"
    assert api.post(f"{moved}/decrypt", {"ciphertext": sealed})["plaintext"] == "YWJj"


def test_list_of_stacks(api, project):
    for name in ("a", "b", "c"):
        api.create_stack(f"acme/{project}/{name}")
    seen = api.get(f"/api/user/stacks?project={project}")
    assert sorted(s["stackName"] for s in seen["stacks"]) == ["a", "b", "c"] and not seen.get("continuationToken")
    assert all(s["orgName"] == "acme" and s["projectName"] == project for s in seen["stacks"])


def test_large_state(api, path):
    """Forty megabytes, compressed and not, and out again as they came."""
    import json
    resources = [resource(path, f"r{i}", "x" * 8000 + str(i)) for i in range(2500)]
    body = json.dumps({"version": 3, "deployment": {"manifest": MAGIC, "resources": resources}}).encode()
    assert len(body) > 40_000_000
    for zipped in (False, True):
        made = api.post(f"{path}/import", data=body, zipped=zipped, timeout=120)
        assert api.get(f"{path}/update/{made['updateId']}")["status"] == "succeeded"
        seen = api.get(f"{path}/export", timeout=120)["deployment"]["resources"]
        assert len(seen) == 2500 and seen[2499]["inputs"]["input"].endswith("2499")


def test_many_clients_at_once(dev, project):
    """Group commit under load: every acknowledged stack is there, every secret opens."""
    failures = []

    def one(i):
        try:
            api = dev.api()
            path = api.create_stack(f"acme/{project}/s{i}")
            apply(api, path, resource(path, "a", i))
            assert names(api, path) == ["a"]
        except Exception as error:
            failures.append(f"{i}: {error}")

    threads = [threading.Thread(target=one, args=(i,)) for i in range(24)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert not failures, failures[:3]
    assert len(dev.api().get(f"/api/user/stacks?project={project}")["stacks"]) == 24
