"""Every route, asked by everybody. What is expected follows from the route's own row (authentication and permission) and
from what each permission means, so that a new route is walked without a word, and a new permission fails until it is
explained here."""
import re
import subprocess

import requests
from helpers import where
from helpers.access import STACK, Organization

# Roles in acme, and levels on the stack, of those who come with a token that a user route takes.
ROLE = {"stranger": None, "none": "member", "read": "member", "deploy": "member", "write": "member", "admin": "member", "boss": "admin",
        "machine": "member", "machine admin": "admin", "root": None, "session": "member", "run": "member", "run of deploy": "member"}
LEVEL = {"stranger": None, "none": None, "read": "read", "deploy": "deploy", "write": "write", "admin": "admin", "boss": "admin",
         "machine": None, "machine admin": "admin", "root": None, "session": "read", "run": "own", "run of deploy": "own"}
RUNS = ("run", "run of deploy")
# Who is let in would get a stream without an end: asked for something that is none, so that there is an answer.
ENDLESS = {"/api/console/events": "?after=none"}
USERS = ("stranger", "none", "read", "deploy", "write", "admin", "boss", "root", "session")
# Whose levels hold it.
HOLDS = {
    "stack-read": {"read", "deploy", "write", "admin", "own"},
    "stack-deploy": {"deploy", "write", "admin", "own"},
    "stack-write": {"write", "admin", "own"},
    "stack-admin": {"admin", "own"},
    "stack-access": {"admin"},
    "settings-read": {"read", "write", "admin", "own"},
    "settings-write": {"write", "admin"},
}
# Which tokens a kind of authentication takes at all.
TAKES = {"user": set(LEVEL), "site": set(USERS) - {"session"}, "lease": {"lease"}, "pool": {"pool"}, "runner": {"runner"},
         "agent": {"pool", "runner"}, "handler": {"runner"}}
OF_TOKEN = {"none": set(LEVEL) | {"pool", "runner", "lease"}, "user-write": set(USERS), "lease": {"lease"}, "pool": {"pool"},
            "runner": {"runner"}, "agent": {"pool", "runner"}, "site": {"root"}}


def routes():
    out = subprocess.run([where.slipway(), "routes"], capture_output=True, text=True, timeout=60, check=True).stdout
    return [tuple(line.split()) for line in out.splitlines() if line.strip()]


def expected(method, pattern, auth, permission, caller):
    """401, 403, 404 (in the words of what does not exist), or None: it gets past the door."""
    if auth == "none":
        return None
    if auth == "url":
        return 403  # whoever asks: the path that the walk makes up is not sealed (test_cache.py has good ones)
    if caller not in TAKES[auth]:
        return 401
    if permission in OF_TOKEN:
        if caller not in OF_TOKEN[permission]:
            return 403
        return 404 if "{orgName}" in pattern and caller in ROLE and not ROLE[caller] else None
    if permission in ("org-read", "org-admin", "stack-create"):
        if not ROLE[caller]:
            return 404
        return None if permission != "org-admin" or (ROLE[caller] == "admin" and caller not in RUNS) else 403
    if LEVEL[caller] not in HOLDS["stack-read"]:
        return 404
    return None if LEVEL[caller] in HOLDS[permission] else 403


def judge(wanted, answer, hidden):
    said = answer.json().get("message", "") if answer.status_code in (401, 403, 404) and "json" in answer.headers.get("Content-Type", "") else ""
    if wanted == 404:
        return answer.status_code == 404 and said in hidden
    if wanted:
        return answer.status_code == wanted
    # Behind the door something may be wrong with the request, or missing: but it is not the stack or the organization.
    return answer.status_code not in (401, 403) and not (answer.status_code == 404 and said in hidden) and answer.status_code < 500


