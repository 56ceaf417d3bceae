"""Programs from a template: a folder of a repository, as `pulumi new URL` takes it."""
from helpers.git import HttpGit

PULUMI_YAML = """name: ${PROJECT}
description: ${DESCRIPTION}
runtime: yaml
template:
  description: "A stash of one thing"
  config: {}
resources:
  kept:
    type: pulumi:Stash
    properties:
      input: ${pulumi.project}
outputs:
  project: ${kept.output}
"""


def test_a_template_becomes_the_program_of_the_stack(api, stack, project, repo, tmp_path):
    """Its name is the project's, although the template has another one; the token reads a repository that is not public."""
    token = "token-of-templates"
    git = HttpGit(tmp_path, user="x-access-token", password=token)
    api.create_stack(stack)
    repo.commit({"stash/Pulumi.yaml": PULUMI_YAML, "stash/docs/README.md": "# ${PROJECT}\n${DESCRIPTION}, ${OTHER}\n", "other/Pulumi.yaml": "name: wrong\n"})
    repo.commit({"stash/Pulumi.yaml": PULUMI_YAML.replace("${PROJECT}", "a-fixed-name")}, branch="fixed")
    for place in ("/stash", "/tree/fixed/stash"):
        source = {"template": {"sourceUrl": git.url(repo) + place, "gitAuth": {"accessToken": {"secret": token}}}}
        _, log = api.run(stack, "update", sourceContext=source,
                         operationContext={"preRunCommands": [f"cat docs/README.md; head -2 Pulumi.yaml; pulumi config set anything 1 --stack {stack}"]})
        assert f"\n# {project}\nA stash of one thing, ${{OTHER}}\nname: {project}\ndescription: A stash of one thing\n" in log, log
        assert api.outputs(stack) == {"project": project} and token not in log
    git.stop()


def test_templates_that_are_none(api, stack, repo):
    api.create_stack(stack)
    repo.commit({"README": "x\n"})
    for url, word in (("registry://templates/private/acme/web@1.0.0", "there is no registry of templates here"), ("aws-typescript", "must be https://"),
                      (f"{repo.url}/no/such/folder", "there is no folder 'no/such/folder'"), ("ext::sh -c id/o/r", "must be https://")):
        _, log = api.run(stack, "preview", expect="failed", sourceContext={"template": {"sourceUrl": url}})
        assert word in log.split("== Get source\n")[1], log
