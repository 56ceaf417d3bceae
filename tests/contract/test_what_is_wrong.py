"""Bad requests to every operation: a 4xx that names what is wrong, from the description itself."""
import json
import re

import pytest
from helpers import process
from helpers.access import Organization
from helpers.contract import contract

import described

API = [o for o in contract().operations if o.path.startswith("/api/") and o.id not in described.LEFT_OUT and not described.ALIASES.search(o.path)]
WORDS = {"orgName": "acme", "projectName": "shop", "stackName": "dev", "version": "1"}


@pytest.fixture(scope="module")
def org(tmp_path_factory):
    started = []

    def own(*options, **more):
        started.append(process.Server(tmp_path_factory.mktemp("wrong"), *options, **more))
        return started[-1]

    try:
        yield Organization(own)
    finally:
        for server in started:
            server.stop()


@pytest.fixture(scope="module")
def document():
    return described.own()


def path_of(operation, **words):
    return re.sub(r"\{(\w+)\}", lambda m: {**WORDS, **words}.get(m.group(1), "0199d2a0-0000-7000-8000-000000000000"), operation.path)


def of_users(document):
    """The operations that the administrator's token is good for, with their nodes."""
    for o in API:
        node = document["paths"][o.path][o.method.lower()]
        if next(iter((node.get("security") or [{"user": []}])[0])) == "user":
            yield o, node


def test_other_methods(org):
    """405, with the methods that there are."""
    for path in {o.path for o in API}:
        there = {o.method for o in API if o.path == path}
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"} - there:
            answer = org.boss.call(method, path_of(next(o for o in API if o.path == path)), json={} if method in ("POST", "PUT", "PATCH") else ...)
            if answer.status_code != 405:  # a path with a parameter in the place of the last word
                assert contract().find(method, path_of(next(o for o in API if o.path == path))), (method, path, answer.status_code, answer.text)
                continue
            allow = set(answer.headers["Allow"].split(", "))
            assert there <= allow and method not in allow, (method, path, allow)
            assert method in answer.json()["message"] or method == "BREW", answer.text


def test_paths_that_are_none(org):
    for o in API:
        for path in (path_of(o) + "/", path_of(o) + "/no-such-thing", path_of(o).replace("/api/", "/api//", 1)):
            answer = org.boss.call(o.method, path, json={} if o.method in ("POST", "PUT", "PATCH") else ...)
            if not contract().find(o.method, path):
                assert answer.status_code in (404, 405) and answer.json()["code"] == answer.status_code, (path, answer.status_code, answer.text)


@pytest.mark.parametrize("word, statuses, names", [
    ("%ff%fe", (400,), "path"), ("a%00b", (400, 404), ""), ("x" * 3000, (400, 404, 414), ""), ("..%2f..%2fetc", (400, 404), ""),
    ("%20", (400, 404), ""), ("ü", (400, 404), ""), ("%F0%9F%92%A9", (400, 404), ""), ("0", (400, 404, 409), "")],
    ids=["not UTF-8", "NUL", "long", "traversal", "blank", "umlaut", "emoji", "zero"])
def test_names_in_paths(org, word, statuses, names):
    for o in API:
        for parameter in re.findall(r"\{(\w+)\}", o.path):
            answer = org.boss.call(o.method, path_of(o, **{parameter: word}), json={} if o.method in ("POST", "PUT", "PATCH") else ...)
            allowed = statuses + (401, 403)  # of the operations whose tokens are not the administrator's
            fine = o.id == "DeleteScheduledDeployment" and answer.status_code == 200  # removing what is not there is no error
            assert fine or (answer.status_code in allowed and answer.json()["code"] == answer.status_code), (o.id, parameter, answer.status_code, answer.text[:500])
            if answer.status_code == 400:
                assert names in answer.json()["message"], (o.id, parameter, answer.text)


def value_of(schema):
    """One that is allowed, as text."""
    return {"integer": str(schema.get("minimum", 1)), "boolean": "true"}.get(schema.get("type"), (schema.get("enum") or ["a"])[0])


