"""Random journals, as an engine writes them, and wilder ones.

`document(seed, number)` gives {"base": <DeploymentV3 or None>, "entries": [...] in the order of arrival}. Values of
inputs and outputs that read "@@n@@" stand for texts that must survive byte for byte: see `verbatim(n)`.
"""
import base64
import copy
import random

STACK_TYPE = "pulumi:pulumi:Stack"
SECRET = {"4dabf18193072939515e22adb298388d": "1b47061264138c4ac30d75fd1eb44270"}
NAMES = ["a", "b", "c", "d", "web", "db::main", "naïve", "x<y>&z", 'quo"te', "back\\slash", "tab\there", "\U0001f600", "$cash", "\u2028"]
TYPES = ["t:i:T", "t:i:N", "aws:s3/bucket:Bucket", "my:index:Component"]
VERBATIM = [
    "1.0", "-0", "-0.0", "1e400", "-1E-400", "12345678901234567890123", "0.10", "1E2", "9007199254740993", "5e-324",
    r'"\u003cb\u003e"', r'"\/"', r'"\ud83d\ude00"', r'"\ud800"', '"\u2028\x7f"', r'"\u0000"', '{"a" : 1,\t"a":2}', "[ ]", "{ }",
    '[' * 100 + ']' * 100, '{"":null}', r'"\u00e9"', '[[[[[[[[1.50]]]]]]]]', '"%s"' % ("long " * 300), 'null', 'true', r'"\"}],"',
]


def verbatim(number):
    """The JSON text behind "@@number@@": unique, so that it can be told from all others in an output."""
    return '{"id" :"#%d#","v":%s}' % (number, VERBATIM[number % len(VERBATIM)])


class Slot:
    """A resource in the state: `old` is its index in the base, or `new` the operation whose success made it."""

    def __init__(self, state, old=None, new=None):
        self.state, self.old, self.new = state, old, new
        self.alive, self.busy = True, False


