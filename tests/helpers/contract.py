"""The API as it describes itself (`slipway routes --openapi`), held against what it answers.

Every answer that a test's client gets is checked: its status, its content type, its shape, with no member that the
description does not know. A test that got an answer is recorded for the table of operations (tools/operations-table)."""
import copy
import json
import os
import re
import subprocess
from functools import lru_cache
from pathlib import Path

import jsonschema_rs

from . import where

# Answers of the HTTP layer that any request may get; and 5xx, which tests provoke by broken disks and stopping servers.
ALWAYS = {405, 408, 411, 414, 415, 431}


def closed(schema):
    """The same, but an object with known members has no others."""
    if isinstance(schema, dict):
        for below in schema.values():
            closed(below)
        if "properties" in schema and isinstance(schema["properties"], dict) and "additionalProperties" not in schema:
            schema["additionalProperties"] = False
    elif isinstance(schema, list):
        for below in schema:
            closed(below)
    return schema


class Operation:
    def __init__(self, method, path, node, components):
        self.method, self.path, self.id = method.upper(), path, node["operationId"]
        self.answers = {int(status): self.resolve(answer, components) for status, answer in node["responses"].items()}
        self.query = {p["name"] for p in node["parameters"] if p["in"] == "query"}
        self.tag, self.summary = node["tags"][0], node["summary"]
        parts = [r"[^/]*" if part.startswith("{") else re.escape(part) for part in path.split("/")]
        self.pattern = re.compile("/".join(parts))
        # Static segments win over parameters, from the left (http/router.c).
        self.order = [part.startswith("{") for part in path.split("/")]

    @staticmethod
    def resolve(answer, components):
        return components["responses"][answer["$ref"].rsplit("/", 1)[-1]] if "$ref" in answer else answer


class Contract:
    def __init__(self, document):
        components = closed(copy.deepcopy(document["components"]))
        self.operations = [Operation(method, path, node, components)
                           for path, methods in document["paths"].items() for method, node in methods.items()]
        self.operations.sort(key=lambda o: o.order)
        # What stands first in the path of an operation is not a value for a parameter that stands first.
        self.heads = {o.path.split("/")[1] for o in self.operations if not o.order[1]}
        self.components = components
        self.validators = {}

    def find(self, method, path):
        path = path.partition("?")[0]
        method = "GET" if method == "HEAD" else method
        known = path.partition("/")[2].partition("/")[0] in self.heads
        return next((o for o in self.operations if o.method == method and o.pattern.fullmatch(path) and not (known and o.order[1])), None)

    def validator(self, operation, status, media):
        key = (operation.id, status, media)
        if key not in self.validators:
            schema = operation.answers[status]["content"][media]["schema"]
            self.validators[key] = jsonschema_rs.Draft202012Validator({**schema, "components": self.components})
        return self.validators[key]

    def faults(self, operation, method, status, content_type, body):
        """Sentences about what is not as the description says."""
        if status in ALWAYS or status >= 500:
            return
        if status not in operation.answers:
            yield f"status {status} is not described, only {sorted(operation.answers)}"
            return
        content = operation.answers[status].get("content") or {}
        media = (content_type or "").partition(";")[0].strip()
        if not content:
            if body:
                yield f"a body of {len(body)} bytes where none is described"
            return
        if method == "HEAD":
            return
        if media not in content:
            yield f"content type {media!r} is not described, only {sorted(content)}"
        elif media == "application/json":
            for error in self.validator(operation, status, media).iter_errors(json.loads(body)):
                yield f"/{'/'.join(map(str, error.instance_path))}: {error.message[:600]}"


@lru_cache
def contract() -> Contract:
    run = subprocess.run([where.slipway(), "routes", "--openapi"], capture_output=True, text=True, check=True)
    return Contract(json.loads(run.stdout))


def check(method, path, answer):
    operation = contract().find(method, path)
    if not operation:
        return
    record(operation, answer.status_code)
    found = list(contract().faults(operation, method, answer.status_code, answer.headers.get("Content-Type"), answer.content))
    assert not found, f"{operation.id}: {method} {path} answered {answer.status_code}:\n" + "\n".join(found) + f"\n{answer.text[:3000]}"


def record(operation, status):
    folder = os.environ.get("SLIPWAY_TEST_RECORD")
    if folder:
        test = os.environ.get("PYTEST_CURRENT_TEST", "").split(" ")[0]
        with open(Path(folder) / f"operations-{os.getpid()}.jsonl", "a") as file:
            file.write(json.dumps({"operation": operation.id, "status": status, "test": test}) + "\n")
