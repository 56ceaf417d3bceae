"""Every field of deployment settings (features §3.2): stored, checked, given back in the official shape."""
import json
import uuid

import pytest
from helpers.api import path_of

OIDC = "operationContext.oidc."
GIT, HG, TEMPLATE = "sourceContext.git.", "sourceContext.hg.", "sourceContext.template."
VARIABLE = "operationContext.environmentVariables."
# path, value, what comes back when that is something else
PLAIN = [
    ("tag", "blue"),
    ("executorContext.executorImage", "example.invalid/image:1"),
    ("executorContext.executorImage", {"reference": "example.invalid/image@sha256:" + "0" * 64}),
    ("executorContext.executorRootPath", "/home/runner"),
    ("executorContext.workingDirectory", "infra"),
    (GIT + "repoUrl", "https://example.invalid/x.git"),
    (GIT + "branch", "refs/heads/main"),
    (GIT + "commit", "c0ffee"),
    (GIT + "tag", "v1"),
    (GIT + "repoDir", "infra/prod"),
    (HG + "repoUrl", "https://example.invalid/hg"),
    (HG + "branch", "default"),
    (HG + "revision", "1f3a"),
    (HG + "repoDir", "infra"),
    (TEMPLATE + "sourceUrl", "registry://templates/source/acme/web"),
    *[(f"gitHub.{name}", value) for name, value in [
        ("repository", "acme/shop"), ("deployCommits", True), ("deployCommits", False), ("previewPullRequests", True), ("pullRequestTemplate", True),
        ("deployPullRequest", 7), ("paths", ["a/**", "!b"]), ("paths", []), ("installationId", "42"), ("deployTags", True),
        ("tagFilters", ["v*"]), ("reviewStackLabels", ["preview"])]],
    *[(f"vcs.{name}", value) for name, value in [
        ("repository", "acme/shop"), ("deployCommits", True), ("previewPullRequests", False), ("pullRequestTemplate", True), ("deployPullRequest", 7),
        ("paths", ["a/**"]), ("installationId", "42"), ("deployTags", True), ("tagFilters", ["v*"]), ("reviewStackLabels", ["preview"])]],
    *[("vcs.provider", name) for name in ("github", "gitlab", "bitbucket", "azure_devops", "custom")],
    *[("operationContext.operation", name) for name in ("update", "preview", "destroy", "refresh", "detect-drift", "remediate-drift")],
    ("operationContext.preRunCommands", ["echo one", "echo two"]),
    ("operationContext.preRunCommands", []),
    (VARIABLE + "PLAIN", "value"),
    (VARIABLE + "EMPTY", ""),
    *[(f"operationContext.options.{name}", value) for name in (
        "skipInstallDependencies", "skipIntermediateDeployments", "deleteAfterDestroy", "remediateIfDriftDetected") for value in (True, False)],
    ("operationContext.options.shell", "zsh"),
    (OIDC + "aws.roleArn", "arn:aws:iam::1:role/x"), (OIDC + "aws.sessionName", "s"), (OIDC + "aws.duration", "1h0m0s"),
    (OIDC + "aws.policyArns", ["arn:aws:iam::1:policy/x"]),
    (OIDC + "azure.clientId", "c"), (OIDC + "azure.tenantId", "t"), (OIDC + "azure.subscriptionId", "s"),
    *[(OIDC + f"gcp.{name}", name) for name in ("projectId", "workloadPoolId", "providerId", "serviceAccount", "region")],
    (OIDC + "gcp.tokenLifetime", "15m0s"),
    *[(f"operationContext.role.{name}", "") for name in ("id", "name", "defaultIdentifier")],
    ("cacheOptions.enable", True), ("cacheOptions.enable", False),
    ("sourceContext", {}), ("operationContext.options", {}), ("gitHub", {}),  # an object that was written empty is one
]
# Written as something else than it comes back: older clients, and ids that are numbers.
CANONICAL = [
    (GIT + "repoURL", "https://example.invalid/x.git", GIT + "repoUrl", "https://example.invalid/x.git"),
    (HG + "repoURL", "https://example.invalid/hg", HG + "repoUrl", "https://example.invalid/hg"),
    ("gitHub.installationId", 42, "gitHub.installationId", "42"),
    ("vcs.installationId", 42, "vcs.installationId", "42"),
    (VARIABLE + "A", {"isSecret": False, "value": "v"}, VARIABLE + "A", "v"),
]
AUTH = ("accessToken", "sshAuth.sshPrivateKey", "sshAuth.password", "basicAuth.password", "basicAuth.userName")
SECRET = [VARIABLE + "TOKEN", "executorContext.executorImage.credentials.password",
          *[f"{where}Auth.{name}" for where in (GIT + "git", HG + "hg", TEMPLATE + "git") for name in AUTH]]


def document(path, value):
    for name in reversed(path.split(".")):
        value = {name: value}
    # What has to stand beside it.
    if "vcs" in value:
        value["vcs"].setdefault("provider", "github")
    if "template" in value.get("sourceContext", {}):
        value["sourceContext"]["template"].setdefault("sourceUrl", "https://example.invalid/t")
    return value


