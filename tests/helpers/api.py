"""A REST client that knows how Slipway answers: JSON, errors as {"code","message"}, deployments that take their time. Each
answer is held against what the API says of itself (contract.py)."""
import gzip
import json as json_module
import time
import urllib.parse

import requests

from . import contract

FINAL = ("succeeded", "failed", "skipped")


class Api:
    def __init__(self, url: str, token: str = None, scheme: str = "token"):
        self.url, self.token, self.scheme = url.rstrip("/"), token, scheme

    def with_token(self, token, scheme="token") -> "Api":
        return Api(self.url, token, scheme)

    def call(self, method, path, json=..., data=None, headers=None, timeout=60, zipped=False, **more) -> requests.Response:
        head = {"Accept": "application/vnd.pulumi+9", "Content-Type": "application/json"}
        if self.token:
            head["Authorization"] = f"{self.scheme} {self.token}"
        if json is not ...:
            data = json_module.dumps(json).encode()
        if zipped:
            data = gzip.compress(data)
            head["Content-Encoding"] = "gzip"
        head.update(headers or {})
        with requests.Session() as session:
            session.trust_env = False
            answer = session.request(method, self.url + path, data=data, headers=head, timeout=timeout, allow_redirects=False, **more)
        if not more.get("stream"):
            contract.check(method, path, answer)
        return answer

    def ok(self, method, path, json=..., status=None, **more):
        """Asserts success and returns the decoded answer (None when it is empty)."""
        answer = self.call(method, path, json, **more)
        good = answer.status_code == status if status else 200 <= answer.status_code < 300
        assert good, f"{method} {path} answered {answer.status_code}: {answer.text[:2000]}"
        return answer.json() if answer.content else None

    def get(self, path, **more):
        return self.ok("GET", path, **more)

    def post(self, path, json=..., **more):
        return self.ok("POST", path, json, **more)

    def refused(self, status, method, path, json=..., names=None, **more) -> str:
        """Asserts a JSON error with that code, whose message has `names` in it, and returns the message."""
        answer = self.call(method, path, json, **more)
        assert answer.status_code == status, f"{method} {path} answered {answer.status_code}, not {status}: {answer.text[:2000]}"
        assert "json" in answer.headers.get("Content-Type", ""), answer.headers
        body = answer.json()
        assert body.get("code") == status, body
        assert isinstance(body.get("message"), str) and body["message"], body
        if names:
            assert names in body["message"], f"the message does not name {names!r}: {body['message']}"
        return body["message"]

    # ---- stacks ------------------------------------------------------------------------------------------------
    def create_stack(self, stack: "str", **body) -> str:
        """`org/project/stack` -> its path."""
        org, project, name = stack.split("/")
        self.post(f"/api/stacks/{org}/{project}", {"stackName": name, **body})
        return path_of(stack)

    def outputs(self, stack) -> dict:
        """The stack's outputs as its state has them, secrets sealed."""
        resources = self.get(path_of(stack) + "/export")["deployment"].get("resources") or []
        return next(r.get("outputs") or {} for r in resources if r["type"] == "pulumi:pulumi:Stack")

    # ---- deployments -------------------------------------------------------------------------------------------
    def settings(self, stack, body, method="POST"):
        return self.ok(method, path_of(stack) + "/deployments/settings", body)

    def deploy(self, stack, operation="update", **body) -> dict:
        answer = self.ok("POST", path_of(stack) + "/deployments", {"operation": operation, **body}, status=202)
        assert answer["id"] and answer["version"] >= 1, answer
        return answer

    def deployment(self, stack, id_or_version) -> dict:
        middle = "/version" if isinstance(id_or_version, int) else ""
        return self.get(f"{path_of(stack)}/deployments{middle}/{id_or_version}")

    def log_lines(self, stack, id) -> list:
        """The whole log in its streaming form, as far as it is there now."""
        lines, token = [], None
        for _ in range(2000):
            query = f"?continuationToken={urllib.parse.quote(token)}" if token else ""
            answer = self.get(f"{path_of(stack)}/deployments/{id}/logs{query}", headers={"Prefer": "wait=0"})
            lines += answer.get("lines") or []
            following = answer.get("nextToken")
            if not following or (following == token):
                return lines
            token = following
        raise AssertionError("the log never ends")

    def log(self, stack, id) -> str:
        """The log as text, headers as `== name`."""
        return "".join(f"== {line['header']}\n" if line.get("header") else line.get("line", "") for line in self.log_lines(stack, id))

    def wait_status(self, stack, id, wanted=FINAL, timeout=120.0) -> dict:
        wanted = (wanted,) if isinstance(wanted, str) else wanted
        end = time.monotonic() + timeout
        while True:
            seen = self.deployment(stack, id)
            if seen["status"] in wanted:
                return seen
            if seen["status"] in FINAL:
                raise AssertionError(f"deployment is {seen['status']}, not {wanted}:\n{self.log(stack, id)[-6000:]}")
            if time.monotonic() > end:
                raise AssertionError(f"deployment still {seen['status']} after {timeout:g}s, not {wanted}:\n{self.log(stack, id)[-6000:]}")
            time.sleep(0.1)

    def run(self, stack, operation="update", expect="succeeded", timeout=120.0, **body):
        """Creates a deployment, waits for its end; returns (deployment, log)."""
        made = self.deploy(stack, operation, **body)
        done = self.wait_status(stack, made["id"], timeout=timeout)
        log = self.log(stack, made["id"])
        assert done["status"] == expect, f"{done['status']}, not {expect}:\n{log[-6000:]}"
        return done, log


def path_of(stack: str) -> str:
    return "/api/stacks/" + stack