class Walk:
    def __init__(self, org: Organization):
        self.org, self.http = org, requests.Session()
        self.http.trust_env = False
        self.clients = {name: getattr(org, name) for name in ("stranger", "none", "read", "deploy", "write", "admin", "boss", "root")}
        self.clients |= {"nobody": org.server.api(""), "wrong": org.server.api("pul-" + "f" * 40),
                         "machine": org.machine("ci"), "machine admin": org.machine("ops", admin=True),
                         "pool": org.server.api(org.pool["tokenValue"])}
        # Two runs: one stack runs one deployment at a time, so the other one has a stack of its own.
        org.write.deploy(STACK, "preview")
        self.deployment, self.clients["runner"], self.clients["run"] = org.claim()
        self.stacks = {"run of deploy": "acme/shop/other"}
        org.boss.create_stack("acme/shop/other")
        org.boss.settings("acme/shop/other", org.settings)
        org.grant("with-deploy", "deploy", "acme/shop/other")
        org.deploy.deploy("acme/shop/other", "preview")
        _, _, self.clients["run of deploy"] = org.claim()
        org.boss.post("/api/stacks/acme/shop/other/import", org.boss.get(org.stack + "/export"))
        self.update, self.clients["lease"] = org.update(org.boss)
        self.sign_in()

    def sign_in(self):
        answer = self.http.post(self.org.server.url + "/api/console/session", json={"accessToken": self.org.read.token})
        self.cookie, self.csrf = answer.headers["Set-Cookie"].split(";")[0], answer.json()["csrfToken"]
        self.http.cookies.clear()

    def path(self, pattern, auth, caller):
        org, project, stack = self.stacks.get(caller, STACK).split("/")
        own = auth in ("runner", "agent", "handler")
        names = {"orgName": org, "projectName": project, "stackName": stack, "version": "1",
                 "deploymentId": self.deployment if own else "0199d2a0-0000-7000-8000-000000000000",
                 "updateID": self.update.rsplit("/")[-1] if auth == "lease" else "0199d2a0-0000-7000-8000-000000000001"}
        # What the other names name is not there: nothing is changed by those who may.
        return re.sub(r"\{(\w+)\}", lambda m: names.get(m.group(1), "no-such-" + m.group(1).lower()), pattern) + ENDLESS.get(pattern, "")

    def ask(self, method, pattern, auth, caller):
        headers = {"Content-Type": "application/json"}
        if caller == "session":
            headers |= {"Cookie": self.cookie, "Slipway-Csrf": self.csrf}
        elif self.clients[caller].token:
            headers["Authorization"] = ("update-token " if auth == "lease" else "token ") + self.clients[caller].token
        path = self.path(pattern, auth, caller)
        # No handler takes a list: who may write gets past the door, and changes nothing.
        body = b"[]" if method in ("POST", "PUT", "PATCH") else None
        self.http.cookies.clear()
        return path, self.http.request(method, self.org.server.url + path, data=body, headers=headers, timeout=60, allow_redirects=False)


def hidden_words(path):
    """What a 404 says of an organization or a stack, whether it is hidden or not there."""
    found = re.match(r"/api/(?:console/)?(?:stacks|orgs|user/organizations|esc/environments|preview/insights)/([^/]+)(?:/members/[^/]+/stacks)?(?:/([^/]+)/([^/]+))?", path)
    if not found:
        return set()
    return {f"Not Found: organization '{found.group(1)}'", f"Not Found: stack '{found.group(1)}/{found.group(2)}/{found.group(3)}'"}


def test_every_route_and_everybody(own):
    walk = Walk(Organization(own))
    bad, seen = [], set()
    for method, pattern, auth, permission in routes():
        if auth == "handler" and not pattern.startswith("/api/"):
            continue  # pages: test_access.py looks at them
        for caller in [*walk.clients, "session"]:
            wanted = expected(method, pattern, auth, permission, caller)
            path, answer = walk.ask(method, pattern, auth, caller)
            if caller == "session" and (method, pattern) == ("DELETE", "/api/console/session"):
                walk.sign_in()  # it has ended itself
            seen.add((permission, wanted))
            if not judge(wanted, answer, hidden_words(path)):
                bad.append(f"{caller}: {method} {path} ({auth}, {permission}): {answer.status_code}, not {wanted or 'let in'}: {answer.text[:150]}")
    assert not bad, f"{len(bad)} answers:\n" + "\n".join(bad[:60])
    # The walk has seen each permission refused and granted; else one of the callers has lost what it stands for.
    for permission in HOLDS:
        outcomes = {None, 401, 404} | ({403} if permission != "stack-read" else set())
        assert {(permission, outcome) for outcome in outcomes} <= seen, permission
    # Nothing of it has ended what the callers stand for.
    assert walk.clients["run"].get(walk.org.stack)["stackName"] == "dev"
    walk.clients["lease"].post(walk.update + "/complete", {"status": "succeeded"})


def test_hidden_and_missing_are_told_in_the_same_words(own):
    org = Organization(own)
    for api in (org.none, org.stranger):
        for stack in (STACK, "acme/shop/nothing"):
            for method, tail in (("GET", ""), ("GET", "/export"), ("POST", "/deployments"), ("DELETE", ""), ("GET", "/collaborators")):
                said = api.refused(404, method, f"/api/stacks/{stack}{tail}", {} if method == "POST" else ...)
                assert said == f"Not Found: stack '{stack}'", said
    for org_name in ("acme", "no-such-org"):
        assert org.stranger.refused(404, "GET", f"/api/orgs/{org_name}/members") == f"Not Found: organization '{org_name}'"
