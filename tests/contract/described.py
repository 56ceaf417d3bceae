"""Descriptions of the API, made ready for schemathesis: which operations, with which values in their paths."""
import copy
import json
import os
import re
import subprocess
from pathlib import Path

import schemathesis
from helpers import where

# Streams that only end with their client, and what would end the server's own life or write where a test may not.
LEFT_OUT = {
    "console_live": "ends when its client goes",
    "deploy_log_stream": "ends when its client goes", "deploy_log_stream_2": "ends when its client goes",
    "site_backup": "writes a file where the request says", "site_key_rotate": "tests/api/test_keys.py",
    "site_verify": "reads everything, each time",
}
# The same handlers as of updates, under the names of other kinds.
ALIASES = re.compile(r"/\{stackName\}/(preview|refresh|destroy)(/|$)")

# Values of path parameters: placeholders, for which the test puts what there is on its server. Others are made up.
NAMES = {"orgName": "acme", "projectName": "shop", "stackName": "dev"}


def own():
    run = subprocess.run([where.slipway(), "routes", "--openapi"], capture_output=True, text=True, check=True)
    document = json.loads(run.stdout)
    document["paths"] = {path: {m: o for m, o in methods.items() if o["operationId"] not in LEFT_OUT}
                         for path, methods in document["paths"].items() if path.startswith("/api/") and not ALIASES.search(path)}
    return document


def wire():
    """Pulumi's description, which is not part of this tree: $SLIPWAY_WIRE_SPEC names the file, else nothing is compared. Only the
    operations of the Deployments API."""
    file = os.environ.get("SLIPWAY_WIRE_SPEC")
    if not file:
        return None
    document = json.loads(Path(file).read_text())
    tags = {"Deployments", "DeploymentRunners"}
    document["paths"] = {path: kept for path, methods in document["paths"].items()
                         if (kept := {m: o for m, o in methods.items() if isinstance(o, dict) and tags & set(o["tags"])})}
    return document


def with_placeholders(document):
    """Path parameters are one of a few words that the test replaces, so that most requests find something."""
    document = copy.deepcopy(document)
    for path, methods in document["paths"].items():
        for operation in methods.values():
            for p in operation.get("parameters", []):
                if p["in"] == "path":
                    name = p["name"]
                    p["schema"] = {"type": "string", "enum": [NAMES.get(name, f"a-{name}")] + ([] if name in NAMES else ["none"])}
    return document


def schema(document, examples, seed):
    config = schemathesis.Config.from_dict({
        "seed": seed,
        "generation": {"max-examples": examples, "allow-x00": False, "deterministic": True, "database": "none", "with-security-parameters": False},
    })
    return schemathesis.openapi.from_dict(with_placeholders(document), config=config)
