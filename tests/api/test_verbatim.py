"""The user's documents come out to the byte as they went in, by whichever way; what is no JSON is refused whole."""
import gzip
import json
import re

import pytest
from helpers.api import path_of

from test_delta import apply as applied
from test_delta import delta, sha, span, verbatim
from test_state import SECRETS, begin
from test_state_documents import MANIFEST, document, raw_export

# Values as the user's engine may write them. None of them must be read and written anew.
VALUES = {
    "numbers": r'[0,-0,-0.0,1.0,1.50,0.10,1e400,-1E-400,1E+2,1e2,5e-324,9007199254740993,-9223372036854775809,18446744073709551616,'
               r'123456789012345678901234567890123456789012345678901234567890,0.1000000000000000055511151231257827021181583404541015625]',
    "escapes": r'["\u003cb\u003e\u0026","\u2028\u2029","\/","\b\f\n\r\t\"\\","\u0041\u00e9","\u00E9\u00e9","\u007f"]',
    "unicode": '["é e\u0301 ☃ \U0001f600 \u2028\u2029 \u200b\u202e \x7f \ufeff","\ufdd0 \ufffe \uffff \U0001fffe \U0010ffff","\ue000 \U000f0000"]',
    "nul": r'["\u0000","a\u0000b","\u0000\u0000",{"\u0000":{"a\u0000b":"\u0001\u001F"}}]',
    "surrogates": r'["\ud83d\ude00","\uD83D\uDE00","\ud800","\udc00","\udfff\ud800","\ud800x","x\ud83d",{"\ud800":"\udc00"}]',
    "nonchars": r'["\ufffe\uffff","\ufdd0","\ud83f\udffe","\udbff\udfff"]',
    "space": '{ "a" :\t[ ] ,\r\n "b":{ } ,"c": [ 1 ,2 ]\n}',
    "order": '{"z":1,"a":2,"":3,"A":4,"é":5,"10":6,"9":7}',
    "deep": '{"a":' * 100 + "[" * 100 + "null" + "]" * 100 + "}" * 100,
    "long": '"' + "0123456789abcdef" * 65536 + '"',
    "long-escaped": '"' + r"\u003cé\ud800\"\\\u0000" * 45000 + '"',
    "literals": '[true,false,null,"",{},[]]',
}
HERE = "@HERE@"


def odd_document(value):
    """The value as input, output, in metadata, and where no rule knows the member."""
    resource = '{"urn":"urn:pulumi:dev::p::t:i:T::odd","custom":true,"type":"t:i:T", "inputs":{"v":%s},"outputs" :{"v" : %s},"x-new":%s}' % ((value,) * 3)
    return b' {"version":3,"deployment":{' + MANIFEST.encode() + (',"resources":[%s],"metadata":{"m":%s},"x-more":%s}, "x-top":%s}' % (
        resource, value, value, value)).encode()


def by_import(api, path, text, zipped):
    api.ok("POST", f"{path}/import", data=text, zipped=zipped)


def by_full(api, path, text, zipped):
    update, lease = begin(api, path, journal=0)
    lease.ok("PATCH", f"{update}/checkpoint", data=text, zipped=zipped)
    assert raw_export(api, path, "identity")[0] == text
    lease.post(f"{update}/complete", {"status": "succeeded"})


def by_verbatim(api, path, text, zipped):
    update, lease = begin(api, path, journal=0)
    assert verbatim(lease, update, text, 1, zipped=zipped).status_code == 204
    assert raw_export(api, path, "identity")[0] == text.strip()
    lease.post(f"{update}/complete", {"status": "succeeded"})


def by_delta(api, path, text, zipped):
    """The values come in as edits, spelled as JSON strings in two ways."""
    update, lease = begin(api, path, journal=0)
    value = text[text.rindex(b'"x-top":') + 8:-1]
    base = odd_document('"%s"' % HERE).strip()
    mark = ('"%s"' % HERE).encode()
    assert verbatim(lease, update, base, 1, zipped=zipped).status_code == 204
    number = 2
    while mark in base:
        at = base.index(mark)
        edits = [span(at, at + len(mark), value.decode())]
        base = applied(base, edits)
        body = json.dumps({"version": 3, "checkpointHash": sha(base), "sequenceNumber": number, "deploymentDelta": edits}, ensure_ascii=number % 2 == 0)
        answer = lease.call("PATCH", f"{update}/checkpointdelta", data=body.encode(), zipped=zipped)
        assert answer.status_code == 204, answer.text
        number += 1
    assert base == text.strip()
    assert raw_export(api, path, "identity")[0] == base
    lease.post(f"{update}/complete", {"status": "succeeded"})


WAYS = {"import": by_import, "full": by_full, "verbatim": by_verbatim, "delta": by_delta}


@pytest.fixture
def path(api, stack):
    api.create_stack(stack)
    return path_of(stack)