def test_arguments_of_queries(org, document):
    """Each refused by its name: no number, a huge one, one out of bounds, a word that is none of them, one that stands there twice."""
    for o, node in of_users(document):
        for p in (p for p in node["parameters"] if p["in"] == "query"):
            schema, wrong = p["schema"], []
            if schema.get("type") == "integer":
                wrong = ["x", "", "1.5", "9" * 30, str(schema["minimum"] - 1)] + ([str(schema["maximum"] + 1)] if schema["maximum"] < 2 ** 62 else [])
            elif schema.get("type") == "boolean":
                wrong = ["perhaps", "TRUE", "2"]
            elif "enum" in schema:
                wrong = ["no-such-word", schema["enum"][0].upper()]
            needed = "".join(f"{q['name']}={value_of(q['schema'])}&" for q in node["parameters"]
                             if q["in"] == "query" and q.get("required") and q is not p)
            queries = [f"{p['name']}={value}" for value in wrong]
            if schema.get("type") != "array":
                queries.append(f"{p['name']}={value_of(schema)}&{p['name']}={value_of(schema)}")
            for query in queries:
                said = org.boss.refused(400, o.method, f"{path_of(o)}?{needed}{query}")
                assert p["name"] in said or "Count must be" in said, (o.id, query, said)
        org.boss.refused(400, o.method, f"{path_of(o)}?a=%ff", names="query")


def fields(schema, pointer=""):
    for name, below in schema.get("properties", {}).items():
        yield f"{pointer}/{name}", below
        yield from fields(below, f"{pointer}/{name}")


def nested(pointer, value):
    for name in reversed(pointer.strip("/").split("/")):
        value = {name: value}
    return value


def test_members_of_bodies(org, document):
    """Of a wrong type, out of bounds, none of the words: the JSON pointer says which."""
    for o, node in of_users(document):
        content = node.get("requestBody", {}).get("content", {}).get("application/json")
        schema = content["schema"] if content else {}
        required = {name: {"integer": 1, "boolean": True, "array": [], "object": {}}.get(str(one.get("type")), (one.get("enum") or ["x"])[0])
                    for name, one in schema.get("properties", {}).items() if name in schema.get("required", [])}
        for pointer, field in fields(schema):
            kinds = field.get("type", [])
            kinds = set(kinds if isinstance(kinds, list) else [kinds])
            if not kinds:
                continue
            wrong = [value for kind, value in (("string", "text"), ("integer", 7), ("boolean", True), ("array", [1]), ("object", {"a": 1})) if kind not in kinds]
            if "integer" in kinds:
                wrong += [1.5, 10 ** 30]
            if "enum" in field:
                wrong.append("no-such-word")
            if field.get("maxLength"):
                wrong.append("x" * (field["maxLength"] + 1))
            for value in wrong:
                body = {**required, **nested(pointer, value)}
                if pointer.startswith("/network/") and pointer != "/network/mode":
                    body["network"]["mode"] = "none"  # which such an object has to have
                said = org.boss.refused(400, o.method, path_of(o), body)
                assert pointer in said or pointer.rsplit("/", 1)[-1] in said, (o.id, body, said)


def test_bodies_that_are_none(org, document):
    for o, node in of_users(document):
        content = node.get("requestBody", {}).get("content", {})
        if "application/json" not in content or not node["requestBody"].get("required") or o.id.startswith("absent"):
            continue
        for data in (b"{", b"\xff\xfe", b'{"a":1}}', b"[" * 600, b"nonsense", b'{"a":"\xed\xa0\x80"}'):
            org.boss.refused(400, o.method, path_of(o), data=data, names="JSON")


def test_the_content_type_says_nothing(org):
    """Real clients send JSON under other names, and name JSON where there is none: it is the body that counts."""
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/octet-stream", "no/such; type=\"", ""):
        made = org.boss.ok("POST", f"{org.stack}/deployments/settings", data=json.dumps({"tag": kind}).encode(), headers={"Content-Type": kind})
        assert made["tag"] == kind
