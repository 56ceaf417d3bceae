"""The queue of a real server against a small model (helpers/queue_model.py): random deployments, pauses, limits, claims by several
pools, runners that finish or die, a server that is killed in the middle of a request. Every claim has to be the one that the
model names.

QUEUE_SEED repeats a run, QUEUE_SECONDS (20) makes it longer."""
import http.client
import json
import os
import random
import threading
import time

import pytest
from helpers.queue_model import ACTIVE, CLAIM_S, RUNNER_S, EXPIRY_S, Model, Stack
from helpers.waiting import wait_until

SEED = int(os.environ.get("QUEUE_SEED") or random.SystemRandom().randrange(2 ** 32))
SECONDS = float(os.environ.get("QUEUE_SECONDS", "20"))
ORGS = ("acme", "umbrella")
OPERATIONS = ("update", "preview")
OPTIONS = ("--claim-timeout", f"{CLAIM_S}s", "--runner-timeout", f"{RUNNER_S}s", "--queue-expiry", f"{EXPIRY_S}s", "--deployment-timeout", "87000h")
SETTINGS = {"sourceContext": {"git": {"repoUrl": "https://example.invalid/shop.git", "branch": "main"}}}


class Client:
    """One connection, so that the test has time for more than connecting."""

    def __init__(self, port):
        self.http = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def __call__(self, method, path, token, body=None, **headers):
        head = {"Authorization": f"token {token}", "Content-Type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}
        self.http.request(method, path, None if body is None else json.dumps(body), head)
        answer = self.http.getresponse()
        text = answer.read()
        return answer.status, json.loads(text) if text else None


class Run:
    def __init__(self, own, clock, seed):
        self.own, self.clock, self.rng = own, clock, random.Random(seed)
        self.server = own(*OPTIONS, command="serve", clock=clock)
        self.client = Client(self.server.port)
        self.tokens, pools, self.done = {}, {}, {}
        for org in ORGS:
            self.server.admin("org", "add", org)
            self.server.admin("user", "add", "operator", "--org", org, "--role", "admin")
        self.operator = self.server.admin("token", "create", "--user", "operator").stdout.strip()
        for org in ORGS:
            for name in ("one", "two"):
                made = self.ask("POST", f"/api/orgs/{org}/agent-pools", {"name": name})
                pools[made["id"]], self.tokens[made["id"]] = org, made["tokenValue"]
        stacks = [Stack(org, project, name) for org in ORGS for project in ("noisy", "quiet", "other") for name in ("dev", "prod", "test")[:3 if project == "noisy" else 1]]
        for stack in stacks:
            self.ask("POST", f"/api/stacks/{stack.org}/{stack.project}", {"stackName": stack.name})
            self.ask("POST", f"{stack.path}/deployments/settings", SETTINGS)
        self.model = Model(ORGS, pools, stacks)

    @property
    def now(self):
        return time.time() + self.clock.ahead

    def ask(self, method, path, body=None, token=None, good=(200, 202, 204), **headers):
        status, answer = self.client(method, path, token or self.operator, body, **headers)
        assert status in good, f"{method} {path}: {status} {answer}"
        return answer

    def note(self, what):
        self.done[what] = self.done.get(what, 0) + 1

    # ---- moves: each a request, and what the model does when it is answered ---------------------------------------
    def create(self):
        stack, skip = self.rng.choice(self.model.stacks), self.rng.random() < .25
        pool = self.rng.choice([None, None, None, *(p for p, o in self.model.pools.items() if o == stack.org)])
        body = {"operation": self.rng.choice(OPERATIONS), "operationContext": {"options": {"skipIntermediateDeployments": skip}}, "agentPoolID": pool}

        def apply(answer):
            self.model.create(answer["id"], answer["version"], stack, body["operation"], pool, skip, self.now)

        def settle():
            listed = self.ask("GET", f"{stack.path}/deployments?pageSize=1")
            if listed["total"] > stack.count:
                apply(listed["deployments"][0])
        return ("POST", f"{stack.path}/deployments", body), apply, settle

    def poll(self, pool=None):
        pools = list(self.model.pools)
        if self.rng.random() < .6:
            pools = [p for p in pools if self.model.next(p)] or pools
        pool = pool or self.rng.choice(pools)

        def apply(answer):
            expected = self.model.next(pool)
            got = answer and answer["deploymentID"]
            assert got == (expected and expected.id), f"{self.name(got)} was given out, not {self.name(expected and expected.id)}"
            self.model.seen[pool] = self.now
            if expected:
                self.note("claimed")
                self.model.claim(expected, answer["attempt"], answer["jobToken"], self.now)

        def settle():
            # Claimed by nobody, if it was claimed: it comes back when the claim has run out.
            expected = self.model.next(pool)
            if expected and self.status(expected) == "accepted":
                self.note("claims lost with the server")
                self.model.claim(expected, expected.attempt + 1, None, self.now)
            # Whether the agent was noted before the end is known again with its next poll.
            self.model.seen[pool] = None
        return ("GET", "/api/deployments/poll", None, self.tokens[pool]), apply, settle

    def held(self, *statuses):
        return [d for d in self.model.all if d.status in statuses and d.token]

    def finish(self):
        running = self.held("running")
        if not running:
            return None
        d, status = self.rng.choice(running), self.rng.choice(("succeeded", "succeeded", "failed"))
        request = ("POST", f"/api/runner/{d.id}/finish", {"attempt": d.attempt, "status": status, "message": ""}, d.token)

        def apply(answer):
            self.model.end(d, status)

        def settle():
            self.ask(*request)  # a runner that was not answered says it again
            apply(None)
        return request, apply, settle

    def cancel(self):
        some = [d for d in self.model.all if d.status in ("not-started", *ACTIVE)]
        if not some:
            return None
        d = self.rng.choice(some)
        request = ("POST", f"{d.stack.path}/deployments/{d.id}/cancel")

        def apply(answer):
            self.model.cancel(d, self.now)

        def settle():
            self.ask(*request)
            apply(None)
        return request, apply, settle

    def pause(self):
        target = self.rng.choice([*self.model.orgs.values(), *self.model.stacks])
        paused = self.rng.random() < .4
        path = f"{target.path}/deployments" if isinstance(target, Stack) else f"/api/orgs/{next(n for n, o in self.model.orgs.items() if o is target)}/deployments"
        request = ("POST", path + ("/pause" if paused else "/resume"))

        def apply(answer):
            target.paused = paused

        def settle():
            self.ask(*request)
            apply(None)
        return request, apply, settle

    def limit(self):
        name, limit = self.rng.choice(ORGS), self.rng.choice((1, 2, 2, 3, 10))
        request = ("PATCH", f"/api/orgs/{name}", {"setDeploymentConcurrency": limit})

        def apply(answer):
            self.model.orgs[name].limit = limit

        def settle():
            self.ask(*request)
            apply(None)
        return request, apply, settle

    def default_pool(self):
        pool = self.rng.choice(list(self.model.pools))
        request = ("PATCH", f"/api/orgs/{self.model.pools[pool]}/agent-pools/{pool}", {"isDefault": True})

        def apply(answer):
            self.model.orgs[self.model.pools[pool]].default_pool = pool

        def settle():
            self.ask(*request)
            apply(None)
        return request, apply, settle

    # ---- further moves -------------------------------------------------------------------------------------------
    def work(self):
        """A runner that holds a claim takes the next step with it."""
        some = self.held("accepted")
        if not some:
            return
        d = self.rng.choice(some)
        if not d.ordered:
            order = self.ask("GET", f"/api/runner/{d.id}/order?attempt={d.attempt}", token=d.token)
            assert order["deployment"]["id"] == d.id and order["deployment"]["operation"] == d.operation
            self.model.order(d, self.now)
        else:
            self.ask("POST", f"/api/runner/{d.id}/steps", {"attempt": d.attempt, "step": 0, "name": "Setup", "status": "running"}, token=d.token)
            self.model.start(d, self.now)

    def burst(self):
        """Several agents of one pool at the same moment: what they get is what one after the other would have got."""
        pool, port, answers = self.rng.choice(list(self.model.pools)), self.server.port, []
        threads = [threading.Thread(target=lambda: answers.append(Client(port)("GET", "/api/deployments/poll", self.tokens[pool]))) for _ in range(5)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        got = {a["deploymentID"]: a for status, a in answers if status == 200}
        assert len(answers) == 5 and len(got) == sum(status == 200 for status, _ in answers), "given out twice"
        self.model.seen[pool] = self.now
        while got:
            expected = self.model.next(pool)
            assert expected and expected.id in got, f"{[self.name(g) for g in got]} were given out, not {expected}"
            answer = got.pop(expected.id)
            self.model.claim(expected, answer["attempt"], answer["jobToken"], self.now)
        assert sum(status == 200 for status, _ in answers) == 5 or self.model.next(pool) is None

    def advance(self):
        seconds = self.rng.choice((75, 100, CLAIM_S + 60, CLAIM_S + 60, RUNNER_S + 60, EXPIRY_S + 60 if self.rng.random() < .15 else 200))
        later = self.now + seconds
        if any(abs(edge - later) < 20 for edge in self.model.edges()):
            return
        lost = [(d, d.attempt, d.token) for d in self.model.all if d.token]
        before = {d: d.status for d in self.model.all}
        self.clock.advance(seconds)
        self.model.tick(later)
        changed = [d for d in self.model.all if d.status != before[d]]
        for d in changed:
            wait_until(lambda: self.status(d) == d.status, 20, f"{d} to be so")
        for d, attempt, token in lost:
            if not d.token:
                self.note("leases lost")
                self.fenced(d, attempt, token)

    def fenced(self, d, attempt, token):
        status, _ = self.client("POST", f"/api/runner/{d.id}/heartbeat", token, {"attempt": attempt})
        assert status in (401, 409), f"an old attempt of {d} is still heard: {status}"
        status, _ = self.client("POST", f"/api/runner/{d.id}/finish", token, {"attempt": attempt, "status": "succeeded", "message": ""})
        assert status in (401, 409)

    def kill(self):
        """kill -9 while a request is on its way: it happened or it did not, and nothing else did."""
        move = self.rng.choice((self.create, self.poll, self.poll, self.finish, self.cancel, self.pause))()
        if not move:
            return
        request, apply, settle = move
        said, port = [], self.server.port

        def send():
            try:
                method, path, body, token = (*request, None, None)[:4]
                said.append(Client(port)(method, path, token or self.operator, body))
            except (OSError, http.client.HTTPException):
                pass
        thread = threading.Thread(target=send)
        thread.start()
        time.sleep(self.rng.random() * .012)
        self.server.kill()
        thread.join()
        self.server = self.own(*OPTIONS, command="serve", clock=self.clock, folder=self.server.folder, listen=f"127.0.0.1:{port}")
        self.client = Client(port)
        self.note("killed, answered" if said else "killed, not answered")
        if said:
            assert said[0][0] in (200, 202, 204), said
            apply(said[0][1])
        else:
            settle()

    # ---- looks ---------------------------------------------------------------------------------------------------
    def name(self, id):
        d = next((d for d in self.model.all if d.id == id), None)
        return f"{d.stack.path}/{d.version} ({d.status})" if d else str(id)

    def status(self, d):
        return self.ask("GET", f"{d.stack.path}/deployments/{d.id}")["status"]

    def why(self):
        some = [d for d in self.model.all if d.status == "not-started"]
        if not some:
            return
        d = self.rng.choice(some)
        place, kinds = self.model.waiting(d, self.now)
        said = self.ask("GET", f"{d.stack.path}/deployments/{d.id}/waiting")
        assert said["position"] == place
        if kinds is not None:
            assert [r["kind"] for r in said["reasons"]] == kinds, (said, kinds)

    def look(self):
        org = self.rng.choice(ORGS)
        about = self.ask("GET", f"/api/orgs/{org}/deployments/metadata")
        assert about["deploymentCounts"] == self.model.counts(org) and about["concurrency"] == self.model.orgs[org].limit
        assert about["pausedStacks"] == sorted(f"{s.project}/{s.name}" for s in self.model.stacks if s.org == org and s.paused)
        mine = [d for d in reversed(self.model.all) if d.stack.org == org]
        page = self.rng.randrange(1, len(mine) // 10 + 2)
        listed = self.ask("GET", f"/api/orgs/{org}/deployments?page={page}")
        assert [(d["id"], d["status"]) for d in listed["deployments"]] == [(d.id, d.status) for d in mine[(page - 1) * 10:page * 10]]

    # ---- the whole -----------------------------------------------------------------------------------------------
    def step(self):
        kind = self.rng.choices(("create", "poll", "finish", "cancel", "pause", "limit", "default_pool", "work", "burst", "advance", "why", "look", "kill"),
                                (22, 25, 14, 4, 4, 2, 1, 22, 2, 3, 3, 2, .6))[0]
        self.note(kind)
        move = getattr(self, kind)()
        if move:
            request, apply, _ = move
            apply(self.ask(*request))

    def drain(self):
        """Everything that waits runs in the end."""
        for org in ORGS:
            self.ask("POST", f"/api/orgs/{org}/deployments/resume")
            self.model.orgs[org].paused = False
        for stack in self.model.stacks:
            self.ask("POST", f"{stack.path}/deployments/resume")
            stack.paused = False
        self.clock.advance(RUNNER_S + 60)
        self.model.tick(self.now)
        wait_until(lambda: all(self.ask("GET", f"/api/orgs/{o}/deployments/metadata")["deploymentCounts"] == self.model.counts(o) for o in ORGS), 20, "lost leases")
        while any(self.model.next(pool) for pool in self.model.pools):
            for pool in self.model.pools:
                request, apply, _ = self.poll(pool)
                apply(self.ask(*request))
            for d in self.held("accepted"):
                self.ask("POST", f"/api/runner/{d.id}/steps", {"attempt": d.attempt, "step": 0, "name": "Setup", "status": "running"}, token=d.token)
                self.model.start(d, self.now)
                self.ask("POST", f"/api/runner/{d.id}/finish", {"attempt": d.attempt, "status": "succeeded", "message": ""}, token=d.token)
                self.model.end(d, "succeeded")
        assert {d.status for d in self.model.all} <= {"succeeded", "failed", "skipped"}
        for _ in range(10):
            self.look()
        self.server.admin("verify")


@pytest.mark.timeout(int(SECONDS) + 240)
def test_the_queue_does_what_the_model_says(own, clock):
    print(f"QUEUE_SEED={SEED}")
    run, began = Run(own, clock, SEED), time.monotonic()
    try:
        while time.monotonic() - began < SECONDS:
            run.step()
        run.drain()
    except AssertionError as e:
        raise AssertionError(f"QUEUE_SEED={SEED}, after {run.done}: {e}") from e
    print(run.done)
    assert run.done["claimed"] > 20 and run.done["work"] > 20
