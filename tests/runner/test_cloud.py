"""What a run gets of clouds by OIDC, tried on stand-ins that check a token as AWS, Azure and Google do (helpers/cloud.py), and with their
own libraries inside of the run. Real clouds are not part of the tests."""
import hashlib
import json
import sys

import pytest
from helpers import programs
from helpers.cloud import SESSION, Cloud
from helpers.waiting import wait_until

STACK = "acme/clouds/dev"
ROLE, ACCOUNT = "arn:aws:iam::123456789012:role/deploy", "deployer@example.iam.gserviceaccount.com"
AWS = {"roleArn": ROLE, "sessionName": "pulumi-${stack.name}-${deployment.version}", "duration": "45m", "policyArns": ["arn:aws:iam::aws:policy/One", "arn:p2"]}
AZURE = {"clientId": "11111111-aaaa", "tenantId": "22222222-bbbb", "subscriptionId": "33333333-cccc"}
GCP = {"projectId": "123456", "workloadPoolId": "pool", "providerId": "slipway", "serviceAccount": ACCOUNT, "region": "europe-west1", "tokenLifetime": "15m"}
STEP = "Fetch provider credentials via OIDC"
SUBJECT = "pulumi:deploy:org:acme:project:clouds:stack:dev:operation:preview:scope:write"


@pytest.fixture
def site(own, tmp_path, repo, clock):
    """A server with a runner, and clouds that trust it."""
    clouds = []

    def start(*options, subjects=(SUBJECT,), isolation="process", azure=None):
        # The cloud's address is an option of the runner, the issuer's a fact of the cloud.
        cloud = Cloud(tmp_path, None, "acme", subjects, clock=clock)
        clouds.append(cloud)
        more = cloud.options() + (["--azure-authority-url", cloud.tls_url] if azure else [])
        server = own("--isolation", isolation, *more, *options, clock=clock)
        cloud.issuer = server.url + "/oidc"
        repo.commit(programs.yaml("clouds"))
        api = server.api()
        api.create_stack(STACK)
        return Site(server, api, cloud, repo)

    yield start
    for cloud in clouds:
        cloud.stop()


class Site:
    def __init__(self, server, api, cloud, repo):
        self.server, self.api, self.cloud, self.repo = server, api, cloud, repo

    def request(self, oidc, commands, variables=None):
        return {"sourceContext": {"git": {"repoUrl": self.repo.url, "branch": "main"}},
                "operationContext": {"oidc": oidc, "preRunCommands": commands, "environmentVariables": variables or {}}}

    def run(self, oidc, *commands, expect="succeeded", variables=None):
        return self.api.run(STACK, "preview", expect=expect, **self.request(oidc, commands, variables))


def sha(text):
    return hashlib.sha256(text.encode()).hexdigest()


def told(log, name):
    """The value behind NAME= in a log, in which the command was shown before."""
    return log.rsplit(f"\n{name}=", 1)[1].split("\n", 1)[0]


SHOW = r"""
for n in AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN; do eval "v=\$$n"; echo "$n=$(printf %s "$v" | sha256sum | cut -c1-64)"; done
for n in ARM_USE_OIDC ARM_CLIENT_ID ARM_TENANT_ID ARM_SUBSCRIPTION_ID AZURE_CLIENT_ID AZURE_TENANT_ID AZURE_FEDERATED_TOKEN_FILE GOOGLE_PROJECT GOOGLE_REGION \
  GOOGLE_CREDENTIALS GOOGLE_APPLICATION_CREDENTIALS PULUMI_OIDC_TOKEN_FILE PULUMI_DEPLOY_OIDC_CONFIG; do eval "v=\$$n"; echo "$n=$v"; done
echo "mode=$(stat -c %a "$PULUMI_OIDC_TOKEN_FILE") $(stat -c %a "$GOOGLE_APPLICATION_CREDENTIALS")"
cmp "$GOOGLE_APPLICATION_CREDENTIALS" <(printf %s "$GOOGLE_CREDENTIALS") && [ "$(cat "$PULUMI_OIDC_TOKEN_FILE")" = "$PULUMI_OIDC_TOKEN" ] && [ "$ARM_OIDC_TOKEN" = "$PULUMI_OIDC_TOKEN" ] && echo alike
echo "plain: $PULUMI_OIDC_TOKEN $AWS_SECRET_ACCESS_KEY $AWS_SESSION_TOKEN"; printf %s "$AWS_SESSION_TOKEN" | base64 -w0; echo
"""


