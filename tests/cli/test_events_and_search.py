"""What the CLI reads back of an update and of an organization: history events, and its two searches."""
import json

from helpers import programs
from helpers.api import path_of
from helpers.waiting import wait_until


def test_events_of_an_update(cli, api, stack, project):
    cli.write(programs.stash(project))
    cli.run("stack", "init", stack)
    cli.up("--skip-preview")
    update = api.get(f"{path_of(stack)}/versions")["versions"][0]["updateID"]
    urn = f"urn:pulumi:dev::{project}::pulumi:index:Stash::kept"

    def events(*arguments):
        return cli.json("stack", "history", "events", update, "--output", "json", *arguments)

    everything = events("--all")
    kinds = [next(k for k in e if k.endswith("Event")) for e in everything]
    assert kinds[0] == "preludeEvent" and "summaryEvent" in kinds and kinds.count("resourcePreEvent") >= 2
    assert [e["summaryEvent"]["resourceChanges"] for e in events("--event-type", "summaryEvent")] == [{"create": 2}]
    assert [e["resourcePreEvent"]["metadata"]["op"] for e in events("--event-type", "resourcePreEvent", "--urn", urn)] == ["create"]
    assert [e["resourcePreEvent"]["metadata"]["urn"] for e in events("--urn", urn, "--event-type", "5")] == [urn]
    assert len(events("--event-type", "resourcePreEvent", "--event-type", "resOutputsEvent")) == sum(k in ("resourcePreEvent", "resOutputsEvent") for k in kinds)
    assert events("--urn", urn + "-not", "--all") == []
    summary = cli.json("stack", "history", "events", update, "--summary", "--output", "json")
    assert urn in json.dumps(summary)
    table = cli.run("stack", "history", "events", update, "--urn", urn).stdout
    assert "2 event(s)" in table and "prelude" not in table
    out = cli.run("stack", "history", "events", update, "--event-type", "nonsense", expect=None)
    assert out.returncode != 0 and "type: must be the name" in out.stderr + out.stdout
    assert cli.history()[0]["resourceChanges"] == {"create": 2}


def test_search(cli, api, stack, project):
    cli.write(programs.stash(project))
    cli.run("stack", "init", stack)
    cli.up("--skip-preview")
    wait_until(lambda: api.get(f"/api/orgs/acme/resources?project={project}&type=pulumi:index:Stash")["resources"], 20, "the search to find the resource")
    found = cli.json("org", "search", "--org", "acme", "-q", f"project:{project} type:pulumi:index:Stash", "--output", "json")
    assert [(r["name"], r["stack"], r["project"], r["package"], r["module"]) for r in found] == [("kept", "dev", project, "pulumi", "index")]
    table = cli.run("org", "search", "--org", "acme", "-q", f"project:{project}").stdout
    assert "kept" in table and "Displaying 3 of 3 total results" in table
    found = cli.json("insights", "resource", "search", "--org", "acme", "-q", f"project:{project}", "--output", "json")
    assert sorted(r["type"] for r in found["resources"]) == ["pulumi:index:Stash", "pulumi:providers:pulumi", "pulumi:pulumi:Stack"] and found["total"] == 3
    assert "kept" in cli.run("insights", "resource", "search", "--org", "acme", "-q", f"project:{project} kept").stdout
    out = cli.run("org", "search", "--org", "acme", "-q", "modified:>2026-01-01", expect=None)
    assert out.returncode != 0 and "modified: is no field here" in out.stderr + out.stdout