def look(value, path):
    for name in path.split("."):
        if not isinstance(value, dict) or name not in value:
            return None
        value = value[name]
    return value


def without_numbers(seen):
    return {k: v for k, v in seen.items() if k not in ("version", "source")}


@pytest.fixture
def path(api, stack):
    api.create_stack(stack)
    return path_of(stack) + "/deployments/settings"


def label(value):
    return value if isinstance(value, str) else json.dumps(value)


@pytest.mark.parametrize("field, value", PLAIN, ids=[f"{f}={label(v)}"[-60:] for f, v in PLAIN])
def test_what_was_written_comes_back(api, path, field, value):
    """Nothing more and nothing less, from each of the three that answer with settings."""
    body = document(field, value)
    for method in ("POST", "PUT"):
        answer = api.call(method, path, body)
        assert answer.status_code == 200 and "Slipway-Ignored" not in answer.headers, answer.headers
        assert without_numbers(answer.json()) == body
        assert without_numbers(api.get(path)) == body
        api.ok("PUT", path, {})
    # A null takes it away again, and leaves the rest.
    api.post(path, {**body, "tag": "kept"} if field != "tag" else body)
    patch = {}
    at = patch
    for name in field.split(".")[:-1]:
        at = at.setdefault(name, {})
    at[field.rsplit(".", 1)[-1]] = None
    if field not in ("vcs.provider", TEMPLATE + "sourceUrl"):
        assert look(api.post(path, patch), field) is None
        assert field == "tag" or api.get(path)["tag"] == "kept"


@pytest.mark.parametrize("field, value, other, wanted", CANONICAL)
def test_one_form_comes_back(api, path, field, value, other, wanted):
    api.ok("PUT", path, document(field, value))
    assert without_numbers(api.get(path)) == document(other, wanted)


@pytest.mark.parametrize("field", SECRET)
@pytest.mark.parametrize("shape", [{"secret": "hush-hush"}, {"isSecret": True, "value": "hush-hush"}, {"plaintext": "hush-hush"}], ids=["secret", "value", "plaintext"])
def test_a_secret_comes_back_closed(api, path, field, shape):
    answers = [api.call("PUT", path, document(field, shape)), api.call("GET", path)]
    for answer in answers:
        found = look(answer.json(), field)
        assert answer.status_code == 200 and "hush-hush" not in answer.text
        assert set(found) == {"secret", "ciphertext"} and found["secret"] == "[secret]" and found["ciphertext"]
    # Both halves of it may be written back, or one of them, and it is the same value: its ciphertext has not changed.
    before = look(answers[1].json(), field)
    for again in (before, {"ciphertext": before["ciphertext"]}, {"secret": "[secret]"}):
        api.ok("PUT", path, document(field, again))
        assert look(api.get(path), field) == before


@pytest.mark.parametrize("field", [f for f in SECRET if not f.startswith(VARIABLE) and not f.endswith("userName")])
def test_a_credential_is_a_secret_in_any_shape(api, path, field):
    api.ok("PUT", path, document(field, "written-plainly"))
    assert "written-plainly" not in api.call("GET", path).text


