"""The OIDC issuer: its documents, who gets a token and what it says, rotation. What runs do with tokens: tests/runner/test_cloud.py."""
import base64
import re
import sqlite3
import subprocess
import time

import jwt
import pytest
import requests
from helpers import where
from helpers.api import path_of
from helpers.cloud import Refused, Verifier, fetch
from helpers.runner import Runner, Site
from helpers.waiting import wait_until

STACK = "acme/shop/prod"
OPERATIONS = ("preview", "update", "refresh", "destroy", "detect-drift", "remediate-drift")


def subject(operation, stack=STACK):
    org, project, name = stack.split("/")
    return f"pulumi:deploy:org:{org}:project:{project}:stack:{name}:operation:{operation}:scope:write"


@pytest.fixture
def site(own, clock):
    site = Site(own, clock=clock)
    site.stack(STACK)
    return site


def verifier(site, **more):
    return Verifier(site.server.url + "/oidc", **{"audience": "acme", "clock": site.server.clock, **more})


def mint(runner):
    return runner.post("oidc")["token"]


def one(site, operation="preview"):
    """A token of a deployment that is over, so that the next one may run."""
    runner = site.run(STACK, operation)
    runner.step(0)
    token = mint(runner)
    runner.finish()
    return token


def refused(check, token, why):
    with pytest.raises(Refused, match=why):
        check.check(token)


def keys(site):
    return [key["kid"] for key in fetch(site.server.url + "/oidc/.well-known/jwks")["keys"]]


# --- documents ---


def test_the_documents_are_for_everybody(site):
    issuer = site.server.url + "/oidc"
    for name in ("openid-configuration", "jwks"):
        answer = requests.get(f"{issuer}/.well-known/{name}", timeout=30)
        assert answer.headers["Cache-Control"] == "public, max-age=300" and answer.headers["Content-Type"] == "application/json"
    documents = fetch(issuer + "/.well-known/openid-configuration")
    assert documents["issuer"] == issuer and documents["jwks_uri"] == issuer + "/.well-known/jwks"
    assert documents["id_token_signing_alg_values_supported"] == ["RS256"]
    assert documents["response_types_supported"] == ["id_token"] and documents["subject_types_supported"] == ["public"]
    key, = fetch(documents["jwks_uri"])["keys"]
    assert (key["kty"], key["alg"], key["use"]) == ("RSA", "RS256", "sig") and set(key) == {"kty", "alg", "use", "kid", "n", "e"}
    assert jwt.PyJWK(key).key.key_size == 2048 and "=" not in key["n"]
    # It is made once, and stays.
    assert keys(site) == [key["kid"]]


def test_the_issuer_is_the_public_url(own):
    server = own("--public-url", "http://slipway.example/below/", command="serve")
    documents = fetch(server.url + "/oidc/.well-known/openid-configuration")
    assert documents["issuer"] == "http://slipway.example/below/oidc"
    assert documents["jwks_uri"] == "http://slipway.example/below/oidc/.well-known/jwks"
    server.wait_stderr("public-url is plain http: AWS, Azure and Google take OIDC tokens of an https issuer alone")
    assert "plain http" not in own("--public-url", "https://slipway.example", command="serve").stderr()


def test_many_first_users_make_one_key(site):
    import concurrent.futures
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(lambda _: tuple(keys(site)), range(16)))
    assert len(set(seen)) == 1 and len(seen[0]) == 1


# --- what a token says ---


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_token_says_which_deployment_it_is(site, operation):
    made = site.api.deploy(STACK, operation)
    runner = Runner(site, STACK)
    answer = runner.post("oidc")
    claims = verifier(site, subjects=[subject(operation)]).check(answer["token"])
    now = time.time()
    times = {name: claims.pop(name) for name in ("iat", "nbf", "exp")}
    assert abs(times["iat"] - now) < 10 and times["nbf"] == times["iat"] - 300 and times["exp"] - times["iat"] in (3599, 3600)
    assert re.fullmatch(r"[0-9a-f-]{36}", claims.pop("jti"))
    stack_id = site.api.get(path_of(STACK))["id"]
    assert claims == {"iss": site.server.url + "/oidc", "sub": subject(operation), "aud": "acme", "org": "acme", "project": "shop", "stack": "prod",
                      "stackId": stack_id, "operation": operation, "deployment": str(made["version"]), "scope": "write"}
    assert (answer["issuer"], answer["subject"], answer["audience"]) == (claims["iss"], claims["sub"], "acme")
    assert answer["expires"] == times["exp"] * 1_000_000
    # Whoever sets a cloud up is told the same before.
    told = site.api.get(f"{path_of(STACK)}/deployments/oidc?operation={operation}")
    del claims["deployment"]
    assert told == {"issuer": claims["iss"], "subject": claims["sub"], "audience": "acme", "claims": claims}