@pytest.mark.parametrize("isolation", ["bubblewrap", "process"])
def test_a_run_is_signed_in_everywhere(site, bubblewrap, isolation):
    site = site(isolation=isolation)
    done, log = site.run({"aws": AWS, "azure": AZURE, "gcp": GCP}, SHOW)
    steps = [line["header"] for line in site.api.log_lines(STACK, done["id"]) if line.get("header")]
    assert steps[:5] == ["Setup", "Download deployment executor", STEP, "Get source", "Pre-run command 1"]
    step = log.split(f"== {STEP}\n")[1].split("\n== ")[0]
    assert f"AWS: assuming the role {ROLE} as pulumi-dev-{done['version']}" in step and "AWS: credentials until 20" in step
    assert f"subject  {SUBJECT}" in step and "audience acme" in step and "Azure: the token is taken" in step and "Google: the token is taken" in step
    # What the clouds were asked, each of which has checked the token.
    asked, = site.cloud.asked("aws")
    token = asked.pop("WebIdentityToken")
    assert asked == {"Action": "AssumeRoleWithWebIdentity", "Version": "2011-06-15", "RoleArn": ROLE, "RoleSessionName": f"pulumi-dev-{done['version']}",
                     "DurationSeconds": "2700", "PolicyArns.member.1.arn": "arn:aws:iam::aws:policy/One", "PolicyArns.member.2.arn": "arn:p2"}
    assert site.cloud.asked("azure")[0]["tenant"] == AZURE["tenantId"] and site.cloud.asked("azure")[0]["scope"] == "https://management.azure.com/.default"
    pool = "//iam.googleapis.com/projects/123456/locations/global/workloadIdentityPools/pool/providers/slipway"
    assert site.cloud.asked("google")[0]["audience"] == pool
    assert site.cloud.asked("service account")[0] == {"account": ACCOUNT, "lifetime": "900s", "scope": ["https://www.googleapis.com/auth/cloud-platform"]}
    # What the run has.
    assert [told(log, name) for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")] == [
        sha(SESSION["key"]), sha(SESSION["secret"]), sha(SESSION["session"])]
    assert [told(log, n) for n in ("ARM_USE_OIDC", "ARM_CLIENT_ID", "ARM_TENANT_ID", "ARM_SUBSCRIPTION_ID")] == [
        "true", AZURE["clientId"], AZURE["tenantId"], AZURE["subscriptionId"]]
    assert [told(log, n) for n in ("GOOGLE_PROJECT", "GOOGLE_REGION")] == ["123456", "europe-west1"]
    file = told(log, "PULUMI_OIDC_TOKEN_FILE")
    assert file == told(log, "AZURE_FEDERATED_TOKEN_FILE") and file.endswith("/mnt/pulumi/pulumi.oidc")
    if isolation == "bubblewrap":
        assert file == "/mnt/pulumi/pulumi.oidc"
    account = json.loads(told(log, "GOOGLE_CREDENTIALS"))
    assert account == {"type": "external_account", "audience": pool, "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
                       "token_url": site.cloud.url + "/v1/token", "credential_source": {"file": file, "format": {"type": "text"}},
                       "service_account_impersonation": {"token_lifetime_seconds": 900},
                       "service_account_impersonation_url": f"{site.cloud.url}/v1/projects/-/serviceAccounts/deployer%40example.iam.gserviceaccount.com:generateAccessToken"}
    assert told(log, "mode") == "600 600" and "\nalike\n" in log
    assert json.loads(told(log, "PULUMI_DEPLOY_OIDC_CONFIG")) == {"aws": AWS, "azure": AZURE, "gcp": GCP}
    # And what the log does not.
    assert "plain: [secret] [secret] [secret]\n[secret]\n" in log
    for secret in (token, *SESSION.values()):
        assert secret not in log and secret not in site.server.stderr()


SDKS = """
import hashlib, os
import boto3, botocore.session, google.auth, google.auth.transport.requests, requests
from azure.identity import WorkloadIdentityCredential

def show(name, text):
    print(f"{name}={hashlib.sha256(text.encode()).hexdigest()}", flush=True)

found = boto3.Session().get_credentials()
print("method=" + found.method)
show("aws", found.get_frozen_credentials().secret_key)

# Long runs: the provider that reads the token's file anew.
for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
    del os.environ[name]
os.environ |= {"AWS_ROLE_ARN": "%(role)s", "AWS_WEB_IDENTITY_TOKEN_FILE": os.environ["PULUMI_OIDC_TOKEN_FILE"], "AWS_ENDPOINT_URL_STS": "%(url)s",
               "AWS_REGION": "us-east-1", "AWS_ROLE_SESSION_NAME": "sdk"}
found = boto3.Session().get_credentials()
print("method=" + found.method)
show("web-identity", found.get_frozen_credentials().secret_key)

# With scopes it would ask Google for the project's name at once.
credentials, _ = google.auth.load_credentials_from_file(os.environ["GOOGLE_APPLICATION_CREDENTIALS"])
credentials = credentials.with_scopes(["https://www.googleapis.com/auth/cloud-platform"])
credentials.refresh(google.auth.transport.requests.Request())
show("google", credentials.token)

show("azure", WorkloadIdentityCredential(disable_instance_discovery=True).get_token("https://management.azure.com/.default").token)
"""


