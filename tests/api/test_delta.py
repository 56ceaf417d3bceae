"""Verbatim and delta checkpoints, over REST (cli-protocol §3.6.3)."""
import concurrent.futures
import hashlib
import json
import threading

import pytest
from helpers.api import path_of

from test_state import begin, resource
from test_state_documents import ODD, document, odd_resource, raw_export


@pytest.fixture
def path(api, stack):
    api.create_stack(stack)
    return path_of(stack)


@pytest.fixture
def saving(api, path):
    """An update that saves without a journal: (its path, its client)."""
    return begin(api, path, journal=0)


def sha(text):
    return hashlib.sha256(text).hexdigest()


def verbatim(lease, update, text, number, **more):
    body = b'{"version":3,"untypedDeployment":' + text + b',"sequenceNumber":%d}' % number
    return lease.call("PATCH", f"{update}/checkpointverbatim", data=body, **more)


def span(start, end, text):
    at = lambda offset: {"line": 1, "column": 1, "offset": offset}  # noqa: E731
    return {"Span": {"uri": "", "start": at(start), "end": at(end)}, "NewText": text}


def apply(text, edits):
    out, last = b"", 0
    for edit in edits:
        out += text[last:edit["Span"]["start"]["offset"]] + edit["NewText"].encode()
        last = edit["Span"]["end"]["offset"]
    return out + text[last:]


def delta(lease, update, edits, number, hash_of=None, **more):
    body = {"version": 3, "checkpointHash": hash_of, "sequenceNumber": number, "deploymentDelta": edits}
    return lease.call("PATCH", f"{update}/checkpointdelta", body, **more)


def edit_for(text, old, new):
    start = text.index(old)
    return [span(start, start + len(old), new)]


def test_a_chain_of_deltas_is_the_text_to_the_byte(api, path, saving):
    update, lease = saving
    text = document(odd_resource("a"), odd_resource("b"))
    assert verbatim(lease, update, text, 1, zipped=True).status_code == 204
    assert raw_export(api, path, "identity")[0] == text
    for number, (old, new) in enumerate([(b"::a", "::renamed-é☃"), (b'"one":1.0', '"one":1.00'), (b"]}}", "]} }")], 2):
        edits = edit_for(text, old, new)
        text = apply(text, edits)
        answer = delta(lease, update, edits, number, sha(text), zipped=number % 2 == 0)
        assert answer.status_code == 204, answer.text
        assert raw_export(api, path, "identity")[0] == text, "an export during the update shows what is there so far"
    # Nothing changed, and two edits at once, one of them an insertion at the very beginning.
    assert delta(lease, update, [], 5, sha(text)).status_code == 204
    edits = [span(0, 0, " "), *edit_for(text, b"::b", "")]
    text = apply(text, edits)
    assert delta(lease, update, edits, 6, sha(text)).status_code == 204
    lease.post(f"{update}/complete", {"status": "succeeded"})
    assert raw_export(api, path, "identity")[0] == text and ODD.encode() in text
    assert api.get(f"{path}/export/1") == json.loads(text)


def test_deltas_survive_a_kill(own, stack):
    server = own(command="serve")
    server.admin("org", "add", "acme")
    api = server.user("operator", role="admin")
    api.create_stack(stack)
    path = path_of(stack)
    update, lease = begin(api, path, journal=0)
    text = document(odd_resource("a"))
    assert verbatim(lease, update, text, 1).status_code == 204
    for number in range(2, 6):
        edits = edit_for(text, b"::a", f"::a{number}")
        text = apply(text, edits)
        assert delta(lease, update, edits, number, sha(text)).status_code == 204
        server.kill()
        server = own(command="serve", folder=server.folder)
        api, lease = server.api(api.token), server.api(lease.token).with_token(lease.token, "update-token")
        assert raw_export(api, path, "identity")[0] == text
    api.ok("POST", f"{update}/cancel", status=204)
    assert raw_export(api, path, "identity")[0] == text
    edits = edit_for(text, b"::a", "::late")
    assert delta(lease, update, edits, 6, sha(apply(text, edits))).status_code == 409
    assert raw_export(api, path, "identity")[0] == text


def test_an_update_whose_lease_ends_leaves_its_deltas(own, clock, stack):
    server = own(command="serve", clock=clock)
    server.admin("org", "add", "acme")
    api = server.user("operator", role="admin")
    api.create_stack(stack)
    path = path_of(stack)
    update, lease = begin(api, path, journal=0)
    text = document(odd_resource("a"))
    assert verbatim(lease, update, text, 1).status_code == 204
    edits = edit_for(text, b"::a", "::b")
    text = apply(text, edits)
    assert delta(lease, update, edits, 2, sha(text)).status_code == 204
    clock.set(3600)
    update, lease = begin(api, path, journal=0)
    assert raw_export(api, path, "identity")[0] == text
    assert delta(lease, update, [], 1, sha(text)).status_code == 400, "another update has nothing yet that could change"


