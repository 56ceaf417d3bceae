"""Remote workspaces of Python's Automation API against the backend of the environment: see remote.js."""
import json
import os
import sys
import threading
import time

from pulumi import automation as auto
from pulumi.automation._local_workspace import ExecutorImage  # exported nowhere

ASKED = json.loads(sys.argv[2])


def words():
    """What the test asks for, in the words of this SDK."""
    login = ASKED.get("auth")
    return {"stack_name": ASKED["stack"], "url": ASKED.get("url"), "branch": ASKED.get("branch"), "commit_hash": ASKED.get("commit"),
            "project_path": ASKED.get("folder"),
            "auth": login and auto.RemoteGitAuth(username=login.get("username"), password=login.get("password"), personal_access_token=login.get("token"),
                                                 ssh_private_key=login.get("key"), ssh_private_key_path=login.get("keyPath")),
            "opts": auto.RemoteWorkspaceOptions(
                inherit_settings=ASKED.get("inherit"), pre_run_commands=ASKED.get("commands"), skip_install_dependencies=ASKED.get("skipInstall"),
                env_vars={**(ASKED.get("variables") or {}), **{k: auto.Secret(v) for k, v in (ASKED.get("secrets") or {}).items()}},
                executor_image=ASKED.get("image") and ExecutorImage(image=ASKED["image"]))}


def refused(function, *arguments, **named):
    try:
        function(*arguments, **named)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


def summary(s):
    return {"kind": s.kind, "result": s.result, "version": s.version, "changes": s.resource_changes}


def shown(outputs):
    return {k: {"value": v.value, "secret": v.secret} for k, v in outputs.items()}


def life():
    seen = {"missing": refused(auto.select_remote_stack_git_source, **words())}
    stack = auto.create_or_select_remote_stack_git_source(**words())
    seen["name"] = stack.name
    seen["again"] = refused(auto.create_remote_stack_git_source, **words())
    selected = auto.select_remote_stack_git_source(**words())
    output, events = [], []
    seen["preview"] = {str(getattr(k, "value", k)): v for k, v in stack.preview(on_output=output.append).change_summary.items()}
    up = stack.up(on_event=events.append, on_output=output.append)
    seen["up"] = summary(up.summary)
    seen["events"] = any(event.summary_event for event in events)
    seen["output"] = "\n".join(output)
    seen["upOutputs"] = shown(up.outputs)
    seen["outputs"] = shown(selected.outputs())
    seen["refresh"] = summary(stack.refresh().summary)
    stack.import_stack(stack.export_stack())
    seen["unchanged"] = summary(auto.create_or_select_remote_stack_git_source(**words()).up().summary)
    seen["history"] = [summary(h) for h in stack.history()]
    seen["page"] = [h.kind for h in stack.history(page_size=2, page=2)]
    seen["idle"] = refused(stack.cancel)
    seen["destroy"] = summary(stack.destroy().summary)
    seen["left"] = stack.export_stack().deployment.get("resources") or []
    return seen


def up():
    done = auto.create_or_select_remote_stack_git_source(**words()).up()
    return {**summary(done.summary), "outputs": shown(done.outputs)}


def is_refused():
    stack = auto.create_or_select_remote_stack_git_source(**words())
    return {"up": refused(stack.up), "preview": refused(stack.preview)}


def arguments():
    return {"short": refused(auto.create_remote_stack_git_source, **{**words(), "stack_name": "dev"}),
            "nothing": refused(auto.create_remote_stack_git_source, ASKED["stack"])}


def cancel():
    stack, ended = auto.create_or_select_remote_stack_git_source(**words()), []
    running = threading.Thread(target=lambda: ended.append(refused(stack.up)))
    running.start()
    while not os.path.exists(ASKED["started"]):
        time.sleep(0.2)
    busy = refused(lambda: stack.import_stack(stack.export_stack()))
    stack.cancel()
    open(ASKED["proceed"], "w").close()
    running.join()
    return {"up": ended[0], "busy": busy, "history": [summary(h) for h in stack.history(page_size=1, page=1)]}


print(json.dumps({"life": life, "up": up, "refused": is_refused, "arguments": arguments, "cancel": cancel}[sys.argv[1]]()))