def test_each_token_is_another_one(site):
    runner = site.run(STACK)
    first, second = mint(runner), mint(runner)
    assert first != second and verifier(site).check(first)["jti"] != verifier(site).check(second)["jti"]


def test_the_audience_is_in_lower_case(own):
    server = own(command="serve")
    server.admin("org", "add", "AcMe")
    api = server.user("operator", org="AcMe", role="admin")
    api.create_stack("AcMe/Shop/Prod")
    told = api.get("/api/stacks/AcMe/Shop/Prod/deployments/oidc")
    assert told["audience"] == "acme" and told["subject"] == subject("update", "AcMe/Shop/Prod")


def test_no_name_can_look_like_a_part_of_a_subject(site):
    """Else a stack of one project could speak for one of another."""
    for name in ("prod:operation:update", "prod:scope:write", "pr\u00f6d", "prod\n", "a b", "*"):
        site.api.refused(400, "POST", "/api/stacks/acme/shop", {"stackName": name})
        site.api.refused(400, "POST", f"/api/stacks/acme/{requests.utils.quote(name, safe='')}", {"stackName": "dev"})
        site.api.refused(400, "POST", path_of(STACK) + "/rename", {"newName": name})
        assert site.server.admin("org", "add", name, check=False).returncode != 0
    # The longest names there are.
    longest = f"acme/{'p' * 100}/{'s' * 100}"
    site.stack(longest)
    runner = site.run(longest)
    assert verifier(site, subjects=[subject("preview", longest)]).check(mint(runner))["stack"] == "s" * 100


def test_a_renamed_stack_speaks_under_its_new_name(site):
    runner = site.run(STACK)
    before = verifier(site).check(mint(runner))
    runner.finish("failed")
    site.api.post(path_of(STACK) + "/rename", {"newName": "live"})
    after = verifier(site, subjects=[subject("preview", "acme/shop/live")]).check(mint(site.run("acme/shop/live")))
    assert before["stackId"] == after["stackId"]


LIFETIMES = [
    ({}, 3600), ({"aws": {"roleArn": "arn:r", "sessionName": "s"}}, 3600), ({"aws": {"roleArn": "arn:r", "duration": "15m"}}, 3600),
    ({"aws": {"roleArn": "arn:r", "duration": "1h30m0s"}}, 5400), ({"gcp": {"projectId": "1", "tokenLifetime": "1.5h"}}, 5400),
    ({"aws": {"duration": "1h10m"}, "gcp": {"tokenLifetime": "1h20m"}}, 4800),
    # Never past the end of the run (two hours), and five minutes for a cancel; Azure's is the token itself.
    ({"aws": {"roleArn": "arn:r", "duration": "12h"}}, 7500), ({"azure": {"clientId": "c", "tenantId": "t"}}, 7500), ({"azure": {"clientId": ""}}, 3600),
]


@pytest.mark.parametrize("oidc, seconds", LIFETIMES)
def test_a_token_is_good_as_long_as_the_session(site, oidc, seconds):
    site.api.settings(STACK, {"operationContext": {"oidc": oidc}})
    claims = verifier(site).check(one(site))
    assert seconds - 1 <= claims["exp"] - claims["iat"] <= seconds


def test_later_tokens_end_with_the_run_too(site, clock):
    site.api.settings(STACK, {"operationContext": {"oidc": {"azure": {"clientId": "c", "tenantId": "t"}}}})
    site.server.admin("org", "set", "acme", "--time-limit", "30h")
    runner = site.run(STACK)
    runner.step(0)
    claims = verifier(site).check(mint(runner))
    # No cloud takes one that is good for more than a day.
    assert claims["exp"] - claims["iat"] in (23 * 3600 - 1, 23 * 3600)


