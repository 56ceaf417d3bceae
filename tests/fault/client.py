"""A client of the crash test: a few stacks of its own, random work on them, and the comparison with the model."""
import base64
import gzip
import hashlib
import http.client
import json
import random
import time
import urllib.parse

import model

LARGE = 600_000  # bytes of noise: more than fits into a row, so that the document becomes a blob
PREVIEW = {"operation": "preview", "sourceContext": {"git": {"repoUrl": "https://example.invalid/x.git", "branch": "main"}}}
SECRETS = {"type": "service", "state": {"url": "http://x", "owner": "acme", "project": "p", "stack": "s"}}


class Gone(Exception):
    """No answer, or one that says that the server failed: nobody knows whether the request was done."""


class Failed(Gone):
    """The server lives and says that it failed."""


class Wrong(Exception):
    """The server shows what was not acknowledged, or lost what was."""


class Wire:
    """One connection. Errors of the server (5xx) count as no answer; `failed` counts them."""

    def __init__(self, port, token):
        self.port, self.token, self.failed = port, token, 0
        self.connection = None

    def call(self, method, path, body=None, lease=None, timeout=60):
        head = {"Accept": "application/vnd.pulumi+9", "Content-Type": "application/json", "Accept-Encoding": "identity",
                "Authorization": f"update-token {lease}" if lease else f"token {self.token}"}
        data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else b""
        if len(data) > 2000:
            data, head["Content-Encoding"] = gzip.compress(data, 1), "gzip"
        try:
            if not self.connection:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
            self.connection.request(method, path, data, head)
            answer = self.connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as e:
            self.close()
            raise Gone(str(e)) from None
        if answer.status >= 500:
            self.failed += 1
            raise Failed(f"{answer.status} {text[:300]!r}")
        return answer.status, text

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None

    def get(self, path):
        status, text = self.call("GET", path)
        return json.loads(text) if status == 200 else status


