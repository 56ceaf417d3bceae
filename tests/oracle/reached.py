"""What the compared journals reached: counted from the journal and from what the CLI's replayer made of it.

A resource of the result is told by its id, which journals.py gives to one state (and its copies) alone. What a rule of
the replay does to a resource is seen by the difference from the state that the journal had.
"""
import collections

FEATURES = ("byteString", "extensionParameterization", "hooks", "refreshBeforeUpdate", "replaceWith", "snippets-prototype", "taint", "views")
LISTS = {"dependencies": "dependency", "replaceWith": "replaceWith"}
ALIASED = ("urn", "parent", "provider", "deletedWith", "viewOf")
SITUATIONS = (
    ["kind %d" % kind for kind in range(10)]
    + ["no base", "entries after a rebuilt base", "rebuilt after resources were made", "sent again", "out of order", "refresh of one that is new",
       "outputs of one that is new", "removal of one that is new", "operation left pending", "operation of the base kept",
       "operation of the base dropped", "marked for deletion", "marked for replacement", "secrets provider kept", "secrets provider replaced",
       "extension of the journal", "extension of the base wins", "snippet reference renamed"]
    + ["%s dropped" % name for name in [*LISTS.values(), "property dependency", "deletedWith", "parent"]]
    + ["%s renamed" % name for name in [*ALIASED, "dependency", "property dependency"]]
    + ["feature " + name for name in FEATURES] + ["version 3", "version 4"])


def states(doc):
    """Every state in the journal and its base, by id."""
    found = {}
    for deployment in [doc["base"], *(e.get("newSnapshot") for e in doc["entries"])]:
        for r in (deployment or {}).get("resources") or []:
            found.setdefault(r.get("id"), r)
    for e in doc["entries"]:
        if e.get("state"):
            found.setdefault(e["state"].get("id"), e["state"])
    found.pop(None, None)
    return found


def of_entries(doc):
    entries, made, rebuilt = doc["entries"], False, False
    numbers = [e["sequenceID"] for e in entries]
    if doc["base"] is None:
        yield "no base"
    if len(set(numbers)) < len(numbers):
        yield "sent again"
    if numbers != sorted(numbers):
        yield "out of order"
    for e in sorted(entries, key=lambda e: e["sequenceID"]):
        kind = e["kind"]
        yield "kind %d" % kind
        if rebuilt:
            yield "entries after a rebuilt base"
        if kind == 7:
            rebuilt = True
            if made:
                yield "rebuilt after resources were made"
        made |= kind == 1 and bool(e.get("state"))
        if e.get("removeNew") is not None:
            yield {3: "refresh of one that is new", 4: "outputs of one that is new"}.get(kind, "removal of one that is new")


def of_resource(was, now):
    for key, name in LISTS.items():
        before, after = was.get(key) or [], now.get(key) or []
        if len(after) < len(before):
            yield name + " dropped"
        elif after != before and name == "dependency":
            yield name + " renamed"
    before, after = was.get("propertyDependencies") or {}, now.get("propertyDependencies") or {}
    if sum(len(v or []) for v in after.values()) < sum(len(v or []) for v in before.values()):
        yield "property dependency dropped"
    elif {k: v for k, v in before.items() if v} != {k: v for k, v in after.items() if v}:
        yield "property dependency renamed"
    for key in ALIASED:
        if was.get(key) and now.get(key) and was[key] != now[key]:
            yield key + " renamed"
    for key in ("deletedWith", "parent"):
        if was.get(key) and not now.get(key):
            yield key + " dropped"
    for key, name in (("delete", "deletion"), ("pendingReplacement", "replacement")):
        if now.get(key) and not was.get(key):
            yield "marked for " + name


def of_result(doc, result):
    """`result` in canonical form."""
    d, known = result["deployment"], states(doc)
    base = doc["base"] or {}
    for r in d["resources"]:
        if r.get("id") in known:
            yield from of_resource(known[r["id"]], r)
    begun = [e["operation"]["resource"].get("id") for e in doc["entries"] if e["kind"] == 0 and e.get("operation")]
    of_base = base.get("pending_operations") or []
    pending = [o["resource"].get("id") for o in d["pending_operations"]]
    if any(p in begun for p in pending if p):
        yield "operation left pending"
    for o in of_base:
        if o["resource"].get("id"):
            yield "operation of the base " + ("kept" if o["resource"]["id"] in pending else "dropped")
    if base.get("secrets_providers") and any(e["kind"] == 6 for e in doc["entries"]):
        yield "secrets provider " + ("kept" if d.get("secrets_providers") == base["secrets_providers"] else "replaced")
    old, new = base.get("extensions") or {}, {e["extensionRef"]: e["extension"] for e in doc["entries"] if e["kind"] == 8}
    for ref, value in (d.get("extensions") or {}).items():
        if ref not in old:
            yield "extension of the journal"
        elif ref in new and new[ref] != value == old[ref]:
            yield "extension of the base wins"
    urns = {u for source in [base, *doc["entries"], *(e.get("newSnapshot") or {} for e in doc["entries"])]
            for s in source.get("snippets") or [] for u in (s.get("references") or {}).values()}
    if any(u not in urns for s in d.get("snippets") or [] for u in (s.get("references") or {}).values()):
        yield "snippet reference renamed"
    yield "version %d" % result["version"]
    for name in result["features"]:
        yield "feature " + name


class Coverage:
    def __init__(self):
        self.counts = collections.Counter()

    def add(self, doc, result):
        self.counts.update(of_entries(doc))
        if result:
            self.counts.update(set(of_result(doc, result)))

    def missing(self):
        return [name for name in SITUATIONS if not self.counts[name]]

    def __str__(self):
        lines, line = [], ""
        for name in SITUATIONS:
            part = "%s: %d" % (name, self.counts[name])
            if line and len(line) + len(part) > 120:
                lines.append(line)
                line = ""
            line += (", " if line else "  ") + part
        return "\n".join(["entries of each kind, and journals that reached:", *lines, line])