def test_the_libraries_of_the_clouds_find_their_way(site, repo):
    from helpers.cloud import AZURE_TOKEN, SERVICE_TOKEN
    site = site(azure="tls")
    repo.commit({"sdks.py": SDKS % {"role": ROLE, "url": site.cloud.url}})
    command = f'SSL_CERT_FILE={site.cloud.certificate} REQUESTS_CA_BUNDLE={site.cloud.certificate} "{sys.executable}" sdks.py'
    _, log = site.run({"aws": AWS, "azure": AZURE, "gcp": GCP}, command)
    # Its certificate is one that only the program knows: the runner cannot ask, and leaves it to the run.
    assert "warning: Azure could not be asked (" in log
    assert log.count("method=env\n") == 1 and log.count("method=assume-role-with-web-identity\n") == 1
    assert told(log, "aws") == told(log, "web-identity") == sha(SESSION["secret"])
    assert told(log, "google") == sha(SERVICE_TOKEN) and told(log, "azure") == sha(AZURE_TOKEN)
    assert [len(site.cloud.asked(name)) for name in ("aws", "google", "service account", "azure")] == [2, 2, 2, 1]
    assert site.cloud.asked("azure")[0]["client_assertion"] == site.cloud.asked("aws")[0]["WebIdentityToken"]


REFUSALS = [
    ("aws", AWS, ("other:subject",), f"AWS: the role {ROLE} was refused: AccessDenied: subject {SUBJECT} (HTTP 403; the token's issuer is "),
    ("aws", {**AWS, "roleArn": "arn:aws:iam::1:role/absent"}, (SUBJECT,),
     "AWS: the role arn:aws:iam::1:role/absent was refused: AccessDenied: Not authorized to perform sts:AssumeRoleWithWebIdentity (HTTP 403; "),
    ("azure", AZURE, ("other:subject",), f"Azure: the application {AZURE['clientId']} of the tenant {AZURE['tenantId']} was refused: AADSTS700213: No matching "),
    ("gcp", GCP, ("other:subject",), f"Google: the token at the provider slipway of the pool pool was refused: subject {SUBJECT} (HTTP 400; "),
    ("gcp", {**GCP, "serviceAccount": "other@example.com"}, (SUBJECT,),
     "Google: acting as the service account other@example.com was refused: Permission 'iam.serviceAccounts.getAccessToken' denied on resource (HTTP 403; "),
    ("aws", {**AWS, "roleArn": ""}, (SUBJECT,), "AWS: operationContext.oidc.aws.roleArn is missing in the settings"),
    ("azure", {"clientId": "c"}, (SUBJECT,), "Azure: operationContext.oidc.azure.tenantId is missing in the settings"),
    ("gcp", {**GCP, "providerId": ""}, (SUBJECT,), "Google: operationContext.oidc.gcp.providerId is missing in the settings"),
]


def test_a_refusal_says_who_was_refused_what_and_why(site):
    site = site()
    for cloud, settings, subjects, sentence in REFUSALS:
        site.cloud.subjects = list(subjects)
        done, log = site.run({cloud: settings}, "echo never", expect="failed")
        assert f"Error: {sentence}" in log.split(f"== {STEP}\n")[1].split("\n== ")[0], (sentence, log)
        assert "== Get source" not in log and "never" not in log
        if "refused" in sentence:
            assert f"its audience acme, its subject {SUBJECT})" in log
    assert "eyJ" not in log


def test_a_busy_cloud_is_asked_again(site):
    site = site()
    site.cloud.broken = 2
    site.run({"aws": AWS})
    site.cloud.broken = 4
    _, log = site.run({"aws": AWS}, expect="failed")
    assert f"Error: AWS: the role {ROLE} cannot be assumed: {site.cloud.url} does not answer: it answered 503: <html>busy</html>" in log
    # A cloud that only the run itself has to reach is not waited for.
    site.cloud.broken = 4
    _, log = site.run({"azure": AZURE})
    assert "warning: Azure could not be asked" in log and "the run will sign in by itself" in log