def test_what_only_reads_and_what_nobody_knows(api, path):
    body = {"version": 99, "source": "console", "tag": "t", "surprise": 1,
            "executorContext": {"executorImage": {"reference": "a:1", "isDefault": True}},
            "sourceContext": {"git": {"branch": "main", "depth": 1}, "template": {"projectSourceUrl": "x", "sourceUrl": "https://example.invalid/t"}},
            "operationContext": {"options": {"a/b": 1}}}
    answer = api.call("POST", path, body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Slipway-Ignored"] == "/surprise, /sourceContext/git/depth, /operationContext/options/a~1b"
    seen = answer.json()
    assert seen["version"] == 1 and seen["source"] == "api" and "surprise" not in seen
    assert seen["executorContext"]["executorImage"] == {"reference": "a:1"} and seen["operationContext"]["options"] == {}
    api.refused(400, "POST", path, body, names="/sourceContext/git/depth", headers={"Prefer": "handling=strict"})


POOL = str(uuid.UUID(int=7))
BAD = [
    ({"agentPoolID": POOL}, "/agentPoolID"),
    ({"agentPoolID": 5}, "/agentPoolID"),
    *[({"operationContext": {"role": {name: "ops"}}}, "/operationContext/role") for name in ("id", "name", "defaultIdentifier")],
    ({"sourceContext": {"git": {"repoUrl": "u"}, "template": {"sourceUrl": "t"}}}, "only one of git, hg and template"),
    ({"sourceContext": {"git": {"repoUrl": "u"}, "hg": {"repoUrl": "t"}}}, "only one of git, hg and template"),
    ({"sourceContext": {"template": {}}}, "sourceContext.template.sourceUrl is required"),
    ({"sourceContext": {"template": {"sourceUrl": ""}}}, "sourceContext.template.sourceUrl is required"),
    ({"sourceContext": {"git": {"branch": "a", "commit": "b"}}}, "branch and commit"),
    ({"sourceContext": {"git": {"repoUrl": "u"}}, "gitHub": {"repository": "a/b"}}, "sourceContext.git.repoUrl"),
    ({"sourceContext": {"git": {"repoURL": "u"}}, "vcs": {"provider": "gitlab", "repository": "a/b"}}, "sourceContext.git.repoUrl"),
    *[({"operationContext": {"oidc": {cloud: {name: value}}}}, f"/operationContext/oidc/{cloud}/{name}") for cloud, name in (("aws", "duration"), ("gcp", "tokenLifetime"))
      for value in ("soon", "1", "1h30", "-1h", "1 h", "1d", "h", 5)],
    ({"sourceContext": {"git": {"repoDir": "../x"}}}, "/sourceContext/git/repoDir"),
    ({"sourceContext": {"hg": {"repoDir": "/x"}}}, "/sourceContext/hg/repoDir"),
    ({"vcs": {"repository": "a/b"}}, "/vcs/provider"),
    ({"vcs": {"provider": "sourceforge"}}, "/vcs/provider"),
    ({"operationContext": {"operation": "dance"}}, "/operationContext/operation"),
    ({"operationContext": {"environmentVariables": {"A=B": "c"}}}, "/operationContext/environmentVariables/A=B"),
    ({"operationContext": {"environmentVariables": {"A": {"secret": "[secret]"}}}}, "no stored value"),
    ({"operationContext": {"environmentVariables": {"A": {"ciphertext": "AAAA"}}}}, "/operationContext/environmentVariables/A"),
    ({"executorContext": {"executorImage": 5}}, "/executorContext/executorImage"),
]


@pytest.mark.parametrize("body, names", BAD, ids=[json.dumps(b)[-60:] for b, _ in BAD])
def test_refused_and_nothing_changed(api, path, body, names):
    for method in ("POST", "PUT"):
        api.refused(400, method, path, body, names=names)
        api.refused(404, "GET", path)
    saved = api.post(path, {"tag": "before"})
    for method in ("POST", "PUT"):
        api.refused(400, method, path, body, names=names)
        assert api.get(path) == saved


# Another type of JSON than the field's, for each field.
WRONG = sorted({(field, "true" if isinstance(value, str) else '"text"') for field, value in PLAIN
                 if not isinstance(value, dict) and ".role." not in field}
               | {(field, "5") for field in SECRET} | {("gitHub.paths", "[1]"), ("gitHub.deployPullRequest", "1.5"), ("operationContext.preRunCommands", "[null]")})


@pytest.mark.parametrize("field, text", WRONG)
def test_another_type_is_refused(api, path, field, text):
    api.refused(400, "PUT", path, document(field, json.loads(text)), names="/" + field.replace(".", "/"))


def test_a_repository_is_named_by_one_of_two(api, path):
    api.post(path, {"sourceContext": {"git": {"repoUrl": "u", "branch": "main"}}})
    api.refused(400, "POST", path, {"gitHub": {"repository": "a/b"}}, names="repoUrl")
    api.post(path, {"gitHub": {"repository": "a/b"}, "sourceContext": {"git": {"repoUrl": None}}})
    assert api.get(path)["sourceContext"] == {"git": {"branch": "main"}}
    api.refused(400, "POST", path, {"sourceContext": {"git": {"repoUrl": "u"}}}, names="repoUrl")


def test_what_encrypt_gives_becomes_the_value(own):
    """Seen where it is opened: in the work order of a run."""
    from helpers.access import STACK, Organization
    org = Organization(own)
    path = org.stack + "/deployments/settings"
    sealed = org.write.post(path + "/encrypt", {"secret": "sealed-ahead"})
    assert set(sealed) == {"secret", "ciphertext"} and sealed["secret"] == "[secret]" and "sealed-ahead" not in str(sealed)
    org.write.post(path, {"operationContext": {"environmentVariables": {"AHEAD": {"ciphertext": sealed["ciphertext"]}, "BOTH": sealed}}})
    org.write.deploy(STACK, "preview")
    claim = org.server.api(org.pool["tokenValue"]).get("/api/deployments/poll")
    order = org.server.api(claim["jobToken"]).get(f"/api/runner/{claim['deploymentID']}/order?attempt={claim['attempt']}")
    opened = {v["name"]: (v["value"], v["secret"]) for v in order["environment"]}
    assert opened["AHEAD"] == opened["BOTH"] == ("sealed-ahead", True)


@pytest.mark.parametrize("body", [{"secret": ""}, {"plaintext": ""}, {}, {"secret": None}, ""])
def test_nothing_cannot_be_encrypted(api, path, body):
    api.refused(400, "POST", path + "/encrypt", body, names="Invalid empty value")


def test_encrypt_takes_text_alone(api, path):
    for body in ({"secret": 5}, [], 5):
        api.refused(400, "POST", path + "/encrypt", body, names="/secret")
    api.refused(400, "POST", path + "/encrypt", data=b"")
