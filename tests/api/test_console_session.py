"""A browser's session: how it begins and ends, and that a page of another site can do nothing with it."""
import pytest
import requests
from helpers.access import STACK, Organization
from helpers.api import Api


class Browser(Api):
    """Signed in: keeps the cookie, and sends the header that pages of ours send."""

    def __init__(self, url, token=None):
        super().__init__(url)
        self.cookie = self.csrf = None
        if token:
            self.sign_in(token)

    def sign_in(self, token, **headers):
        answer = self.call("POST", "/api/console/session", {"accessToken": token}, headers=headers)
        if answer.status_code == 200:
            self.set_cookie, self.csrf = answer.headers["Set-Cookie"], answer.json()["csrfToken"]
            self.cookie = self.set_cookie.split(";")[0]
        return answer

    def call(self, method, path, json=..., headers=None, csrf=..., **more):
        head = {"Cookie": self.cookie} if self.cookie else {}
        value = self.csrf if csrf is ... else csrf
        if value:
            head["Slipway-Csrf"] = value
        return super().call(method, path, json, headers={**head, **(headers or {})}, **more)


@pytest.fixture
def org(own):
    return Organization(own)


def test_sign_in_and_out(org):
    browser = Browser(org.server.url, org.write.token)
    assert "HttpOnly" in browser.set_cookie and "SameSite=Strict" in browser.set_cookie and "Max-Age=43200" in browser.set_cookie
    seen = browser.get("/api/console/session")
    assert seen["githubLogin"] == browser.get("/api/user")["githubLogin"] and seen["csrfToken"] == browser.csrf and seen["expires"]
    browser.ok("PATCH", org.stack + "/tags", {"team": "shop"}, status=204)
    assert browser.get(org.stack)["tags"]["team"] == "shop"
    answer = browser.call("DELETE", "/api/console/session")
    assert answer.status_code == 204 and "Max-Age=0" in answer.headers["Set-Cookie"]
    # Ended on the server, too: the cookie is good for nothing any more.
    browser.refused(401, "GET", "/api/user")


@pytest.mark.parametrize("csrf", [None, "", "0" * 64, "another's"])
def test_a_page_of_another_site_changes_nothing(org, csrf):
    """A browser sends the cookie along, but the page cannot know the header."""
    browser = Browser(org.server.url, org.write.token)
    if csrf == "another's":
        csrf = Browser(org.server.url, org.write.token).csrf
    for method, path, body in (("PATCH", org.stack + "/tags", {"team": "x"}), ("POST", org.stack + "/deployments", {"operation": "update"}),
                               ("DELETE", org.stack, ...), ("DELETE", "/api/console/session", ...), ("POST", "/api/user/tokens", {"description": "mine"})):
        assert "Slipway-Csrf" in browser.refused(403, method, path, body, csrf=csrf)
    assert "team" not in browser.get(org.stack)["tags"]
    assert browser.get("/api/user")["githubLogin"]  # and reading needs none


@pytest.mark.parametrize("headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}])
def test_another_site_signs_nobody_in(org, headers):
    assert Browser(org.server.url).sign_in(org.read.token, **headers).status_code == 403


def test_what_is_no_access_token_of_a_user(org):
    browser = Browser(org.server.url)
    for token in ("", "pul-" + "a" * 40, org.machine("ci").token, org.pool["tokenValue"], "x" * 3000):
        answer = browser.sign_in(token)
        assert answer.status_code == 401 and "Set-Cookie" not in answer.headers, token
    browser.refused(400, "POST", "/api/console/session", {}, names="accessToken")
    # The token of a session is none, however it is sent.
    signed_in = Browser(org.server.url, org.read.token)
    secret = signed_in.cookie.split("=")[1]
    assert browser.sign_in(secret).status_code == 401
    org.server.api(secret).refused(401, "GET", "/api/user")


def test_a_token_asks_who_it_is(org):
    seen = org.read.get("/api/console/session")
    assert seen["githubLogin"] and "csrfToken" not in seen


def test_a_session_ends_by_itself(own, clock):
    org = Organization(own, clock=clock)
    browser = Browser(org.server.url, org.read.token)
    clock.advance(12 * 3600 - 60)
    browser.get("/api/user")
    clock.advance(120)
    browser.refused(401, "GET", "/api/user")


def test_a_session_ends_with_its_token(org):
    made = org.read.post("/api/user/tokens", {"description": "for the browser"})
    browser, other = Browser(org.server.url, made["tokenValue"]), Browser(org.server.url, org.read.token)
    assert STACK and browser.get(org.stack)
    org.read.ok("DELETE", f"/api/user/tokens/{made['id']}", status=204)
    browser.refused(401, "GET", "/api/user")
    browser.refused(401, "DELETE", org.stack)
    assert other.get("/api/user")


def test_the_cookie_beside_a_token(org):
    """The header says who asks; the cookie counts only without it."""
    browser = Browser(org.server.url, org.boss.token)
    head = {"Cookie": browser.cookie, "Authorization": "token " + org.read.token, "Content-Type": "application/json"}
    answer = requests.patch(org.server.url + org.stack + "/tags", data=b'{"a":"b"}', headers=head, timeout=30)
    assert answer.status_code == 403
