"""What a stack must look like after the writes that were acknowledged. Knows nothing of the server's code.

A state is plain data; an operation is a function from a state and the server's answer (None: never seen) to the state
after it. A request whose answer was lost leaves two candidates, with and without it, and whatever the server shows must be
one of them, whole.
"""
import copy
import re

URN_HEAD = re.compile(r"^urn:pulumi:[^:]*::[^:]*::")
MAGIC = {"time": "2026-01-01T00:00:00Z", "magic": "", "version": ""}


def new_state(project, name) -> dict:
    return {"exists": False, "project": project, "name": name, "tags": {}, "version": 0, "doc": None, "versions": {}, "history": [],
            "open": None, "settings": None, "deployments": {}}


def empty_doc() -> dict:
    return {"resources": [], "pending": []}


# ---- replay: the journal's meaning for what the load writes (cli-protocol §3.6.4) ---------------------------------------
def replay(base, entries) -> dict:
    """The document that these entries make of the base."""
    old = (base or empty_doc())["resources"]
    made, number_of, gone, replaced, running = [], {}, set(), {}, {}
    removed = set()
    for e in sorted(entries, key=lambda entry: entry["sequenceID"]):
        op, kind = e["operationID"], e["kind"]
        if kind == 0:
            running[op] = e
        elif kind == 2:
            running.pop(op, None)
        elif kind == 1:
            running.pop(op, None)
            if e.get("state"):
                number_of[op] = len(made)
                made.append(e["state"])
            if e["removeOld"] is not None:
                gone.add(e["removeOld"])
            if e["removeNew"] is not None:
                removed.add(number_of[e["removeNew"]])
        elif kind == 4:
            if e["removeOld"] is not None:
                replaced[e["removeOld"]] = e["state"]
            if e["removeNew"] is not None:
                made[number_of[e["removeNew"]]] = e["state"]
    resources = [r for i, r in enumerate(made) if i not in removed]
    resources += [replaced.get(i, r) for i, r in enumerate(old) if i not in gone]
    pending = [running[op]["operation"] for op in sorted(running)]
    pending += [p for p in (base or empty_doc())["pending"] if p["type"] == "creating"]
    return {"resources": resources, "pending": pending}


def visible(state) -> dict:
    """The document that an export must give now."""
    update = state["open"]
    if update and update["way"] == "journal" and update["entries"]:
        return replay(state["doc"], update["entries"])
    return state["doc"] or empty_doc()


# ---- operations ---------------------------------------------------------------------------------------------------
def create(state, answer):
    state["exists"] = True


def begin(way, update_id):
    def apply(state, answer):
        state["version"] += 1
        state["open"] = {"id": update_id, "way": way, "token": answer and answer["token"], "entries": [], "sequence": 0, "text": None,
                         "events": 0, "saved": False}
        state["history"].append((state["version"], "update", "in-progress"))
    return apply


def journal(entries):
    def apply(state, answer):
        known = {e["sequenceID"] for e in state["open"]["entries"]}
        state["open"]["entries"] += [e for e in entries if e["sequenceID"] not in known]
        state["open"]["saved"] = True
    return apply


def checkpoint(doc, text=None, sequence=0):
    def apply(state, answer):
        state["doc"] = doc
        state["open"].update(saved=True, text=text, sequence=max(sequence, state["open"]["sequence"]))
    return apply


def events(count):
    def apply(state, answer):
        state["open"]["events"] = max(count, state["open"]["events"])
    return apply


def renew(state, answer):
    state["open"]["token"] = answer and answer["token"]


def end(status):
    def apply(state, answer):
        if state["open"]["saved"]:
            state["doc"] = visible(state)
            state["versions"][state["version"]] = state["doc"]
        state["history"][-1] = (state["version"], "update", "failed" if status == "cancelled" else status)
        state["open"] = None
    return apply


def put_doc(doc, kind):
    """A version of its own."""
    def apply(state, answer):
        state["version"] += 1
        state["doc"] = doc
        if doc is not None:
            state["versions"][state["version"]] = doc
        state["history"].append((state["version"], kind, "succeeded"))
    return apply


def under_name(doc, project, name):
    """The document with URNs of that stack."""
    def moved(value):
        if isinstance(value, dict):
            return {k: URN_HEAD.sub(f"urn:pulumi:{name}::{project}::", v) if k == "urn" else moved(v) for k, v in value.items()}
        return [moved(v) for v in value] if isinstance(value, list) else value
    return doc and moved(doc)


def rename(project, name):
    def apply(state, answer):
        put_doc(under_name(state["doc"], project, name), "rename")(state, answer)
        state.update(project=project, name=name)
    return apply


def restore(version):
    def apply(state, answer):
        put_doc(under_name(state["versions"][version], state["project"], state["name"]), "import")(state, answer)
    return apply


def tags(value):
    def apply(state, answer):
        state["tags"] = value
    return apply


def settings(value):
    def apply(state, answer):
        state["settings"] = value
    return apply


def deployment(status, number=None):
    def apply(state, answer):
        if answer or number:
            state["deployments"][number or answer["id"]] = status
    return apply


def remove(state, answer):
    project, name = state["project"], state["name"]
    state.clear()
    state.update(new_state(project, name))


class Stack:
    """The candidates of one stack; the last one is the state if the last request was done."""

    def __init__(self, project, name):
        self.candidates = [new_state(project, name)]
        self.resend = None  # the request whose answer was lost, if it may be repeated

    @property
    def state(self) -> dict:
        assert len(self.candidates) == 1, "settle() comes first"
        return self.candidates[0]

    def done(self, operation, answer=None):
        after = copy.deepcopy(self.state)
        operation(after, answer)
        self.candidates = [after]

    def unsure(self, operation):
        after = copy.deepcopy(self.state)
        operation(after, None)
        self.candidates.append(after)

    def path(self) -> str:
        return f"/api/stacks/acme/{self.candidates[0]['project']}/{self.candidates[0]['name']}"
