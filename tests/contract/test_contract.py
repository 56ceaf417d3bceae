"""Every operation, asked with what its description allows and with what it does not (schemathesis).

CONTRACT_EXAMPLES (5) is how many random requests each gets beside the systematic ones; CONTRACT_SEED makes others. With
SLIPWAY_WIRE_SPEC, the name of a file with Pulumi's own description, the deployments API is held against that, too."""
import os
import re

import pytest
from helpers.access import STACK, Organization
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (allow_header_conformance, content_type_conformance, negative_data_rejection,
                                               positive_data_acceptance, response_schema_conformance, status_code_conformance)

import described

EXAMPLES = int(os.environ.get("CONTRACT_EXAMPLES", 5))
SEED = int(os.environ.get("CONTRACT_SEED", 1))
OWN = described.schema(described.own(), EXAMPLES, SEED)
bounded = settings(deadline=None, suppress_health_check=list(HealthCheck), database=None)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    from helpers import process
    started = []

    def own(*options, **more):
        started.append(process.Server(tmp_path_factory.mktemp("contract"), *options, **more))
        return started[-1]

    try:
        yield Site(Organization(own))
    finally:
        for server in started:
            server.stop()


class Site:
    """One organization with one of everything; and whose token is good for which kind of route."""

    def __init__(self, org):
        self.org, boss = org, org.boss
        done, runner, _ = self.claimed()
        runner.post(f"/api/runner/{done}/finish", {"attempt": 1, "status": "failed", "message": "to have one that is over"})
        running, runner, _ = self.claimed()
        schedule = boss.post(f"{org.stack}/deployments/schedules", {"scheduleCron": "0 0 1 1 *", "request": {"operation": "preview"}})
        update, lease = org.update(boss, boss.create_stack("acme/shop/other"))
        self.values = {"a-deploymentId": done, "a-scheduleID": schedule["id"], "a-poolId": org.pool["id"], "a-version": "1",
                       "a-updateID": update.rsplit("/", 1)[-1]}
        self.of_runner = {**self.values, "a-deploymentId": running}
        token = {"user": boss, "site": org.root, "pool": org.server.api(org.pool["tokenValue"]), "runner": runner, "agent": runner,
                 "handler": runner, "lease": lease, "AccessToken": boss}
        self.headers = {kind: {"Authorization": f"{api.scheme} {api.token}"} for kind, api in token.items()}
        self.headers["url"] = {}  # a part of the path is the permission

    def claimed(self):
        self.org.boss.deploy(STACK, "preview")
        return self.org.claim()

    def call(self, case):
        kinds = [kind for one in case.operation.definition.raw.get("security") or [{"url": []}] for kind in one]
        values = self.of_runner if kinds[0] in ("runner", "agent", "handler") else self.values
        for name, value in case.path_parameters.items():
            if isinstance(value, str):
                case.path_parameters[name] = values.get(value, value)
        return case.call(base_url=self.org.server.url, headers=self.headers[kinds[0]])


# What a schema cannot say: requests that it allows, and that are refused all the same. The beginning of the message, the reason.
REFUSED_ALL_THE_SAME = {
    r"\S*: must be a whole number": "1.0 is one to a schema; to Go's clients, and to us, it is not",
    r"/\w+: must have at most \d+ bytes": "the schema counts characters",
    r"exactly one of lookbackDays and lookbackStart|lookbackStart: must lie within|query argument lookbackDays": "one depends on another",
    r"/scheduleCron: |/scheduleOnce: |/timestamp: |(scheduleOnce|timestamp) must be set|scheduleCron and scheduleOnce cannot": "a language, a time of its own, one of two",
    r"/vcs/provider: is required|/.*sourceContext.*: only one of|.*branch and commit cannot both|sourceContext.template.sourceUrl": "one depends on another",
    r"Missing top level required|operation must only be set": "empty as the CLI sends it where it means nothing",
    r".*there is no such agent pool|the agent pool specified in": "the schema does not know which there are",
    r".*there is no such role": "the schema does not know that there are none",
    r".*is redacted, and there is no stored|.*has neither|.*ciphertext|.*isSecret": "a secret in one of its shapes, for this stack",
    r"the stack has no deployment settings, and the request has no source": "depends on what is saved",
    r"Attempted to pause or resume": "depends on what is saved",
    r"Agent pool is in use": "depends on what is saved",
    r"Invalid empty value": "either of two members",
    r"/network/allow: ": "a list belongs to one of the modes, and its lines have a form of their own",
    r"Invalid method. Must be PUT or GET|Invalid key. Must be": "refused in Pulumi's words, and by the handler",
    r"\S*continuationToken: ": "a place of a log",
    r"body: must be JSON|.*invalid UTF-8|.*surrogate": "what the generator makes is not always JSON",
}


def check_acceptance(case, response):
    """In place of schemathesis's own check, which knows no reasons."""
    if not case.meta.generation.mode.is_positive or response.status_code != 400:
        return
    said = response.json()["message"].removeprefix("Bad Request: ")
    assert any(re.match(pattern, said) for pattern in REFUSED_ALL_THE_SAME), f"allowed by the description, but refused: {said}\n{case.as_curl_command()}"


# Checks that do not fit, by operation.
UNFIT = {
    # Removing what is not there is no error, as a client may repeat it.
    "DeleteScheduledDeployment": [negative_data_rejection],
}


# Under these headings all checks hold. Elsewhere what is wrong with a request is not yet described so closely (names, versions of
# documents, times), and a lease is good for its update whatever names stand before it: there, what comes back has to be as described.
STRICT = {"Deployments", "Schedules", "DeploymentRunners"}
PROMISED = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


def check(case, response):
    # `GET …/deployments/pause` is a question for a deployment of that name, which the description has under another path.
    unfit = [positive_data_acceptance, allow_header_conformance, *UNFIT.get(case.operation.definition.raw["operationId"], [])]
    case.validate_response(response, excluded_checks=unfit)
    check_acceptance(case, response)


@OWN.parametrize()
@bounded
def test_own_description(case, site):
    response = site.call(case)
    if response.status_code == 414:
        return  # said by the HTTP library, before there is a route
    if STRICT & set(case.operation.definition.raw["tags"]):
        check(case, response)
    else:
        case.validate_response(response, checks=PROMISED)


WIRE = described.wire()
if WIRE:
    @described.schema(WIRE, EXAMPLES, SEED).parametrize()
    @bounded
    def test_pulumis_description(case, site):
        case.validate_response(site.call(case), checks=PROMISED)
