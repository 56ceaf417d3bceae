"""Stacks by the CLI: made, listed, chosen, renamed, tagged, removed; who is signed in, and where."""
import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from helpers import programs
from helpers.api import path_of
from helpers.pulumi import Pulumi


def names(listed):
    """Of `stack ls --output json`: the CLI shortens what is in the default organization and this project."""
    return sorted(s["name"].split("/")[-1] for s in listed)


# ---- made and chosen -----------------------------------------------------------------------------------------------
def test_init_select_and_unselect(cli, stack, project):
    cli.write(programs.stash(project))
    cli.run("stack", "init", stack)
    cli.run("config", "set", "plain", "copied")
    cli.run("config", "set", "--secret", "hidden", "copied-secret")
    assert "already exists" in cli.refused("stack", "init", stack, names=stack)
    cli.run("stack", "init", f"acme/{project}/second", "--no-select", "--copy-config-from", "dev")
    assert cli.run("stack", "--show-name").stdout.strip() == "dev"
    cli.run("stack", "select", "second")
    assert cli.run("stack", "--show-name").stdout.strip() == "second"
    assert cli.run("config", "get", "hidden").stdout.strip() == "copied-secret"
    assert cli.json("config", "--json", "--show-secrets")[f"{project}:plain"]["value"] == "copied"
    cli.run("stack", "select", "--create", f"acme/{project}/third")
    listed = cli.json("stack", "ls", "--json")
    assert names(listed) == ["dev", "second", "third"]
    assert [s["name"].split("/")[-1] for s in listed if s["current"]] == ["third"]
    cli.run("stack", "unselect")
    cli.refused("stack", "--show-name", names="no stack selected")


@pytest.mark.parametrize("name", ["acme/{project}/a b", "acme/{project}/ünder", "acme/{project}/a$b", "no-such-org/{project}/dev"])
def test_names_that_cannot_be(cli, project, name):
    cli.write(programs.stash(project))
    cli.refused("stack", "init", name.format(project=project), names="")
    assert cli.json("stack", "ls", "--json") == []


def test_new_from_a_template(cli, api, stack, project, tmp_path):
    template = tmp_path / "template"
    template.mkdir()
    (template / "Pulumi.yaml").write_text("name: ${PROJECT}\nruntime: yaml\ndescription: ${DESCRIPTION}\ntemplate:\n  description: a template\n")
    cli.run("new", template, "--yes", "--name", project, "--stack", stack, "--description", "made anew")
    tags = api.get(path_of(stack))["tags"]
    assert tags["pulumi:project"] == project and tags["pulumi:runtime"] == "yaml" and tags["pulumi:description"] == "made anew"
    assert project in cli.run("project", "ls").stdout
    assert [p["name"] for p in cli.json("project", "ls", "--output", "json") if p["name"] == project] == [project]


# ---- listed --------------------------------------------------------------------------------------------------------
def test_filters_of_the_list(cli, api, project):
    cli.write(programs.stash(project))
    other = "admin"  # the user's own organization
    for name, tags in (("a", {"team": "blue"}), ("b", {"team": "red"}), ("c", {})):
        api.create_stack(f"acme/{project}/{name}", tags=tags)
    api.create_stack(f"acme/{project}-more/d", tags={"team": "blue", "owner": ""})
    api.create_stack(f"{other}/{project}/e", tags={"team": "blue"})

    def listed(*options):
        return names(cli.json("stack", "ls", "--json", *options))

    assert listed() == ["a", "b", "c", "e"], "without options: the project of the folder"
    assert listed("--organization", other) == ["e"]
    assert listed("--organization", "acme") == ["a", "b", "c"]
    assert listed("--project", f"{project}-more") == ["d"]
    assert listed("--tag", "team") == ["a", "b", "e"]
    assert listed("--tag", "team=blue") == ["a", "e"]
    assert listed("--tag", "team=green") == [] == listed("--tag", "nothing")
    assert set("abcde") <= set(listed("--all"))
    assert "d" in listed("--all", "--tag", "team=blue", "--organization", "acme")
    assert listed("--all", "--organization", "no-such-organization") == []


def test_a_list_of_ten_thousand_stacks(cli, own, tmp_path, project):
    """Page by page, each stack once, in order; the CLI shows them all."""
    server = own()
    total, workers = 10_050, 8
    head = {"Authorization": f"token {server.token}", "Accept": "application/vnd.pulumi+9"}

    def make(first):
        with requests.Session() as session:
            session.trust_env = False
            session.headers.update(head)
            for i in range(first, total, workers):
                answer = session.post(f"{server.url}/api/stacks/acme/p{i % 7}",
                                      data=json.dumps({"stackName": f"s{i:05d}", "tags": {"n": str(i % 5)}}))
                assert answer.status_code == 200, answer.text

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(make, range(workers)))
    api, seen, token, pages = server.api(), [], None, 0
    while True:
        page = api.get("/api/user/stacks" + (f"?continuationToken={token}" if token else ""))
        seen += [(s["projectName"], s["stackName"]) for s in page["stacks"]]
        token, pages = page["continuationToken"], pages + 1
        if token is None:
            break
        assert re.fullmatch("[A-Za-z0-9_-]+", token), "clients do not escape it"
    assert len(seen) == len(set(seen)) == total and seen == sorted(seen) and pages > 10
    user = Pulumi(tmp_path, server.url, server.token)
    assert len(user.json("stack", "ls", "--all", "--json")) == total
    assert len(user.json("stack", "ls", "--all", "--tag", "n=3", "--json")) == total // 5
    assert len(user.json("stack", "ls", "--project", "p6", "--json")) == total // 7