def test_repeats_and_reuse_of_numbers(api, path, saving):
    update, lease = saving
    text = document(odd_resource("a"))
    for _ in range(2):
        assert verbatim(lease, update, text, 1).status_code == 204
    edits = edit_for(text, b"::a", "::b")
    after = apply(text, edits)
    # One that failed leaves its number free: the CLI sends the whole text under it.
    assert delta(lease, update, edits, 2, sha(b"something else")).status_code == 400
    assert verbatim(lease, update, after, 2).status_code == 204
    # What was applied already is not applied again, in either form.
    assert delta(lease, update, edits, 2, sha(after)).status_code == 204
    assert verbatim(lease, update, after, 2).status_code == 204
    assert verbatim(lease, update, text, 1).status_code == 204
    assert delta(lease, update, edits, 1, sha(text)).status_code == 204
    assert raw_export(api, path, "identity")[0] == after
    edits = edit_for(after, b"::b", "::c")
    last = apply(after, edits)
    for _ in range(3):
        assert delta(lease, update, edits, 3, sha(last)).status_code == 204
    assert raw_export(api, path, "identity")[0] == last
    lease.post(f"{update}/complete", {"status": "failed"})
    assert raw_export(api, path, "identity")[0] == last


def test_a_newer_text_under_a_number_whose_answer_was_lost(api, path, saving):
    """The CLI counts on only when a save was answered. Steps that were under way when its connection broke are saved later
    under the same number: an answer of 204 without storing them would lose them."""
    update, lease = saving
    text = document(odd_resource("a"))
    assert verbatim(lease, update, text, 1).status_code == 204
    lost = edit_for(text, b"::a", "::b")
    assert delta(lease, update, lost, 2, sha(apply(text, lost))).status_code == 204
    # The client did not hear that: it goes on from `text`, with more than before.
    newer = edit_for(text, b"::a", "::bc")
    after = apply(text, newer)
    assert "checkpointHash" in delta(lease, update, newer, 2, sha(after)).json()["message"]
    assert raw_export(api, path, "identity")[0] == apply(text, lost)
    assert verbatim(lease, update, after, 2).status_code == 204
    assert raw_export(api, path, "identity")[0] == after
    edits = edit_for(after, b"::bc", "::d")
    assert delta(lease, update, edits, 3, sha(apply(after, edits))).status_code == 204
    lease.post(f"{update}/complete", {"status": "failed"})
    assert raw_export(api, path, "identity")[0] == apply(after, edits)


def test_one_delta_from_several_at_once(api, path, saving):
    """A client that lost its patience while the first was still being applied."""
    update, lease = saving
    text = document(odd_resource("a"))
    assert verbatim(lease, update, text, 1).status_code == 204
    for number in range(2, 8):
        edits = edit_for(text, b"::a", f"::a{number}")
        text = apply(text, edits)
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _: delta(lease, update, edits, number, sha(text)).status_code, range(4)))
        assert answers == [204] * 4
        assert raw_export(api, path, "identity")[0] == text


def test_a_long_chain_is_stored_whole_now_and_then(api, path, saving):
    update, lease = saving
    text = document(odd_resource("a"))
    assert verbatim(lease, update, text, 1).status_code == 204
    for number in range(2, 302):
        edits = [span(len(text), len(text), " ")]
        text += b" "
        assert delta(lease, update, edits, number, sha(text)).status_code == 204
    assert raw_export(api, path, "identity")[0] == text
    lease.post(f"{update}/complete", {"status": "succeeded"})
    assert raw_export(api, path, "identity")[0] == text


def test_large_edits(api, path, saving):
    """More than the chain may weigh: every one is stored whole, in the blob store."""
    import random
    update, lease = saving
    noise = random.Random(3)
    text = document(odd_resource("a"))
    assert verbatim(lease, update, text, 1).status_code == 204
    for number in range(2, 6):
        edits = [span(len(text) - 3, len(text) - 3, ',{"urn":"u%d","type":"t","custom":false,"inputs":{"x":"%s"}}' % (number, noise.randbytes(400_000).hex()))]
        text = apply(text, edits)
        assert delta(lease, update, edits, number, sha(text), zipped=True).status_code == 204
        assert raw_export(api, path, "identity")[0] == text
    lease.post(f"{update}/complete", {"status": "succeeded"})
    assert raw_export(api, path, "identity")[0] == text


