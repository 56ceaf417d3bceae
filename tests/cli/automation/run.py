"""The Automation API of Python against the backend of the environment: see run.js."""
import json
import os
import sys

import pulumi
import requests
from pulumi import automation as auto

NAME, FOLDER = sys.argv[1:]
ORG, PROJECT, _ = NAME.split("/")


def call(method, path, body):
    session = requests.Session()
    session.trust_env = False
    answer = session.request(method, os.environ["PULUMI_BACKEND_URL"] + path, json=body, headers={
        "Authorization": f"token {os.environ['PULUMI_ACCESS_TOKEN']}", "Accept": "application/vnd.pulumi+9"})
    answer.raise_for_status()
    return answer.json()


def refused(function):
    try:
        function()
    except Exception as error:
        return type(error).__name__
    return "nothing"


def program():
    config = pulumi.Config()
    kept = pulumi.Stash("kept", input=config.require_secret("password"))
    pulumi.export("hidden", kept.output)
    pulumi.export("shown", config.get("plain"))


def main():
    seen, events = {}, []
    inline = {"stack_name": NAME, "project_name": PROJECT, "program": program}
    stack = auto.create_stack(**inline)
    seen["again"] = refused(lambda: auto.create_stack(**inline))
    seen["missing"] = refused(lambda: auto.select_stack(**{**inline, "stack_name": f"{ORG}/{PROJECT}/none"}))
    seen["who"] = stack.workspace.who_am_i().user
    stack.set_all_config({"password": auto.ConfigValue("of-the-automation", secret=True), "plain": auto.ConfigValue("open")})
    config = stack.get_config("password")
    seen["config"] = {"value": config.value, "secret": config.secret}
    stack.set_tag("made", "by-automation")
    seen["tags"] = stack.list_tags()
    seen["preview"] = {str(getattr(k, "value", k)): v for k, v in stack.preview().change_summary.items()}
    up = stack.up(on_event=events.append, message="by automation")
    seen["up"] = {"result": up.summary.result, "kind": up.summary.kind, "version": up.summary.version, "changes": up.summary.resource_changes}
    seen["outputs"] = {k: {"value": v.value, "secret": v.secret} for k, v in up.outputs.items()}
    seen["events"] = any(event.summary_event for event in events)
    seen["refresh"] = stack.refresh().summary.kind
    seen["history"] = [h.kind for h in stack.history(page_size=2, page=1)]
    stack.import_stack(stack.export_stack())
    seen["stacks"] = [s.name for s in stack.workspace.list_stacks()]
    path = f"/api/stacks/{NAME}"
    made = call("POST", f"{path}/update", {"name": "p", "runtime": "yaml", "options": {}, "metadata": {}, "config": {}})
    call("POST", f"{path}/update/{made['updateID']}", {})
    seen["conflict"] = refused(stack.up)
    stack.cancel()
    seen["unchanged"] = stack.up().summary.resource_changes
    seen["destroy"] = stack.destroy().summary.kind
    stack.workspace.remove_stack(NAME)
    local = auto.create_or_select_stack(stack_name=f"{ORG}/{PROJECT}-local/dev", work_dir=FOLDER)
    seen["local"] = local.up().outputs["value"].value
    local.destroy(remove=True)
    print(json.dumps(seen))


main()