# ---- renamed -------------------------------------------------------------------------------------------------------
def test_rename_into_another_project(cli, api, stack, project):
    cli.write(programs.secrets(project))
    cli.run("stack", "init", stack)
    cli.run("config", "set", "--secret", "password", "travels-along")
    cli.up("--skip-preview")
    assert "Renamed" in cli.run("stack", "rename", f"acme/{project}-moved/prod").stdout
    api.refused(404, "GET", f"/api/stacks/acme/{project}/prod")
    moved = f"acme/{project}-moved/prod"
    # The settings are of the old project's name: the CLI leaves them, so the user moves them.
    cli.write(programs.secrets(f"{project}-moved"))
    cli.run("stack", "select", moved)
    settings = cli.project / "Pulumi.prod.yaml"
    settings.write_text(settings.read_text().replace(f"{project}:password", f"{project}-moved:password"))
    assert cli.outputs("--show-secrets", "--stack", moved) == {"hidden": "travels-along", "shown": "nothing"}
    assert cli.run("config", "get", "password").stdout.strip() == "travels-along"
    assert "unchanged" in cli.up("--skip-preview", "--expect-no-changes").stdout
    assert [h["kind"] for h in cli.history()][:2] == ["update", "rename"]
    urns = [r["urn"] for r in cli.export()["deployment"]["resources"]]
    assert all(urn.startswith(f"urn:pulumi:prod::{project}-moved::") for urn in urns)


def test_rename_to_a_name_that_is_taken(cli, api, stack, project):
    cli.write(programs.stash(project))
    cli.run("stack", "init", f"acme/{project}/other")
    cli.run("stack", "init", stack)
    cli.refused("stack", "rename", "other", names="already exists")
    assert api.get(path_of(stack))["stackName"] == "dev"


# ---- tagged --------------------------------------------------------------------------------------------------------
def test_tags(cli, api, stack, project):
    cli.write(programs.stash(project))
    cli.run("stack", "init", stack)
    # What is shown as the stack's page in a console is a tag, or an output, of this name.
    readme = "# The stack\n\nWhat it *is*: <b>a test</b> & more"
    for name, value in (("a.b-c_d:e", "ü☃"), ("x" * 40, "y" * 256), ("empty", ""), ("pulumi:readme", readme)):
        cli.run("stack", "tag", "set", name, value)
        assert api.get(path_of(stack))["tags"][name] == value
    assert cli.run("stack", "tag", "get", "pulumi:readme").stdout.rstrip("\n") == readme
    assert cli.json("stack", "tag", "ls", "--json")["a.b-c_d:e"] == "ü☃"
    cli.run("stack", "tag", "set", "a.b-c_d:e", "red")
    cli.run("stack", "tag", "rm", "empty")
    kept = api.get(path_of(stack))["tags"]
    assert kept["a.b-c_d:e"] == "red" and "empty" not in kept
    for name, value, says in (("x" * 41, "v", "40"), ("a b", "v", "may only"), ("name", "v" * 257, "256")):
        cli.refused("stack", "tag", "set", name, value, names=says)
    assert api.get(path_of(stack))["tags"] == kept, "a refused change changes nothing"
    cli.up("--skip-preview")
    after = api.get(path_of(stack))["tags"]
    assert {k: after.get(k) for k in kept} == kept, "an update keeps the tags of others"


# ---- removed -------------------------------------------------------------------------------------------------------
def test_remove(cli, api, stack, project):
    cli.write(programs.stash(project))
    cli.run("stack", "init", stack)
    cli.run("config", "set", "a", "b")
    cli.up("--skip-preview")
    assert api.refused(400, "DELETE", f"{path_of(stack)}?force=false") == "Bad Request: Stack still contains resources."
    said = cli.refused("stack", "rm", "--yes", names="still has resources; removal rejected")
    assert "--force" in said, said
    assert cli.json("stack", "ls", "--json"), "it is still there"
    cli.run("stack", "rm", "--yes", "--force", "--preserve-config")
    assert (cli.project / "Pulumi.dev.yaml").exists()
    api.refused(404, "GET", path_of(stack))
    cli.run("stack", "init", stack)
    cli.up("--skip-preview")
    cli.run("destroy", "--yes", "--skip-preview", "--remove")
    api.refused(404, "GET", path_of(stack))
    assert not (cli.project / "Pulumi.dev.yaml").exists()
    cli.refused("stack", "rm", stack, "--yes", names="no stack named")


