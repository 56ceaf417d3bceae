"""More of Python's Automation API against the backend of the environment: see operations.js."""
import json
import sys

import pulumi
from pulumi import automation as auto

NAME, = sys.argv[1:]
ORG, PROJECT, _ = NAME.split("/")
value = "one"


def program():
    pulumi.export("values", [pulumi.Stash(n, input=value).input for n in ("a", "b", "c")])


def urn(n, stack="dev"):
    return f"urn:pulumi:{stack}::{PROJECT}::pulumi:index:Stash::{n}"


def refused(function, *arguments, **named):
    try:
        function(*arguments, **named)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


def counts(summary):
    return {str(getattr(k, "value", k)): v for k, v in summary.items()}


def main():
    global value
    seen = {}
    stack = auto.create_or_select_stack(stack_name=NAME, project_name=PROJECT, program=program)
    seen["org"] = stack.workspace.org_get_default()
    seen["created"] = stack.up().summary.resource_changes
    value = "two"
    seen["previewOfOne"] = counts(stack.preview(target=[urn("a")]).change_summary)
    seen["upOfOne"] = stack.up(target=[urn("a")]).summary.resource_changes
    seen["unexpected"] = refused(stack.up, expect_no_changes=True)
    value = "three"
    rest = stack.up(message="with flags", refresh=True, continue_on_error=True, parallel=1, diff=True).summary
    seen["rest"] = {"kind": rest.kind, "message": rest.message, "resourceChanges": rest.resource_changes}
    seen["expected"] = stack.up(expect_no_changes=True).summary.result
    seen["replaced"] = stack.up(replace=[urn("b")]).summary.resource_changes
    seen["previewOfRefresh"] = counts(stack.preview_refresh().change_summary)
    seen["refreshed"] = stack.refresh(expect_no_changes=True).summary.result
    stack.set_tag("team", "blue")
    seen["tag"] = stack.get_tag("team")
    stack.remove_tag("team")
    seen["tags"] = "team" in stack.list_tags()
    stack.set_all_config({"plain": auto.ConfigValue("1"), f"{PROJECT}:other": auto.ConfigValue("2"), "secret": auto.ConfigValue("3", secret=True)})
    stack.remove_config("plain")
    seen["config"] = sorted(stack.get_all_config())
    stack.up()
    stack.set_config("secret", auto.ConfigValue("4", secret=True))
    stack.refresh_config()
    secret = stack.get_config("secret")
    seen["refreshedConfig"] = {"value": secret.value, "secret": secret.secret}
    seen["holds"] = refused(stack.workspace.remove_stack, NAME)
    renamed = f"{ORG}/{PROJECT}/renamed"
    stack.rename(renamed)
    seen["afterRename"] = stack.up().summary.resource_changes
    seen["newest"] = stack.info().kind
    seen["kinds"] = [h.kind for h in stack.history()]
    seen["pages"] = [[h.version for h in stack.history(page_size=3, page=page)] for page in (1, 2)]
    seen["all"] = any(s.name.endswith("renamed") for s in stack.workspace.list_stacks(include_all=True))
    seen["previewOfDestroy"] = counts(stack.preview_destroy().change_summary)
    seen["destroyedOne"] = stack.destroy(target=[urn("c", "renamed")]).summary.resource_changes
    stack.workspace.remove_stack(renamed, force=True)
    other = auto.create_or_select_stack(stack_name=f"{ORG}/{PROJECT}/locked", project_name=PROJECT,
                                        program=lambda: pulumi.export("hidden", pulumi.Output.secret("under-a-passphrase")),
                                        opts=auto.LocalWorkspaceOptions(secrets_provider="passphrase", env_vars={"PULUMI_CONFIG_PASSPHRASE": "word"}))
    other.up()
    seen["locked"] = {k: {"value": v.value, "secret": v.secret} for k, v in other.outputs().items()}
    seen["provider"] = other.export_stack().deployment["secrets_providers"]["type"]
    other.destroy(remove=True)
    print(json.dumps(seen))


main()