class Client:
    def __init__(self, number: int, stacks: int, rng: random.Random):
        self.rng, self.number = rng, number
        self.stacks = [model.Stack(f"crash{number}", f"s{i}") for i in range(stacks)]
        self.ciphers = {id(s): [] for s in self.stacks}
        self.names, self.acknowledged, self.unsure = 0, 0, 0
        self.wire = None

    # ---- requests ----------------------------------------------------------------------------------------------
    def send(self, stack, method, tail, body, operation, lease=None, repeatable=False, expect=(200, 202, 204)):
        """The request, and what it means for the model if it is done."""
        path = stack.path() + tail if not tail.startswith("/api") else tail
        try:
            status, text = self.wire.call(method, path, body, lease)
        except Gone:
            self.unsure += 1
            stack.unsure(operation)
            stack.resend = (method, tail, body, operation, lease) if repeatable else None
            raise
        if status not in expect:
            raise Wrong(f"{method} {path} answered {status}: {text[:500]!r}")
        answer = json.loads(text) if text else None
        stack.done(operation, answer)
        self.acknowledged += 1
        return answer

    def settle(self, stack):
        """After a crash: which of the candidates is it? Now and then by sending the request again, as the CLI does."""
        cancels = bool(stack.resend) and stack.resend[1].endswith("/cancel")
        # A cancel has begun when the lease has ended: there is no way back, so that it is always sent again.
        if stack.resend and len(stack.candidates) == 2 and (cancels or self.rng.random() < 0.5):
            method, tail, body, operation, lease = stack.resend
            status, text = self.wire.call(method, stack.path() + tail, body, lease)
            # Or the ticker was faster: the lease has ended.
            ended = status == 409 and cancels and b"has already ended" in text
            if status not in (200, 202, 204) and not ended:
                raise Wrong(f"{method} {stack.path()}{tail}, sent again, answered {status}: {text[:500]!r}")
            stack.candidates = stack.candidates[1:]
        stack.resend = None
        differences = []
        for candidate in stack.candidates:
            found = self.compare(stack, candidate)
            if not found:
                stack.candidates = [candidate]
                if not candidate["exists"]:
                    self.ciphers[id(stack)].clear()  # the keys went with the stack
                return
            differences.append(found)
        raise Wrong(f"{stack.path()} is none of what it may be:\n" + "\n".join(f"  candidate {i}: {d}" for i, f in enumerate(differences) for d in f))

    def compare(self, stack, state) -> list:
        """What the server shows of the stack and the state does not have, or otherwise."""
        path = f"/api/stacks/acme/{state['project']}/{state['name']}"
        seen, found = self.wire.get(path), []

        def same(what, has, wants):
            if has != wants:
                found.append(f"{what}: {brief(has)} instead of {brief(wants)}")
        if not state["exists"] or seen == 404:
            same("status", seen if isinstance(seen, int) else 200, 404 if not state["exists"] else 200)
            return found
        if not isinstance(seen, dict):
            return [f"status {seen}"]
        update = state["open"]
        same("version", seen["version"], state["version"])
        same("tags", {k: v for k, v in seen["tags"].items() if not k.startswith("pulumi:")}, state["tags"])
        same("running", bool(seen.get("currentOperation")), bool(update))
        same("export", document(self.wire.get(path + "/export")), model.visible(state))
        kept = sorted(state["versions"])
        for version in self.rng.sample(kept, min(2, len(kept))):
            same(f"version {version}", document(self.wire.get(f"{path}/export/{version}")), state["versions"][version])
        history = self.wire.get(path + "/updates?pageSize=10&page=1")["updates"]
        same("history", [(u["version"], u["kind"], u["result"]) for u in reversed(history)], state["history"][-10:])
        settings = self.wire.get(path + "/deployments/settings")
        same("settings", settings["operationContext"]["preRunCommands"] if isinstance(settings, dict) else None, state["settings"])
        for number, status in state["deployments"].items():
            shown = self.wire.get(f"{path}/deployments/{number}")
            same("deployment", shown if isinstance(shown, int) else shown["status"], status)
        if update and update["events"]:
            same("events", self.events(f"{path}/update/{update['id']}/events"), list(range(update["events"])))
        self.compare_secrets(stack, path, same)
        return found

    def events(self, path) -> list:
        """Numbers of the events: up to the empty page of an update that runs, or the last one of another."""
        seen, token = [], ""
        while True:
            page = self.wire.get(path + (f"?continuationToken={urllib.parse.quote(token)}" if token else ""))
            if not page["events"]:
                return seen
            seen += [e["sequence"] for e in page["events"]]
            token = page.get("continuationToken")
            if token is None:
                return seen

    def compare_secrets(self, stack, path, same):
        known = dict(self.rng.sample(self.ciphers[id(stack)], min(3, len(self.ciphers[id(stack)]))))
        if known:
            status, text = self.wire.call("POST", path + "/batch-decrypt", {"ciphertexts": list(known)})
            same("secrets", json.loads(text).get("plaintexts") if status == 200 else status, known)

    # ---- work --------------------------------------------------------------------------------------------------
    def work(self, faulty):
        """Until the server is gone. While faulty() nothing is said about the stacks whose requests have failed."""
        while True:
            certain = [s for s in self.stacks if len(s.candidates) == 1]
            try:
                if len(certain) < len(self.stacks) and not faulty():
                    for stack in self.stacks:
                        self.settle(stack) if len(stack.candidates) > 1 else None
                elif certain:
                    self.step(self.rng.choice(certain))
                else:
                    time.sleep(0.01)
            except Failed:
                pass

    def step(self, stack):
        state = stack.state
        if not state["exists"]:
            _, _, _, org, project, name = stack.path().split("/")
            self.send(stack, "POST", f"/api/stacks/{org}/{project}", {"stackName": name}, model.create)
        elif state["open"]:
            self.choose(stack, self.save, 60, self.add_events, 8, self.renew, 4, self.encrypt, 3, self.refused, 2, self.complete, 18, self.cancel, 5)
        else:
            self.choose(stack, self.begin, 62, self.do_import, 9, self.rename, 4, self.tag, 6, self.encrypt, 7, self.set_settings, 4,
                        self.deploy, 3, self.restore, 3, self.remove, 2)

    def choose(self, stack, *work):
        self.rng.choices(work[::2], work[1::2])[0](stack)

    def finish(self, stack):
        """The stack must be usable: whatever runs is ended, and a whole update goes through."""
        if stack.state["open"]:
            self.cancel(stack)
        if not stack.state["exists"]:
            return
        self.begin(stack, "journal")
        self.save(stack)
        self.complete(stack)
        if found := self.compare(stack, stack.state):
            raise Wrong(f"{stack.path()} after a further update: " + "; ".join(found))

    def begin(self, stack, way=None):
        body = {"name": "p", "runtime": "yaml", "config": {}, "options": {}, "metadata": {"message": "", "environment": {}}}
        status, text = self.wire.call("POST", stack.path() + "/update", body)
        if status != 200:
            raise Wrong(f"POST {stack.path()}/update answered {status}: {text[:500]!r}")
        update = json.loads(text)["updateID"]
        way = way or self.rng.choice(("journal", "journal", "checkpoint", "delta"))
        self.send(stack, "POST", f"/update/{update}", {"journalVersion": 1} if way == "journal" else {}, model.begin(way, update))

    def running(self, stack) -> tuple:
        """Path and lease; the lease is unknown after a crash during start or renewal: such an update can only be cancelled."""
        update = stack.state["open"]
        if not update["token"]:
            self.cancel(stack)
            return None, None
        return f"/update/{update['id']}", update["token"]

    def value(self):
        kind = self.rng.random()
        if kind < 0.012:
            return self.rng.randbytes(LARGE // 2).hex()
        return self.rng.randbytes(12).hex() if kind < 0.9 else {"a": [1, 2.5, None], "b": "é\u2028" * 50}

    def resource(self, state) -> dict:
        self.names += 1
        name, value = f"r{self.names}", self.value()
        return {"urn": f"urn:pulumi:{state['name']}::{state['project']}::pulumi:index:Stash::{name}", "custom": True, "id": name,
                "type": "pulumi:index:Stash", "inputs": {"input": value}, "outputs": {"input": value, "output": value}}

    def save(self, stack):
        path, lease = self.running(stack)
        if path:
            {"journal": self.save_journal, "checkpoint": self.save_checkpoint, "delta": self.save_delta}[stack.state["open"]["way"]](stack, path, lease)

    def save_journal(self, stack, path, lease):
        entries = stack.state["open"]["entries"]
        number = max((e["sequenceID"] for e in entries), default=0)
        operation = max((e["operationID"] for e in entries), default=0)
        base = (stack.state["doc"] or model.empty_doc())["resources"]
        free = [i for i in range(len(base)) if i not in {e["removeOld"] for e in entries}]
        made = [e["operationID"] for e in entries if e["kind"] == 1 and e.get("state")]
        made = [op for op in made if op not in {e["removeNew"] for e in entries}]
        batch = []

        def add(kind, **more):
            nonlocal number
            number += 1
            batch.append({"version": 1, "kind": kind, "sequenceID": number, "operationID": operation, "removeOld": None, "removeNew": None, **more})
        if not entries:
            add(6, secretsProvider=SECRETS)
            batch[-1]["operationID"] = 0
        for _ in range(self.rng.randint(1, 5)):
            operation += 1
            what, fate = self.rng.random(), 1 if self.rng.random() < 0.9 else self.rng.choice((2, None))
            old = free.pop(self.rng.randrange(len(free))) if free and what < 0.4 else None
            new = made.pop(self.rng.randrange(len(made))) if made and old is None and what > 0.9 else None
            if old is not None and what < 0.2 and len(base) < 12:
                state = {**base[old], "outputs": {"again": self.value()}}
                add(0, operation={"resource": base[old], "type": "updating"})
            elif old is not None:
                state = None
                add(0, operation={"resource": base[old], "type": "deleting"})
            else:
                state = self.resource(stack.state)
                add(0, operation={"resource": {k: v for k, v in state.items() if k != "outputs"}, "type": "creating"})
            if fate == 1:
                add(1, removeOld=old, removeNew=new, **({"state": state} if state else {}))
            elif fate == 2:
                add(2)
        self.send(stack, "PATCH", path + "/journalentries", {"entries": batch}, model.journal(batch), lease, repeatable=True)

    def new_doc(self, state, keep=0.8) -> dict:
        old = [r for r in (state["doc"] or model.empty_doc())["resources"] if self.rng.random() < keep][:10]
        return {"resources": old + [self.resource(state) for _ in range(self.rng.randint(1, 3))], "pending": []}

    def save_checkpoint(self, stack, path, lease):
        doc = self.new_doc(stack.state)
        self.send(stack, "PATCH", path + "/checkpoint", {"isInvalid": False, **untyped(doc)}, model.checkpoint(doc), lease, repeatable=True)

    def save_delta(self, stack, path, lease):
        update = stack.state["open"]
        doc, number = self.new_doc(stack.state, 0.95), update["sequence"] + 1
        text = json.dumps(untyped(doc)).encode()
        body = {"version": 3, "sequenceNumber": number}
        if update["text"] is None or self.rng.random() < 0.1:
            # Not by json.dumps of the whole: the text of the document is the base of the next delta.
            body = json.dumps(body)[:-1].encode() + b', "untypedDeployment": ' + text + b"}"
            path += "/checkpointverbatim"
        else:
            body.update(checkpointHash=hashlib.sha256(text).hexdigest(), deploymentDelta=[edit(update["text"], text)])
            path += "/checkpointdelta"
        self.send(stack, "PATCH", path, body, model.checkpoint(doc, text, number), lease, repeatable=True)

    def add_events(self, stack):
        path, lease = self.running(stack)
        if path:
            begun = stack.state["open"]["events"]
            count = begun + self.rng.randint(1, 20)
            batch = [{"sequence": i, "timestamp": 1790000000, "stdoutEvent": {"message": f"line {i}\n", "color": "raw"}} for i in range(begun, count)]
            self.send(stack, "POST", path + "/events/batch", {"events": batch}, model.events(count), lease, repeatable=True)

    def renew(self, stack):
        path, lease = self.running(stack)
        if path:
            self.send(stack, "POST", path + "/renew_lease", {"token": "", "duration": 300}, model.renew, lease)

    def complete(self, stack):
        path, lease = self.running(stack)
        if path:
            status = self.rng.choice(("succeeded", "failed"))
            self.send(stack, "POST", path + "/complete", {"status": status}, model.end(status), lease, repeatable=True)

    def cancel(self, stack):
        self.send(stack, "POST", f"/update/{stack.state['open']['id']}/cancel", None, model.end("cancelled"), repeatable=True)

    def refused(self, stack):
        """While an update runs an import is refused, and changes nothing."""
        self.send(stack, "POST", "/import", untyped(model.empty_doc()), lambda state, answer: None, expect=(409,))

    def do_import(self, stack):
        doc = self.new_doc(stack.state)
        self.send(stack, "POST", "/import", untyped(doc), model.put_doc(doc, "import"))

    def restore(self, stack):
        if stack.state["versions"]:
            version = self.rng.choice(sorted(stack.state["versions"]))
            self.send(stack, "POST", f"/versions/{version}/restore", None, model.restore(version))

    def rename(self, stack):
        self.names += 1
        project, name = stack.state["project"], f"s-{self.number}-{self.names}"
        self.send(stack, "POST", "/rename", {"newName": name, "newProject": project}, model.rename(project, name))

    def tag(self, stack):
        value = {f"t{i}": self.rng.randbytes(4).hex() for i in range(self.rng.randint(0, 4))}
        self.send(stack, "PATCH", "/tags", value, model.tags(value))

    def encrypt(self, stack):
        plain = base64.b64encode(self.rng.randbytes(20)).decode()
        answer = self.send(stack, "POST", "/encrypt", {"plaintext": plain}, lambda state, answer: None)
        self.ciphers[id(stack)].append((answer["ciphertext"], plain))

    def set_settings(self, stack):
        value = [self.rng.randbytes(4).hex()]
        self.send(stack, "POST", "/deployments/settings", {"operationContext": {"preRunCommands": value}}, model.settings(value))

    def deploy(self, stack):
        waiting = [d for d, status in stack.state["deployments"].items() if status == "not-started"]
        if waiting:
            self.send(stack, "POST", f"/deployments/{waiting[0]}/cancel", None, model.deployment("skipped", waiting[0]), repeatable=True)
        else:
            self.send(stack, "POST", "/deployments", PREVIEW, model.deployment("not-started"))

    def remove(self, stack):
        self.send(stack, "DELETE", "?force=true", None, model.remove)
        self.ciphers[id(stack)].clear()


def untyped(doc) -> dict:
    more = {"pending_operations": doc["pending"]} if doc["pending"] else {}
    return {"version": 3, "deployment": {"manifest": model.MAGIC, "secrets_providers": SECRETS, "resources": doc["resources"], **more}}


def document(answer):
    if not isinstance(answer, dict):
        return answer
    return {"resources": answer["deployment"].get("resources") or [], "pending": answer["deployment"].get("pending_operations") or []}


def edit(old: bytes, new: bytes) -> dict:
    """One edit that makes the new text: what both begin and end with stays. Cut between characters: both are ASCII."""
    a, limit = 0, min(len(old), len(new))
    while a < limit and old[a] == new[a]:
        a += 1
    b = 0
    while b < limit - a and old[-1 - b] == new[-1 - b]:
        b += 1
    point = {"line": 1, "column": 1}
    return {"Span": {"uri": "", "start": {**point, "offset": a}, "end": {**point, "offset": len(old) - b}}, "NewText": new[a:len(new) - b].decode()}


def brief(value) -> str:
    if isinstance(value, dict) and "resources" in value:
        value = {"resources": [r["urn"].split("::")[-1] + hashlib.sha256(json.dumps(r, sort_keys=True).encode()).hexdigest()[:6] for r in value["resources"]],
                 "pending": [p["type"] for p in value["pending"]]}
    text = json.dumps(value)
    return text if len(text) < 600 else text[:600] + "..."