# ---- looked at -----------------------------------------------------------------------------------------------------
def test_output_graph_and_the_stack_itself(cli, stack, project):
    cli.write({"Pulumi.yaml": programs.secrets(project)["Pulumi.yaml"].replace("input: ${plain}", "input: ${hidden.output}")})
    cli.run("stack", "init", stack)
    cli.run("config", "set", "--secret", "password", "s3cret-output")
    cli.up("--skip-preview")
    assert cli.run("stack", "output", "hidden", "--show-secrets").stdout.strip() == "s3cret-output"
    assert cli.run("stack", "output", "hidden").stdout.strip() == "[secret]"
    assert "hidden=s3cret-output" in cli.run("stack", "output", "--shell", "--show-secrets").stdout
    cli.refused("stack", "output", "no-such-output", names="no-such-output")
    cli.run("stack", "graph", "graph.dot")
    dot = (cli.project / "graph.dot").read_text()
    assert dot.startswith("strict digraph {") and "->" in dot and "Stash::hidden" in dot
    cli.run("stack", "graph", "short.dot", "--short-node-name", "--ignore-parent-edges", "--dependency-edge-color", "#000000")
    assert 'label="hidden"' in (cli.project / "short.dot").read_text() and "s3cret" not in dot
    shown = cli.run("stack", "--show-urns", "--show-ids").stdout
    assert "pulumi:index:Stash" in shown and f"urn:pulumi:dev::{project}::" in shown and "s3cret" not in shown
    assert "s3cret-output" in cli.run("stack", "--show-secrets").stdout
    assert "Stash" in cli.run("stack", "get").stdout


def test_another_secrets_provider_and_back(cli, stack, project):
    cli.write(programs.secrets(project))
    cli.run("stack", "init", stack)
    cli.run("config", "set", "--secret", "password", "sealed-again")
    cli.up("--skip-preview")
    passphrase = {"PULUMI_CONFIG_PASSPHRASE": "of-the-test"}
    # It asks for the new passphrase twice, on its standard input.
    cli.run("stack", "change-secrets-provider", "passphrase", text="of-the-test\nof-the-test\n", env=passphrase)
    assert cli.export()["deployment"]["secrets_providers"]["type"] == "passphrase"
    assert "encryptionsalt" in (cli.project / "Pulumi.dev.yaml").read_text()
    assert cli.run("config", "get", "password", env=passphrase).stdout.strip() == "sealed-again"
    cli.up("--skip-preview", env=passphrase)
    assert cli.json("stack", "output", "--json", "--show-secrets", env=passphrase)["hidden"] == "sealed-again"
    cli.run("stack", "change-secrets-provider", "default", env=passphrase)
    assert cli.export()["deployment"]["secrets_providers"]["type"] == "service"
    assert cli.outputs("--show-secrets")["hidden"] == "sealed-again"
    assert cli.run("config", "get", "password").stdout.strip() == "sealed-again"
    cli.up("--skip-preview", "--expect-no-changes")


def test_a_stack_of_a_folder_migrates(cli, stack, project, tmp_path):
    """From a file:// backend with a passphrase: its secrets are sealed anew by the server."""
    cli.write(programs.secrets(project))
    folder = tmp_path / "backend"
    folder.mkdir()
    local = {"PULUMI_BACKEND_URL": folder.as_uri(), "PULUMI_CONFIG_PASSPHRASE": "local"}
    cli.run("stack", "init", "organization/" + project + "/dev", env=local)
    cli.run("config", "set", "--secret", "password", "from-the-folder", env=local)
    cli.run("up", "--yes", "--skip-preview", env=local)
    cli.run("stack", "migrate", folder.as_uri(), f"organization/{project}/dev", "--target", stack, "--yes",
            env={"PULUMI_CONFIG_PASSPHRASE": "local"})
    cli.run("stack", "select", stack)
    assert cli.outputs("--show-secrets")["hidden"] == "from-the-folder"
    assert cli.export()["deployment"]["secrets_providers"]["type"] == "service"
    cli.up("--skip-preview", "--expect-no-changes")


# ---- who and where -------------------------------------------------------------------------------------------------
def test_whoami_about_and_org(cli, dev, project):
    who = cli.run("whoami", "--verbose").stdout
    assert "User: admin" in who and "acme" in who and "Token type: personal" in who
    assert cli.run("whoami").stdout.strip() == "admin"
    cli.write(programs.stash(project))
    cli.run("stack", "init", f"acme/{project}/dev")
    about = cli.json("about", "--json")
    assert about["backend"]["name"] == dev.url and about["backend"]["user"] == "admin", about["backend"]
    assert about["currentStack"]["fullyQualifiedName"] == f"acme/{project}/dev", about["currentStack"]
    assert "admin" in cli.run("about").stdout
    assert cli.run("org", "get-default").stdout.strip() == "acme"
    cli.run("org", "set-default", "acme")
    assert "acme" in cli.run("org", "get-default").stdout
    assert "admin" in cli.run("org", "member", "list").stdout
    assert "admin" in json.dumps(cli.json("org", "member", "list", "--output", "json"))