# --- who gets one ---


def test_nobody_but_the_runner_that_holds_the_deployment(site):
    site.stack("acme/shop/other")
    other = site.run("acme/shop/other")
    runner = site.run(STACK)
    runner.step(0)
    path = f"/api/runner/{runner.id}/oidc"
    for token in (runner.order["runToken"], site.pool["tokenValue"], site.api.token, ""):
        site.server.api(token).refused(401, "POST", path, {"attempt": runner.attempt})
    other.api.refused(403, "POST", path, {"attempt": runner.attempt})
    assert runner.call("oidc", attempt=runner.attempt + 1).status_code == 409
    runner.api.refused(400, "POST", path, {}, names="/attempt")
    # The run, which may do much with its own stack, is not the way either.
    run = site.server.api(runner.order["runToken"])
    assert "token" not in run.get(f"{path_of(STACK)}/deployments/oidc")
    assert verifier(site, subjects=[subject("preview")]).check(mint(runner))
    runner.finish()
    assert runner.call("oidc").status_code == 401


def test_a_lost_lease_gets_none(site, clock):
    runner = site.run(STACK)
    runner.step(0)
    clock.advance(700)
    site.api.wait_status(STACK, runner.id, "failed")
    assert runner.call("oidc").status_code in (401, 409)


def test_what_others_would_say_to_it(site, clock):
    """The checks of a cloud, each of them failing for its reason alone."""
    token = one(site)
    good = verifier(site, subjects=[subject("preview")])
    good.check(token)
    refused(verifier(site, audience="other"), token, "[Aa]udience")
    for wrong in (subject("update"), subject("preview", "acme/shop/dev"), subject("preview", "acme/shop/prod2"), subject("preview", "other/shop/prod")):
        refused(verifier(site, subjects=[wrong]), token, "subject")
    refused(Verifier("https://elsewhere.example/oidc", "acme"), token, "issuer")
    head, body, signature = token.split(".")
    changed = base64.urlsafe_b64encode(base64.urlsafe_b64decode(body + "==").replace(b'"prod"', b'"test"')).rstrip(b"=").decode()
    refused(good, ".".join([head, changed, signature]), "[Ss]ignature")
    clock.advance(3601)
    refused(good, token, "expired")


# --- rotation ---


def test_a_rotation_leaves_what_runs_alone(site, clock):
    check = verifier(site)
    before = one(site)
    old, = keys(site)
    new = site.server.admin("oidc", "rotate").stdout.strip()
    assert keys(site) == [new, old]
    after = one(site)
    assert jwt.get_unverified_header(before)["kid"] == old and jwt.get_unverified_header(after)["kid"] == new
    check.check(before), check.check(after)
    listed = [line.split("\t") for line in site.server.admin("oidc", "keys").stdout.splitlines()]
    assert [line[:2] for line in listed] == [[new, "signing"], [old, "retired"]]
    # The last moment of its last token, and an hour for clocks that differ.
    clock.advance(3500)
    check.check(before)
    clock.advance(3600)
    assert keys(site) == [new, old]
    clock.advance(300)
    wait_until(lambda: keys(site) == [new], 20, "the old key to go")
    refused(check, before, "no key")
    assert jwt.get_unverified_header(one(site))["kid"] == new


def test_a_key_that_signed_nothing_goes_an_hour_later(site, clock):
    old, = keys(site)
    new = site.server.admin("oidc", "rotate").stdout.strip()
    assert keys(site) == [new, old]
    clock.advance(3700)
    wait_until(lambda: keys(site) == [new], 20, "the old key to go")


def test_revoking_is_at_once(site):
    token = one(site)
    new = site.server.admin("oidc", "rotate", "--revoke").stdout.strip()
    assert keys(site) == [new]
    refused(verifier(site), token, "no key")
    verifier(site).check(one(site))


