"""Replays random journals with our replay and with the CLI's, and compares. Started by tests/oracle/run.

Equal must be: version, features, the resources in their order with every member, pending operations (the CLI's own
order of them is random), secrets provider, metadata, snippets, extensions, and the manifest but for its time. Members
that Go leaves out when they are empty count as absent; object members may have any order; numbers are compared as
numbers. In addition the C side gets each text of journals.verbatim() spelled as it stands there, and the rest spelled
at random (escapes, white space); it must give those texts back byte for byte.

Where the two differ on purpose:
  - `*New` that names an operation which made nothing: the CLI's replayer takes its first new resource for it; ours
    takes none. No engine writes such an entry. The CLI's side gets the journal without those members.
  - a rebuilt base state after resources were made, and more entries after it: the CLI's replayer counts on where it
    stopped and looks up the wrong ones. Ours goes on with the rebuilt base. The CLI's side gets the journal in stages.
  - two resources that claim one alias: the CLI's replayer refuses the whole journal, so the update fails but
    the state on a service's side must not be lost. Ours lets the first have it. Compared are the resources' number
    and order, with the result for the same journal without aliases.
"""
import copy
import json
import random
import re
import subprocess
import sys
import time
from pathlib import Path

import journals
from reached import Coverage

SNIPPET = ("uuid", "name", "type", "code")
EMPTY = (None, "", False, 0, [], {})
NEW = ("removeNew", "pendingReplacementNew", "deleteNew")


# --- spelling ---

def spell_string(s, rng):
    out = ['"']
    for c in s:
        n = ord(c)
        if n < 0x20 or c in '"\\' or rng.random() < 0.01:
            units = c.encode("utf-16-be")
            spelled = "".join(r"\u%02x%02x" % (units[i], units[i + 1]) for i in range(0, len(units), 2))
            out.append(spelled.upper().replace(r"\U", r"\u") if rng.random() < 0.3 else spelled)
        else:
            out.append(c)
    return "".join(out) + '"'


def spell(v, rng):
    """JSON text of v, spelled in one of many ways, with the hard texts where their marks are."""
    gap = " " if rng.random() < 0.02 else ""
    if isinstance(v, str):
        mark = re.fullmatch(r"@@(\d+)@@", v)
        if mark:
            return journals.verbatim(int(mark.group(1)))
        return spell_string(v, rng)
    if isinstance(v, list):
        return "[" + gap + ",".join(spell(x, rng) for x in v) + gap + "]"
    if isinstance(v, dict):
        return "{" + gap + ("," + gap).join(
            spell_string(k, rng) + gap + ":" + spell(x, rng) for k, x in v.items()) + gap + "}"
    return json.dumps(v)


def restore(text):
    """Puts the marks back where the hard texts stand, byte for byte."""
    for number in {int(n) for n in re.findall(r'"#(\d+)#"', text)}:
        text = text.replace(journals.verbatim(number), '"@@%d@@"' % number)
    return text


# --- the canonical form ---

def canon_time(s):
    if isinstance(s, str):
        s = re.sub(r"(\.\d*?)0+(?=[Z+-])", r"\1", s).replace(".Z", "Z").replace(".+", "+")
    return s


def canon_resource(r):
    out = {k: v for k, v in r.items() if v not in EMPTY}
    for k in ("created", "modified"):
        if k in out:
            out[k] = canon_time(out[k])
    if "propertyDependencies" in out:
        out["propertyDependencies"] = {k: v or [] for k, v in out["propertyDependencies"].items()}
    return out


def canon(root):
    d = root.get("deployment") or {}
    out = {k: v for k, v in d.items() if v not in EMPTY}
    out["manifest"] = {k: v for k, v in d.get("manifest", {}).items() if k != "time" and v not in EMPTY}
    out["resources"] = [canon_resource(r) for r in d.get("resources") or []]
    operations = [dict(o, resource=canon_resource(o["resource"])) for o in d.get("pending_operations") or []]
    out["pending_operations"] = sorted(operations, key=lambda o: json.dumps(o, sort_keys=True))
    if "snippets" in out:
        out["snippets"] = [dict({k: v for k, v in x.items() if v not in EMPTY}, **{k: x.get(k, "") for k in SNIPPET})
                           for x in out["snippets"]]
    return {"version": root.get("version"), "features": root.get("features") or [], "deployment": out}


def same(a, b):
    return json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)


# --- what the CLI's replayer is given ---

def in_order(entries):
    seen, out = set(), []
    for e in sorted(entries, key=lambda e: e["sequenceID"]):
        if e["sequenceID"] not in seen:
            seen.add(e["sequenceID"])
            out.append(e)
    return out