@pytest.mark.parametrize("zipped", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("value", VALUES)
def test_a_state_comes_out_as_it_went_in(api, path, value, way, zipped):
    text = odd_document(VALUES[value])
    WAYS[way](api, path, text, zipped)
    if way in ("verbatim", "delta"):
        text = text.strip()  # white space around the value belongs to the request
    assert raw_export(api, path, "identity")[0] == text
    packed, encoding = raw_export(api, path, "gzip")
    assert encoding == "gzip" and gzip.decompress(packed) == text
    assert raw_export(api, path, "identity", "/1")[0] == text


@pytest.mark.parametrize("value", VALUES)
def test_a_journal_keeps_the_texts_of_its_entries(api, path, value):
    """Of every kind of entry that carries one: a new resource, outputs, a refresh, a pending operation, an extension, a snippet."""
    v = VALUES[value]
    api.ok("POST", f"{path}/import", data=odd_document(v))
    update, lease = begin(api, path)

    def state(name):
        return '{"urn":"urn:pulumi:dev::p::t:i:T::%s","custom":true,"type":"t:i:T","id":"i","inputs":{"v":%s}, "outputs" :{"v" :%s}}' % (name, v, v)
    entries = [
        '"kind":6,"operationID":0,"secretsProvider":{"type":"passphrase","state":{"salt":"v1:x","v":%s}}' % v,
        '"kind":8,"operationID":1,"extensionRef":"e-1","extension":{"name":"e","version":"1","value":"eA==","v":%s}' % v,
        '"kind":9,"operationID":0,"snippets":[{"uuid":"u","name":"n","type":"t:i:T","code":"c","v":%s}]' % v,
        '"kind":0,"operationID":2', '"kind":1,"operationID":2,"state":%s' % state("made"),
        '"kind":0,"operationID":3', '"kind":1,"operationID":3,"state":%s' % state("former"),
        '"kind":4,"operationID":3,"removeNew":3,"state":%s' % state("outputs"),
        '"kind":0,"operationID":4', '"kind":3,"operationID":4,"removeOld":0,"state":%s' % state("refreshed"),
        '"kind":0,"operationID":5,"operation":{"type":"creating","resource":%s}' % state("pending"),
    ]
    body = '{"entries":[' + ",".join('{"version":1,"sequenceID":%d,%s}' % (i + 1, e) for i, e in enumerate(entries)) + "]}"
    lease.ok("PATCH", f"{update}/journalentries", data=body.encode(), zipped=len(v) % 2 == 0)

    def check():
        text = raw_export(api, path, "identity")[0].decode()
        for name in ("made", "outputs", "refreshed", "pending"):
            assert state(name) in text, name
        assert state("former") not in text
        # Of the base: metadata and the member that no rule knows, both in the deployment; and three in the entries above.
        for written in ('"metadata":{"m":%s}', '"x-more":%s', '"salt":"v1:x","v":%s}', '"value":"eA==","v":%s}', '"code":"c","v":%s}'):
            assert written % v in text
        return text
    running = check()
    lease.post(f"{update}/complete", {"status": "succeeded"})
    time = r'"time":"[^"]*"'
    assert re.sub(time, "", check(), count=1) == re.sub(time, "", running, count=1)


# No JSON, each in the place of a value.
WRONG = {
    "leading-zero": b"01", "no-fraction": b"1.", "no-integer": b".5", "plus": b"+1", "hex": b"0x10", "exponent": b"1e", "nan": b"NaN", "infinity": b"-Infinity",
    "single-quotes": b"'a'", "bare": b"abc", "trailing-comma": b"[1,]", "no-comma": b"[1 2]", "no-colon": b'{"a" 1}', "comment": b"1/**/", "unclosed": b"[1",
    "control": b'"a\nb"', "nul": b'"\0"', "escape": rb'"\x41"', "short-escape": rb'"\u12"', "open-string": b'"a', "capital": b"True", "empty": b"",
    "latin1": b'"\xe9"', "cut-utf8": b'"\xc3"', "overlong": b'"\xc0\xaf"', "raw-surrogate": b'"\xed\xa0\x80"', "beyond": b'"\xf4\x90\x80\x80"',
    "too-deep": b"[" * 600 + b"]" * 600, "second": b"1}} {",
}


@pytest.fixture
def kept(api, path, project):
    """A stack with a state and an update that saves without a journal; and one with an update that keeps a journal."""
    api.ok("POST", f"{path}/import", data=document())
    update, lease = begin(api, path, journal=0)
    base = odd_document('"\u00e9"').strip()
    assert verbatim(lease, update, base, 1).status_code == 204
    journaled = api.create_stack(f"acme/{project}/journaled")
    return path, update, lease, base, journaled, *begin(api, journaled)


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_no_json_is_refused_and_changes_nothing(api, kept, wrong):
    path, update, lease, base, journaled, journal_update, journal_lease = kept
    text = odd_document("@").replace(b"@", WRONG[wrong])
    lease.refused(400, "PATCH", f"{update}/checkpoint", data=text)
    lease.refused(400, "PATCH", f"{update}/checkpoint", data=text, zipped=True)
    assert verbatim(lease, update, text, 2).status_code == 400
    api.refused(400, "POST", f"{journaled}/import", data=text)
    entry = b'{"entries":[' + json.dumps(SECRETS).encode() + b',{"version":1,"kind":1,"sequenceID":2,"operationID":1,"state":{"urn":"u","v":' + WRONG[wrong] + b"}}]}"
    journal_lease.refused(400, "PATCH", f"{journal_update}/journalentries", data=entry)
    try:
        edits = [span(0, len(base), text.decode())]
    except UnicodeDecodeError:
        # An edit is a string of whole characters: only a span that cuts one makes half of it.
        at = base.index("é".encode())
        edits = [span(at, at + 1, "")]
    after = applied(base, edits)
    answer = delta(lease, update, edits, 2, sha(after))
    assert answer.status_code == 400 and "checkpointHash" not in answer.json()["message"], answer.text
    assert raw_export(api, path, "identity")[0] == base
    assert "resources" not in api.get(f"{journaled}/export")["deployment"] and "secrets_providers" not in api.get(f"{journaled}/export")["deployment"]
    assert api.get(path)["version"] == 2
