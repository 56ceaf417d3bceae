"""Every route, without a token, with a wrong one, and with tokens of the wrong kind."""
import re

import pytest
import requests
from helpers import process, where
from helpers.api import path_of

OPEN = {"none", "url"}  # a url is sealed: a part of it is the permission, and no token is asked for (test_cache.py)


def routes():
    """[(method, pattern, auth)], as `slipway routes` lists the table that the server is built from."""
    import subprocess
    out = subprocess.run([where.slipway(), "routes"], capture_output=True, text=True, timeout=60, check=True).stdout
    rows = [line.split() for line in out.splitlines() if line.strip()]
    assert len(rows) > 40, f"only {len(rows)} routes"
    return [(row[0], row[1], row[2].lower().removeprefix("auth_")) for row in rows]


def fill(pattern):
    """A path of that pattern, as it would be asked for."""
    values = {"version": "1", "orgName": "acme"}
    return re.sub(r"\{(\w+)[^}]*\}", lambda m: values.get(m.group(1), "some-" + m.group(1).lower()), pattern)


def test_the_list_has_the_known_routes():
    known = {(m, p) for m, p, _ in routes()}
    patterns = {p for _, p in known}
    for method, pattern in [("GET", "/api/user"), ("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/api/deployments/poll")]:
        assert (method, pattern) in known
    assert any(p.endswith("/deployments/settings") for p in patterns)


def test_open_routes_are_only_those_that_have_to_be():
    """A new route that anybody may call has to be added here, by somebody who thought about it."""
    expected = re.compile(r"^(/healthz|/readyz|/api/capabilities|/api/openapi/[\w.-]+|/console.*|/signin.*|/login.*|/favicon.*|/|"
                          r"/assets/.*|/api/cache/\{ticket\}|/api/console/session|/oidc/\.well-known/.*|/\{.*)$")
    for method, pattern, auth in routes():
        if auth in OPEN:
            assert expected.match(pattern), f"{method} {pattern} needs no token"


def test_every_route_without_a_token(dev):
    nobody = dev.api("")
    bad = []
    for method, pattern, auth in routes():
        if auth in OPEN:
            continue
        answer = nobody.call(method, fill(pattern), {} if method in ("POST", "PUT", "PATCH") else ...)
        if not pattern.startswith("/api/"):  # a console page sends to the sign-in
            if answer.status_code in (302, 303, 401):
                continue
        if answer.status_code != 401 or (method != "HEAD" and answer.json().get("code") != 401):
            bad.append(f"{method} {pattern}: {answer.status_code} {answer.text[:100]}")
    assert not bad, "\n".join(bad)


def test_every_route_with_a_wrong_token(dev):
    wrong = dev.api("pul-ffffffffffffffffffffffffffffffffffffffff")
    bad = []
    for method, pattern, auth in routes():
        if auth in OPEN or not pattern.startswith("/api/"):
            continue
        scheme = "update-token" if "lease" in auth else "token"
        answer = wrong.with_token(wrong.token, scheme).call(method, fill(pattern), {} if method in ("POST", "PUT", "PATCH") else ...)
        if answer.status_code != 401:
            bad.append(f"{method} {pattern}: {answer.status_code} {answer.text[:100]}")
    assert not bad, "\n".join(bad)


def test_a_pool_token_opens_nothing_but_the_poll(dev, api, project):
    pool = api.post("/api/orgs/acme/agent-pools", {"name": f"pool-{project}", "description": ""})
    token = dev.api(pool["tokenValue"])
    assert token.call("GET", "/api/deployments/poll").status_code in (200, 204)
    for method, pattern, auth in routes():
        if auth not in ("user", "lease", "site"):
            continue
        answer = token.call(method, fill(pattern), {} if method in ("POST", "PUT", "PATCH") else ...)
        assert answer.status_code in (401, 403) or (not pattern.startswith("/api/") and answer.status_code in (302, 303)), \
            f"{method} {pattern}: {answer.status_code}"