def test_a_key_is_followed_by_age(site, clock):
    """The next one is there a day before it signs."""
    old, = keys(site)
    clock.advance(89 * 86400 - 60)
    one(site)
    assert keys(site) == [old]
    clock.advance(120)
    wait_until(lambda: len(keys(site)) == 2, 20, "the next key")
    new = keys(site)[0]
    assert jwt.get_unverified_header(one(site))["kid"] == old
    assert [line.split("\t")[1] for line in site.server.admin("oidc", "keys").stdout.splitlines()] == ["waiting", "signing"]
    clock.advance(86400)
    token = one(site)
    assert jwt.get_unverified_header(token)["kid"] == new and verifier(site).check(token)
    clock.advance(2 * 3600)
    wait_until(lambda: keys(site) == [new], 20, "the old key to go")


def test_a_rotation_by_hand_comes_before_one_that_waits(site, clock):
    old, = keys(site)
    clock.advance(89 * 86400 + 60)
    wait_until(lambda: len(keys(site)) == 2, 20, "the next key")
    new = site.server.admin("oidc", "rotate").stdout.strip()
    assert keys(site) == [new, old]
    assert jwt.get_unverified_header(one(site))["kid"] == new


# --- the private key ---


def modulus(site):
    return base64.urlsafe_b64decode(fetch(site.server.url + "/oidc/.well-known/jwks")["keys"][0]["n"] + "==")


def test_the_key_is_sealed_wherever_it_lies(site, tmp_path):
    token = one(site)
    number = modulus(site)
    backup = tmp_path / "backup.tar"
    site.server.admin("backup", backup)
    site.server.stop()
    # Any form of the private key has the modulus in it, and says what it is.
    marks = (number, number.hex().encode(), b"MIIEv", bytes.fromhex("300d06092a864886f70d0101010500"), b"PRIVATE KEY")
    for file in (backup, *site.server.data.rglob("*"), site.server.log):
        if file.is_file():
            data = file.read_bytes()
            assert not [mark for mark in marks if mark in data], file
            assert token.encode() not in data, file
    assert sqlite3.connect(site.server.data / "slipway.db").execute("SELECT count(*) FROM oidc_keys WHERE length(private_key) > 1000").fetchone() == (1,)


def test_a_new_master_key_seals_it_too(site, own, clock, tmp_path):
    before = one(site)
    site.server.admin("key", "rotate")
    verifier(site).check(one(site))
    site.server.admin("backup", tmp_path / "backup.tar")
    site.server.stop()
    kid = jwt.get_unverified_header(before)["kid"]
    again = own(command="serve", data=site.server.data, clock=clock)
    assert "problems" not in again.admin("verify").stdout and again.api("").get("/oidc/.well-known/jwks")["keys"][0]["kid"] == kid
    site.server, site.api = again, again.api(site.api.token)
    assert jwt.get_unverified_header(one(site))["kid"] == kid
    # A backup brings it along.
    restored = tmp_path / "restored"
    subprocess.run([where.slipway(), "admin", "restore", tmp_path / "backup.tar", "--data", restored], check=True, timeout=60)
    third = own(command="serve", data=restored, clock=clock)
    assert third.api("").get("/oidc/.well-known/jwks")["keys"][0]["kid"] == kid


def test_verify_looks_at_the_keys(site):
    one(site)
    assert site.server.admin("verify").returncode == 0
    site.server.stop()
    database = sqlite3.connect(site.server.data / "slipway.db")
    database.execute("UPDATE oidc_keys SET public_n = 'AQAB'")
    database.commit()
    run = site.server.admin("verify", check=False)
    assert run.returncode == 1 and "OIDC issuer has a public half that is not its own" in run.stdout
    sealed = database.execute("SELECT private_key FROM oidc_keys").fetchone()[0]
    database.execute("UPDATE oidc_keys SET private_key = ?", (sealed[:-1] + bytes([sealed[-1] ^ 1]),))
    database.commit()
    run = site.server.admin("verify", check=False)
    assert run.returncode == 1 and "OIDC issuer does not open with the master key" in run.stdout
    database.close()


def test_a_token_in_a_log_is_hidden(site):
    """Whoever sent it: the server knows its own by their shape."""
    runner = site.run(STACK)
    runner.step(0)
    token = mint(runner)
    runner.log(0, f"TOKEN={token} and more\n")
    assert "TOKEN=[secret] and more" in site.api.log(STACK, runner.id) and token[:40] not in site.api.log(STACK, runner.id)