def test_an_export_never_shows_less_than_was_acknowledged(api, path):
    """While deltas are added, stored whole, and become the state at the end of the update."""
    acknowledged, failures, over = [0], [], threading.Event()

    def watch():
        while not over.is_set():
            least = acknowledged[0]
            answer = api.call("GET", f"{path}/export")
            if answer.status_code != 200 or len(answer.content) < least:
                failures.append((answer.status_code, len(answer.content), least))
    watchers = [threading.Thread(target=watch) for _ in range(2)]
    for thread in watchers:
        thread.start()
    text = document()
    for _ in range(3):
        update, lease = begin(api, path, journal=0)
        assert verbatim(lease, update, text, 1).status_code == 204
        for number in range(2, 9):
            # Some are heavy enough to be stored whole, and yet small when compressed: they lie in the row.
            edits = [span(len(text) - 3, len(text) - 3, " " * (300_000 if number % 3 == 0 else 10))]
            text = apply(text, edits)
            assert delta(lease, update, edits, number, sha(text)).status_code == 204
            acknowledged[0] = len(text)
        lease.post(f"{update}/complete", {"status": "succeeded"})
        text = document()
        acknowledged[0] = 0
    over.set()
    for thread in watchers:
        thread.join()
    assert not failures


@pytest.mark.parametrize("edits, names", [
    ([span(5, 4, "")], "/deploymentDelta/0"),
    ([span(0, 10**9, "")], "/deploymentDelta/0"),
    ([span(-1, 0, "")], "/deploymentDelta/0"),
    ([span(0, 9, ""), span(8, 9, "")], "/deploymentDelta/1"),
    ([{"NewText": "x"}], "/deploymentDelta/0/Span/start/offset"),
    ([{**span(0, 0, ""), "NewText": 5}], "/deploymentDelta/0/NewText"),
    ([span(0, 0, "x")], "JSON"),
    ([span(0, 1, "["), span(1, 2, "")], "/checkpointHash"),
    ({}, "/deploymentDelta"),
], ids=range(9))
def test_a_wrong_delta_changes_nothing(api, path, saving, edits, names):
    update, lease = saving
    text = document(odd_resource("a"))
    assert verbatim(lease, update, text, 1).status_code == 204
    right = sha(b"x" + text) if names == "JSON" else sha(b"")
    message = lease.refused(400, "PATCH", f"{update}/checkpointdelta",
                            {"version": 3, "checkpointHash": right, "sequenceNumber": 2, "deploymentDelta": edits})
    assert names in message or names == "JSON", message
    assert raw_export(api, path, "identity")[0] == text
    edits = edit_for(text, b"::a", "::b")
    assert delta(lease, update, edits, 2, sha(apply(text, edits))).status_code == 204, "the number is free still"


def test_a_wrong_whole_text_changes_nothing(api, path, saving):
    update, lease = saving
    text = document(odd_resource("a"))
    assert verbatim(lease, update, text, 1).status_code == 204
    for wrong in (b"[]", b"{", b"5", b'{"version":3}', b'{"version":9,"deployment":{}}'):
        assert verbatim(lease, update, wrong, 2).status_code == 400, wrong
    lease.refused(400, "PATCH", f"{update}/checkpointverbatim", {"version": 3, "untypedDeployment": {"version": 3, "deployment": {}}, "sequenceNumber": 0})
    lease.refused(400, "PATCH", f"{update}/checkpointdelta", {"version": 3, "sequenceNumber": 2, "deploymentDelta": []}, names="/checkpointHash")
    assert raw_export(api, path, "identity")[0] == text


def test_ways_of_saving_do_not_mix(api, path, stack):
    update, lease = begin(api, path)
    assert verbatim(lease, update, document(), 1).status_code == 400
    assert delta(lease, update, [], 1, sha(b"")).status_code == 400
    lease.post(f"{update}/complete", {"status": "succeeded"})
    # A full checkpoint after deltas takes their place.
    update, lease = begin(api, path, journal=0)
    text = document(odd_resource("a"))
    assert verbatim(lease, update, text, 1).status_code == 204
    edits = edit_for(text, b"::a", "::b")
    assert delta(lease, update, edits, 2, sha(apply(text, edits))).status_code == 204
    full = {"isInvalid": False, "version": 3, "deployment": {"manifest": {"time": "2026-01-01T00:00:00Z", "magic": "", "version": ""}, "resources": [resource(path, "z", 1)]}}
    lease.ok("PATCH", f"{update}/checkpoint", full)
    assert [r["id"] for r in api.get(f"{path}/export")["deployment"]["resources"]] == ["z"]
    assert delta(lease, update, edits, 3, sha(apply(text, edits))).status_code == 400
    lease.post(f"{update}/complete", {"status": "succeeded"})
    assert [r["id"] for r in api.get(f"{path}/export")["deployment"]["resources"]] == ["z"]