def test_a_member_is_not_an_administrator(dev, api, project):
    member = dev.user(f"member-{project}")
    member.refused(403, "POST", "/api/orgs/acme/agent-pools", {"name": f"pool-{project}"})
    stack = f"acme/{project}/dev"
    member.create_stack(stack)
    assert member.get(path_of(stack))["stackName"] == "dev"


def test_tokens_are_stored_hashed(own):
    server = own()
    token = server.token
    server.stop()
    secret = token.removeprefix("pul-").encode()
    for file in server.data.rglob("*"):
        if file.is_file() and file.name != "admin-token":
            assert secret not in file.read_bytes(), f"the token lies in {file.name}"
    assert (server.data / "admin-token").stat().st_mode & 0o777 == 0o600
    assert token.startswith("pul-")
    assert secret not in server.log.read_bytes()


@pytest.mark.parametrize("header", ["Token {}", "TOKEN {}", "token  {}", "token {} "])
def test_spelling_of_the_scheme(dev, header):
    answer = dev.api("").call("GET", "/api/user", headers={"Authorization": header.format(dev.token)})
    assert answer.status_code in (200, 401)


def test_user(api):
    user = api.get("/api/user")
    assert user["githubLogin"] == "admin" and user["siteAdmin"] is True
    assert {o["githubLogin"] for o in user["organizations"]} >= {"acme"}
    default = api.get("/api/user/organizations/default")
    assert default.get("gitHubLogin") in ("acme", "admin")
    names = {c["capability"] for c in api.get("/api/capabilities")["capabilities"]}
    assert "batch-encrypt" in names and "deployment-schema-version" in names


def test_a_query_without_end(own):
    """Hundreds of arguments of a stranger: refused or served, the server lives on and ends in order."""
    server = own(command="serve")
    nobody = server.api("")
    for _ in range(20):
        try:
            nobody.call("GET", "/healthz?" + "a=b&" * 500, timeout=0.5)
        except requests.RequestException:
            pass
    assert nobody.call("GET", "/healthz").status_code == 200
    server.stop(expect=0)


def test_request_ids_come_back(api):
    first, second = (api.call("GET", "/api/user").headers["X-Pulumi-Request-ID"] for _ in range(2))
    assert first and first != second
    assert api.call("GET", "/api/user", headers={"X-Pulumi-Request-ID": "from-the-client-1"}).headers["X-Pulumi-Request-ID"] == "from-the-client-1"
    hostile = api.call("GET", "/api/user", headers={"X-Pulumi-Request-ID": "a" * 5000}).headers["X-Pulumi-Request-ID"]
    assert len(hostile) < 200


def test_answers_are_packed_when_that_is_asked_for(api, stack):
    path = api.create_stack(stack, tags={f"tag-{i}": "x" * 50 for i in range(40)})
    packed = api.call("GET", path, headers={"Accept-Encoding": "gzip"})
    assert packed.headers["Content-Encoding"] == "gzip" and "Accept-Encoding" in packed.headers["Vary"]
    plain = api.call("GET", path, headers={"Accept-Encoding": "identity"})
    assert "Content-Encoding" not in plain.headers and plain.json() == packed.json()


def test_access_log(own):
    server = own("--access-log", command="serve")
    answer = server.api("pul-not-a-token").call("GET", "/api/user?x=1")
    line = server.wait_stderr(r".*GET /api/user.*401.*", 10).group(0)
    assert answer.headers["X-Pulumi-Request-ID"] in line and "pul-not-a-token" not in server.stderr()


def test_environment_of_the_test_is_its_own():
    """The harness passes nothing of the caller's environment on."""
    from pathlib import Path
    env = process.environment(Path("/nonexistent"))
    assert set(env) <= {"PATH", "HOME", "LANG", "TMPDIR", "USER", "LOGNAME", "no_proxy", "NO_PROXY", "GIT_CONFIG_NOSYSTEM",
                        "GIT_TERMINAL_PROMPT", "ASAN_OPTIONS", "UBSAN_OPTIONS"}