def without_dangling(doc):
    """The same journal without references to operations that made nothing."""
    entries = copy.deepcopy(in_order(doc["entries"]))
    made, later = set(), []

    def settle():
        for e in later:
            if e["removeNew"] not in made:
                e["removeNew"] = None
        later.clear()
        made.clear()

    for e in entries:
        kind = e["kind"]
        if kind == 7:
            settle()
        if kind == 1 and e.get("state"):
            made.add(e["operationID"])
        for key in NEW:
            if e.get(key) is None:
                continue
            if key == "removeNew" and (kind == 1 or (kind == 3 and not e.get("state"))):
                later.append(e)  # looked up when the list is made
            elif e[key] not in made:
                e[key] = None
    settle()
    return {"base": doc["base"], "entries": entries}


def without_aliases(v):
    if isinstance(v, dict):
        return {k: without_aliases(x) for k, x in v.items() if k != "aliases"}
    return [without_aliases(x) for x in v] if isinstance(v, list) else v


# --- the two programs ---

class Filter:
    def __init__(self, command):
        self.command = command
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, text):
        try:
            self.process.stdin.write(text.encode() + b"\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = b""
        if line:
            return line.decode("utf-8", "surrogateescape")
        status = self.process.wait()
        self.start()
        return '{"error":"the program ended with status %d"}' % status


def in_batches(doc, rng):
    entries, batches = doc["entries"], []
    at = 0
    while at < len(entries):
        n = rng.randrange(1, 100) if rng.random() < 0.5 else rng.randrange(1, 4)
        batches.append({"entries": entries[at:at + n]})
        at += n
    return {"base": doc["base"], "batches": batches}


def number(text):
    value = float(text)
    return int(value) if value.is_integer() else value


def read(text):
    return json.loads(text, parse_float=number, parse_int=number)


class Comparison:
    def __init__(self, ours, theirs):
        self.ours, self.theirs = Filter(ours.split()), Filter([theirs])
        self.refused = self.resources = 0
        self.result = None  # of the last comparison, the CLI's in canonical form; None: it had conflicting aliases

    def ask_ours(self, doc):
        rng = random.Random(1)
        return read(restore(self.ours.ask(spell(in_batches(doc, rng), rng))))

    def ask_theirs(self, doc):
        """In stages, where a rebuild follows after resources were made."""
        made = False
        base, entries = doc["base"], []
        for e in doc["entries"]:
            made |= e["kind"] == 1 and bool(e.get("state"))
            if e["kind"] != 7 or not made:
                entries.append(e)
                continue
            result = self.ask_replayer({"base": base, "entries": entries})
            if "error" in result:
                return result
            # What outlives a rebuild: that there was a refresh, and byte strings.
            flags = {"requiresByteString": any(x.get("requiresByteString") for x in entries + [e])}
            if any(x["kind"] == 3 or (x["kind"] == 1 and x.get("isRefresh")) for x in entries):
                flags["kind"] = 3
            base, made = result["deployment"], False
            entries = [{"kind": 2, "operationID": 0, "sequenceID": 0, **flags}]
        return self.ask_replayer({"base": base, "entries": entries})

    def ask_replayer(self, doc):
        return read(self.theirs.ask(json.dumps(in_batches(doc, random.Random(2)))))

    def difference(self, doc):
        """None, or (what differs, our result, the CLI's)."""
        self.result = None
        ours, theirs = self.ask_ours(doc), self.ask_theirs(without_dangling(doc))
        if "error" in ours:
            return "we fail", ours, theirs
        if "have the same alias" in theirs.get("error", ""):
            self.refused += 1
            theirs = self.ask_theirs(without_aliases(without_dangling(doc)))
            ids = [[(r.get("id"), r["type"]) for r in canon(x)["deployment"]["resources"]] for x in (ours, theirs)]
            return None if ids[0] == ids[1] else ("resources, without aliases", ours, theirs)
        if "error" in theirs:
            return "the CLI's replayer fails", ours, theirs
        a, b = canon(ours), canon(theirs)
        self.result = b
        self.resources += len(b["deployment"]["resources"])
        if same(a, b):
            return None
        parts = [k for k in ("version", "features") if a[k] != b[k]]
        da, db = a["deployment"], b["deployment"]
        parts += [k for k in sorted(set(da) | set(db)) if not same(da.get(k), db.get(k))]
        return ", ".join(parts), a, b


# --- the smallest journal that still differs ---

def smaller(doc):
    """Documents with one thing less."""
    entries = doc["entries"]
    size = max(1, len(entries) // 2)
    while size:
        for i in range(0, len(entries), size):
            yield dict(doc, entries=entries[:i] + entries[i + size:])
        size //= 2
    if doc["base"] is not None:
        yield dict(doc, base=None)
    paths = []

    def walk(v, path):
        if isinstance(v, dict):
            for k in v:
                if k not in ("urn", "kind", "sequenceID", "operationID", "newSnapshot", "secretsProvider", "extensionRef", "extension", "descriptor"):
                    paths.append(path + [k])
                walk(v[k], path + [k])
        elif isinstance(v, list):
            for i, x in enumerate(v):
                paths.append(path + [i])
                walk(x, path + [i])
    walk(doc["base"], ["base"])
    walk(doc["entries"], ["entries"])
    for path in sorted(paths, key=len):
        now = copy.deepcopy(doc)
        at = now
        for step in path[:-1]:
            at = at[step]
        del at[path[-1]]
        yield now


def reduce(comparison, doc, seconds=60):
    end = time.monotonic() + seconds
    kind = comparison.difference(doc)[0]
    found = True
    while found and time.monotonic() < end:
        found = False
        for candidate in smaller(doc):
            try:
                difference = comparison.difference(candidate)
            except (KeyError, TypeError, IndexError):
                continue
            if difference and difference[0] == kind:
                doc, found = candidate, True
                break
    return doc


def report(number, seed, comparison, doc):
    what, ours, theirs = comparison.difference(doc)
    print("case %s of seed %s differs in: %s" % (number, seed, what))
    print("  base    " + json.dumps(doc["base"]))
    for e in doc["entries"]:
        print("  entry   " + json.dumps({k: v for k, v in e.items() if v is not None and k != "version"}))
    if "error" in ours or "error" in theirs:
        print("  ours    " + json.dumps(ours))
        print("  the CLI " + json.dumps(theirs))
        return
    for name in sorted(what.split(", ")):
        a, b = (x.get(name, x["deployment"].get(name)) for x in (ours, theirs))
        if isinstance(a, list) and isinstance(b, list):
            pairs = [(x, y) for x, y in zip(a + [None] * len(b), b + [None] * len(a)) if not same(x, y)]
            a, b = [x for x, _ in pairs], [y for _, y in pairs]
        print("  %s\n    ours    %s\n    the CLI %s" % (name, json.dumps(a, sort_keys=True), json.dumps(b, sort_keys=True)))


def check_recorded(comparison):
    """Journals of real runs (record.py): both replays, and what the server made of each."""
    different = 0
    cases = [json.loads(line) for line in (Path(__file__).parent / "recorded.jsonl").read_text().splitlines()]
    for case in cases:
        doc = {"base": case["base"], "entries": [e for batch in case["batches"] for e in batch["entries"]]}
        if comparison.difference(doc):
            different += 1
            report(case["name"], "recorded", comparison, reduce(comparison, doc))
        if not same(canon(read(json.dumps(case["after"]))), canon(comparison.ask_theirs(without_dangling(doc)))):
            different += 1
            print("recorded run '%s': the state afterwards is not what the CLI's replayer makes" % case["name"])
    print("%d recorded journals: %d differ" % (len(cases), different))
    return different


def main(argv):
    comparison = Comparison(argv[0], argv[1])
    if argv[2:3] == ["--case"]:
        number, seed = int(argv[3]), argv[4] if len(argv) > 4 else "1"
        doc = journals.document(seed, number)
        print(json.dumps(doc, indent=1))
        print(json.dumps({"ours": comparison.ask_ours(doc), "the CLI": comparison.ask_theirs(without_dangling(doc))}, indent=1))
        return 0
    # "600s": as many as that time allows.
    amount = argv[2] if len(argv) > 2 else "2000"
    seconds = float(amount[:-1]) if amount.endswith("s") else None
    count = sys.maxsize if seconds else int(amount)
    seed = argv[3] if len(argv) > 3 else "1"
    different = check_recorded(comparison)
    start = shown = time.monotonic()
    entries, coverage, number = 0, Coverage(), 0
    while number < count and not (seconds and time.monotonic() - start > seconds):
        doc = journals.document(seed, number)
        entries += len(doc["entries"])
        if comparison.difference(doc):
            different += 1
            if different <= 5:
                report(number, seed, comparison, reduce(comparison, doc))
        coverage.add(doc, comparison.result)
        number += 1
        if time.monotonic() - shown > 5:
            shown = time.monotonic()
            print("  %d journals%s, %d differ" % (number, "" if seconds else " of %d" % count, different), file=sys.stderr)
    print("%d journals, %d entries, %d resources compared (seed %s, %d with conflicting aliases): %d differ, %.1f s" % (
        number, entries, comparison.resources, seed, comparison.refused, different, time.monotonic() - start))
    print(coverage)
    missing = coverage.missing() if number >= 1000 else []
    if missing:
        print("never reached: %s. The journals do not test what they should" % ", ".join(missing))
    return 1 if different or missing else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