ASK = """
import os, sys, urllib.error, urllib.parse, urllib.request
token = open(os.environ["PULUMI_OIDC_TOKEN_FILE"]).read()
assert token == os.environ["PULUMI_OIDC_TOKEN"]
form = {"grant_type": "client_credentials", "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer", "client_assertion": token}
with urllib.request.urlopen(sys.argv[1] + "/t/oauth2/v2.0/token", urllib.parse.urlencode(form).encode()) as answer:
    print("taken", answer.status)
"""


def test_every_run_has_its_token(site, repo):
    """For Vault and others: without any cloud in the settings, and without a step."""
    site = site()
    repo.commit({"ask.py": ASK})
    for oidc in ({}, {"aws": {"roleArn": "", "policyArns": []}}):
        _, log = site.run(oidc, f'"{sys.executable}" ask.py {site.cloud.url}', "env | cut -d= -f1")
        assert "taken 200" in log and STEP not in log
        names = log.split("== Pre-run command 2\n")[1].split("\n== ")[0].split("\n")
        assert not [name for name in names if name.startswith(("AWS_", "ARM_", "GOOGLE_"))] and "PULUMI_OIDC_TOKEN" in names
    assert site.cloud.asked("aws") == []


def test_what_the_settings_set_counts(site):
    site = site()
    _, log = site.run({"aws": AWS}, 'echo "got=$AWS_ACCESS_KEY_ID"', 'echo "token=$PULUMI_OIDC_TOKEN"', variables={"AWS_ACCESS_KEY_ID": "mine", "PULUMI_OIDC_TOKEN": "own"})
    assert "got=mine\n" in log and "token=own\n" in log


WAIT = """
first=$(sha256sum < "$PULUMI_OIDC_TOKEN_FILE"); echo waiting
until [ "$(sha256sum < "$PULUMI_OIDC_TOKEN_FILE")" != "$first" ]; do sleep 0.05; done
echo "mode=$(stat -c %a "$PULUMI_OIDC_TOKEN_FILE")"; echo "token: $(cat "$PULUMI_OIDC_TOKEN_FILE")"; echo "first: $PULUMI_OIDC_TOKEN"
"""


@pytest.mark.parametrize("isolation", ["bubblewrap", "process"])
def test_the_file_of_a_long_run_is_renewed(site, clock, repo, bubblewrap, isolation):
    """Before the token ends; and the new one is hidden in the log as the first is."""
    site = site("--runner-timeout", "24h", isolation=isolation)
    repo.commit({"ask.py": ASK})
    ask = [] if isolation == "bubblewrap" else [f'sed -i "s/assert .*//" ask.py; "{sys.executable}" ask.py {site.cloud.url}']
    made = site.api.deploy(STACK, "preview", **site.request({}, [WAIT, *ask]))
    wait_until(lambda: "\nwaiting\n" in site.api.log(STACK, made["id"]), 60, "the run to wait")
    clock.advance(3000)
    done = site.api.wait_status(STACK, made["id"], timeout=60)
    log = site.api.log(STACK, made["id"])
    assert done["status"] == "succeeded", log
    assert "mode=600\ntoken: [secret]\nfirst: [secret]\n" in log and "eyJ" not in log
    if ask:
        # The first would be over by then, for whoever has the same clock.
        clock.advance(1000)
        claims = site.cloud.check(site.cloud.asked("azure")[0]["client_assertion"])
        assert claims["sub"] == SUBJECT


INSIDE = r"""
[ "$(cat /mnt/pulumi/pulumi.oidc)" = "$PULUMI_OIDC_TOKEN" ] && [ "$PULUMI_OIDC_TOKEN_FILE" = /mnt/pulumi/pulumi.oidc ] && echo "file alike"
first=$(cat "$PULUMI_OIDC_TOKEN_FILE"); echo waiting
until [ "$(cat "$PULUMI_OIDC_TOKEN_FILE")" != "$first" ]; do sleep 0.1; done; echo renewed
"""


def test_files_in_a_container(docker, tmp_path, repo, clock):
    """The same way as elsewhere: no mount, and a new one while the run goes on."""
    server = docker("--runner-timeout", "24h", clock=clock)
    api = server.api()
    repo.commit(programs.yaml("clouds"))
    api.create_stack(STACK)
    made = api.deploy(STACK, "preview", sourceContext={"git": {"repoUrl": repo.url, "branch": "main"}},
                      operationContext={"preRunCommands": [INSIDE], "options": {"shell": "sh"}})
    wait_until(lambda: "\nwaiting\n" in api.log(STACK, made["id"]), 60, "the run to wait")
    clock.advance(3000)
    done = api.wait_status(STACK, made["id"], timeout=60)
    log = api.log(STACK, made["id"])
    assert done["status"] == "succeeded" and "file alike\n" in log and "\nrenewed\n" in log, log