class Journal:
    def __init__(self, rng):
        self.rng = rng
        self.texts = self.ids = 0
        self.base = None
        self.slots = []  # of the base, then what successes made
        self.entries = []
        self.operation = 0
        self.open = []  # ends of operations that have begun
        self.gone_urns = []

    # --- resources ---

    def chance(self, p):
        return self.rng.random() < p

    def urn(self, parent=None):
        r = self.rng
        kind = r.choice(TYPES)
        if parent and self.chance(0.9):
            outer = parent.split("::")[2]
            if outer != STACK_TYPE:
                kind = outer + "$" + kind
        return "urn:pulumi:dev::p::%s::%s" % (kind, r.choice(NAMES) + (str(r.randrange(4)) if self.chance(0.7) else ""))

    def value(self, depth=0):
        r = self.rng
        pick = r.randrange(9 if depth < 3 else 6)
        if pick == 0:
            self.texts += 1
            return "@@%d@@" % (self.texts * len(VERBATIM) + r.randrange(len(VERBATIM)))
        if pick == 1:
            return r.randrange(-1000, 1 << 40)
        if pick == 2:
            return r.choice(["", "text", "<&>", "zeile\nneu", "é", "\U0001f680", "\u0001", "\x7f"])
        if pick == 3:
            return r.choice([True, False, None])
        if pick == 4:
            return r.choice([0.5, -2.25, 1e21, 1e-7, 100.0])
        if pick == 5:
            return dict(SECRET, ciphertext="v1:%d" % r.randrange(1000))
        if pick == 6:
            return [self.value(depth + 1) for _ in range(r.randrange(3))]
        return self.properties(depth + 1)

    def properties(self, depth=0):
        return {self.rng.choice(["k", "name", "tags", "weird key", "é", "4dabf"]) + str(i): self.value(depth)
                for i in range(self.rng.randrange(4))}

    def reference(self):
        """A URN that others may name: mostly one that lives, sometimes one that is gone or comes later."""
        r = self.rng
        known = [s.state["urn"] for s in self.slots if s.alive] or [self.urn()]
        if self.gone_urns and self.chance(0.15):
            return r.choice(self.gone_urns)
        return self.urn() if self.chance(0.03) else r.choice(known)

    def references(self, limit=3):
        return [self.reference() for _ in range(self.rng.randrange(limit + 1))]

    def provider(self):
        known = [s.state["urn"] for s in self.slots if s.alive and s.state["type"].startswith("pulumi:providers:")]
        if known and self.chance(0.8):
            urn = self.rng.choice(known)
        else:
            urn = "urn:pulumi:dev::p::pulumi:providers:%s::%s" % (
                self.rng.choice(["aws", "t"]), self.rng.choice(["default", "default_1_2_3", "ex::plicit"]))
        return urn + "::" + self.rng.choice(["id-1", "04da6b54-80e4-46f7-96ec-b56ff0331ba9", "id with space"])

    def resource(self, urn=None):
        r = self.rng
        pick = r.random()
        parent = self.reference() if self.chance(0.5) else None
        if urn is None:
            if pick < 0.06:
                parent, urn = None, "urn:pulumi:dev::p::%s::p-dev" % STACK_TYPE
            elif pick < 0.2:
                urn = "urn:pulumi:dev::p::pulumi:providers:%s::%s" % (
                    r.choice(["aws", "t"]), r.choice(["default", "default_1_2_3", "ex::plicit"]))
            else:
                urn = self.urn(parent)
        kind = urn.split("::")[2].split("$")[-1]
        s = {"urn": urn, "custom": self.chance(0.7), "type": kind}
        optional = [
            (0.8, "id", self.new_id),
            (0.7, "inputs", self.properties),
            (0.7, "outputs", self.properties),
            (0.4, "dependencies", self.references),
            (0.3, "propertyDependencies", lambda: {k: self.references(2) for k in r.sample(["k0", "name1", "p"], r.randrange(4))}),
            (0.1, "deletedWith", self.reference),
            (0.1, "replaceWith", self.references),
            (0.06, "viewOf", self.reference),
            (0.08, "aliases", lambda: [self.alias() for _ in range(r.randrange(3))]),
            (0.04, "delete", lambda: self.chance(0.7)),
            (0.03, "pendingReplacement", lambda: self.chance(0.7)),
            (0.08, "protect", lambda: self.chance(0.5)),
            (0.05, "taint", lambda: self.chance(0.5)),
            (0.05, "external", lambda: self.chance(0.5)),
            (0.05, "retainOnDelete", lambda: self.chance(0.5)),
            (0.05, "refreshBeforeUpdate", lambda: self.chance(0.5)),
            (0.05, "initErrors", lambda: ["broken: <%d>" % r.randrange(9)]),
            (0.05, "additionalSecretOutputs", lambda: ["k0"]),
            (0.05, "customTimeouts", lambda: {"create": r.randrange(1, 900), "delete": 1.5}),
            (0.05, "importID", lambda: "imp"),
            (0.3, "created", lambda: "2024-03-01T10:20:30.%dZ" % r.randrange(1, 10**9)),
            (0.3, "modified", lambda: r.choice(["2024-03-01T10:20:30Z", "2025-01-01T00:00:00.120+02:00"])),
            (0.2, "sourcePosition", lambda: "project:///index.ts#%d,3" % r.randrange(99)),
            (0.1, "stackTrace", lambda: [{"sourcePosition": "project:///index.ts#1,1"}]),
            (0.05, "ignoreChanges", lambda: ["a.b", "c[*]"]),
            (0.05, "replaceOnChanges", lambda: ["a"]),
            (0.05, "replacementTrigger", lambda: r.choice([1, "x", {"a": [1]}])),
            (0.05, "resourceHooks", lambda: r.choice([{}, {"before-create": ["h1", "h2"]}])),
            (0.03, "extensionRef", lambda: r.choice(["ext-1", "ext-2", ""])),
            (0.03, "snippetID", lambda: r.choice(["2b0c", ""])),
        ]
        if parent:
            s["parent"] = parent
        if s["custom"] and not kind.startswith("pulumi:providers:") and self.chance(0.8):
            s["provider"] = self.provider()
        for p, key, make in optional:
            if self.chance(p):
                s[key] = make()
        if self.chance(0.05):
            s[r.choice([key for _, key, _ in optional])] = None
        if not kind.startswith("pulumi:providers:") and s.get("aliases"):
            # Nothing but a provider was ever a provider.
            s["aliases"] = [a for a in s["aliases"] if "pulumi:providers:" not in a]
        keys = list(s)
        if self.chance(0.3):
            r.shuffle(keys)
        return {k: s[k] for k in keys}

    def new_id(self):
        self.ids += 1
        return "id-%d" % self.ids

    def alias(self):
        if self.gone_urns and self.chance(0.4):
            return self.rng.choice(self.gone_urns)
        return self.reference() if self.chance(0.5) else self.urn()

    def changed(self, state):
        """What an update makes of it: the same resource, mostly under the same URN."""
        if self.chance(0.1):
            now = self.resource()
            if self.chance(0.7) and "pulumi:providers:" not in state["urn"]:
                now["aliases"] = [state["urn"]]
            return now
        now = self.resource(state["urn"]) if self.chance(0.6) else copy.deepcopy(state)
        for mark in ("delete", "pendingReplacement"):
            now.pop(mark, None)
        return now

    # --- deployments ---

    def secrets_provider(self):
        return self.rng.choice([
            {"type": "service", "state": {"url": "http://x", "owner": "acme", "project": "p", "stack": "dev"}},
            {"type": "passphrase", "state": {"salt": "v1:abc"}},
            {"type": "passphrase"},
        ])

    def snippets(self):
        return [{"uuid": "u%d" % i, "name": "n", "type": "t:i:T", "code": "x = <%d>" % i, "descriptor": {"name": "t", "version": "1.2.3"},
                 "references": {k: self.reference() for k in self.rng.sample(["x", "y", "zé"], self.rng.randrange(4))}}
                for i in range(self.rng.randrange(3))]

    def extension(self):
        return {"name": "e", "version": "1.0.0", "value": base64.b64encode(b"v%d" % self.rng.randrange(99)).decode()}

    def operation_of(self, state, kind):
        return {"resource": copy.deepcopy(state), "type": kind}

    def deployment(self):
        """A base; its resources become the slots."""
        r = self.rng
        self.slots = []
        for i in range(r.randrange(11)):
            self.slots.append(Slot(self.resource(), old=i))
        d = {"manifest": {"time": "2024-01-01T00:00:00Z", "magic": "m", "version": "v3.1.0"}}
        if self.slots or self.chance(0.5):
            d["resources"] = [copy.deepcopy(s.state) for s in self.slots]
        if self.chance(0.6):
            d["secrets_providers"] = self.secrets_provider()
        if self.chance(0.2):
            d["pending_operations"] = [self.operation_of(self.resource(), r.choice(["creating", "updating", "deleting", "reading"]))
                                       for _ in range(r.randrange(1, 4))]
        if self.chance(0.5):
            d["metadata"] = r.choice([{}, {"integrity_error": {"version": "3", "command": "pulumi up", "error": "e"}}])
        if self.chance(0.1):
            d["snippets"] = self.snippets()
        if self.chance(0.1):
            d["extensions"] = {k: self.extension() for k in r.sample(["ext-1", "ext-2", "ext-é"], 2)}
        return d

    # --- entries ---

    def entry(self, kind, operation, /, **members):
        e = {"version": 1, "kind": kind, "sequenceID": len(self.entries) + 1, "operationID": operation,
             "removeOld": None, "removeNew": None}
        e.update({k: v for k, v in members.items() if v is not None or k in e})
        if self.chance(0.01):
            e["requiresByteString"] = True
        self.entries.append(e)
        return e

    def at(self, slot, verb):
        return {verb + "Old": slot.old} if slot.old is not None else {verb + "New": slot.new}

    def remove(self, slot):
        slot.alive = False
        self.gone_urns.append(slot.state["urn"])
        return self.at(slot, "remove")

    def begin(self, kind=None, state=None):
        self.operation += 1
        self.entry(0, self.operation, operation=self.operation_of(state, kind) if kind else None)
        return self.operation

    def made(self, state, operation):
        slot = Slot(state, new=operation)
        self.slots.append(slot)
        return slot

    def run(self, slot, begin_kind, begin_state, end, fail_state=None):
        """Begin now; the end comes at once, later, or never. `end` returns the members of the success."""
        operation = self.begin(begin_kind, begin_state)
        if slot:
            slot.busy = True

        def finish():
            if slot:
                slot.busy = False
            if self.chance(0.12):
                members = self.at(slot, "remove") if slot and self.chance(0.5) else {}
                return self.entry(2, operation, state=copy.deepcopy(fail_state), **members)
            kind, members = end(operation)
            return self.entry(kind, operation, **members)

        if self.chance(0.6):
            finish()
        else:
            self.open.append(finish)

    def step_same(self, slot):
        state = copy.deepcopy(slot.state) if self.chance(0.8) else self.changed(slot.state)
        self.run(slot, None, None, lambda op: (1, dict(self.remove(slot), state=copy.deepcopy(self.made(state, op).state))), state)

    def step_update(self, slot):
        state = self.changed(slot.state)
        self.run(slot, "updating", state, lambda op: (1, dict(self.remove(slot), state=self.made(state, op).state)), state)

    def step_create(self, _):
        state = self.resource()
        kind = self.rng.choice(["creating", "creating", "importing", "reading"])
        self.run(None, kind, state, lambda op: (1, {"state": self.made(state, op).state}), state)

    def step_skipped_create(self, _):
        self.run(None, None, None, lambda op: (1, {}))

    def step_replace(self, slot):
        """Create before delete: the old one is marked, and deleted by a later step."""
        state = self.changed(slot.state)

        def end(op):
            slot.state = dict(slot.state, delete=True)
            return 1, dict(self.at(slot, "delete"), state=self.made(state, op).state)
        self.run(slot, self.rng.choice(["creating", "importing"]), state, end, state)

    def step_delete_before_replace(self, slot):
        def end(_op):
            slot.state = dict(slot.state, pendingReplacement=True)
            return 1, self.at(slot, "pendingReplacement")
        self.run(slot, "deleting", slot.state, end)

    def step_remove_pending(self, slot):
        self.run(slot, None, None, lambda op: (1, self.remove(slot)))

    def step_delete(self, slot):
        self.run(slot, "deleting", slot.state, lambda op: (1, self.remove(slot)))

    def step_read(self, slot):
        state = dict(self.changed(slot.state), external=True)
        self.run(slot, "reading", state, lambda op: (1, dict(self.remove(slot), state=self.made(state, op).state)), state)

    def step_persisted_refresh(self, slot):
        state = self.changed(slot.state)
        gone = self.chance(0.2)
        self.run(slot, None, None, lambda op: (1, dict(
            self.remove(slot), isRefresh=True, state=None if gone else self.made(state, op).state)), state)

    def step_refresh(self, slot):
        state = self.changed(slot.state)
        gone = self.chance(0.2)

        def end(_op):
            where = self.at(slot, "remove")
            if gone:
                self.remove(slot)
                return 3, dict(where, isRefresh=True)
            slot.state = state
            return 3, dict(where, isRefresh=True, state=state)
        self.run(slot, None, None, end, state)

    def step_outputs(self, slot):
        slot.state = dict(slot.state, outputs=self.properties())
        self.operation += 1
        self.entry(4, self.operation, state=copy.deepcopy(slot.state), **self.at(slot, "remove"))

    def step_extension(self, _):
        self.operation += 2
        self.entry(8, self.operation, extensionRef=self.rng.choice(["ext-1", "ext-2", "ext-é", 'e"x']), extension=self.extension())

    def step_snippets(self, _):
        self.entry(9, 0, snippets=self.snippets() if self.chance(0.8) else None)

    def rebuilt(self):
        self.entry(7, 0)
        made = [s for s in self.slots if s.alive and s.new is not None]
        kept = [s for s in self.slots if s.alive and s.old is not None]
        self.slots = made + kept
        for i, s in enumerate(self.slots):
            s.old, s.new = i, None

    def finish_some(self, all_of_them=False):
        while self.open and (all_of_them or self.chance(0.4)):
            self.open.pop(self.rng.randrange(len(self.open)))()

    def engine(self):
        """An update as the engine does it."""
        r = self.rng
        self.entry(6, 0, secretsProvider=self.secrets_provider())
        if self.chance(0.15):
            snapshot = self.deployment()
            self.entry(5, 0, newSnapshot=snapshot)
        if self.chance(0.4):
            for slot in [s for s in self.slots if s.alive]:
                if self.chance(0.8):
                    (self.step_refresh if self.chance(0.9) else self.step_persisted_refresh)(slot)
                self.finish_some()
            self.finish_some(self.chance(0.9))
            if self.chance(0.8):
                self.rebuilt()
        steps = [self.step_same] * 5 + [self.step_update] * 4 + [self.step_create] * 5 + [self.step_delete] * 2 + [
            self.step_skipped_create, self.step_replace, self.step_replace, self.step_delete_before_replace, self.step_remove_pending,
            self.step_read, self.step_persisted_refresh, self.step_refresh, self.step_outputs, self.step_outputs, self.step_extension,
            self.step_snippets]
        for _ in range(r.randrange(25)):
            free = [s for s in self.slots if s.alive and not s.busy]
            step = r.choice(steps)
            if not free:
                step = self.step_create
            slot = r.choice(free) if free else None
            step(slot)
            self.finish_some()
        self.finish_some(self.chance(0.7))
        if self.chance(0.1):
            self.rebuilt()
        if self.chance(0.2):
            del self.entries[r.randrange(len(self.entries) + 1):]  # the CLI was killed

    def wild(self):
        """Anything that passes the check of the route."""
        r = self.rng
        for _ in range(r.randrange(20)):
            self.operation = r.randrange(1, 8)
            kind = r.choice([0, 0, 1, 1, 1, 1, 2, 3, 3, 4, 4, 5, 6, 7, 8, 9])
            if kind == 5 and self.entries:
                kind = 1  # a new base comes before all else: indices are those of one base
            members = {}
            if kind in (0, 1, 2, 3, 4):
                for verb in ("remove", "pendingReplacement", "delete"):  # of either an old or a new resource
                    if self.chance(0.5):
                        members.update(r.choice([{verb + "Old": r.randrange(-1, 9)}, {verb + "New": r.randrange(8)}]))
                if self.chance(0.7):
                    state = self.resource()
                    members["state"] = state
                    self.slots.append(Slot(state))
                if self.chance(0.4):
                    members["operation"] = self.operation_of(self.resource(), r.choice(["creating", "updating"]))
                if self.chance(0.1):
                    members["isRefresh"] = True
            elif kind == 5:
                members["newSnapshot"] = self.deployment()
            elif kind == 6:
                members["secretsProvider"] = self.secrets_provider()
            elif kind == 8:
                members.update(extensionRef=r.choice(["ext-1", "ext-2"]), extension=self.extension())
            elif kind == 9:
                members["snippets"] = self.snippets()
            self.entry(kind, self.operation, **members)


def arrive(rng, entries):
    """The order of arrival: neighbours swapped, batches sent again, ids with gaps."""
    entries = list(entries)
    if rng.random() < 0.3:
        step = rng.choice([1, 3, 1 << 40])
        for e in entries:
            e["sequenceID"] = e["sequenceID"] * step
    if rng.random() < 0.4:
        for i in range(len(entries)):
            j = min(len(entries) - 1, i + rng.randrange(4))
            entries[i], entries[j] = entries[j], entries[i]
    if entries and rng.random() < 0.3:
        at = rng.randrange(len(entries))
        again = copy.deepcopy(entries[at:at + rng.randrange(1, 6)])
        to = rng.randrange(at, len(entries) + 1)
        entries[max(to, at + len(again)):max(to, at + len(again))] = again
    return entries


def document(seed, number):
    rng = random.Random("%s/%s" % (seed, number))
    j = Journal(rng)
    base = j.deployment() if rng.random() < 0.8 else None
    if rng.random() < 0.75:
        j.engine()
    else:
        j.wild()
    entries = copy.deepcopy(j.entries)
    if rng.random() < 0.05 and entries:
        del entries[rng.randrange(len(entries))]  # wild, too: one is lost
    return {"base": base, "entries": arrive(rng, entries)}
