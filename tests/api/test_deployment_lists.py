"""Lists of deployments: every page is a page of the one list, whoever asks and whatever the filter."""
import random

import pytest
from helpers.api import path_of

GIT = {"git": {"repoUrl": "https://example.invalid/shop.git", "branch": "main"}}
STATUSES = ("not-started", "accepted", "running", "succeeded", "failed", "skipped")
STACKS = ("acme/shop/dev", "acme/shop/prod", "acme/web/dev", "acme/web/hidden")
ORG = "/api/orgs/acme/deployments"


class Site:
    """Some dozens of deployments in every status, and what they are, oldest first."""

    def __init__(self, own, count):
        self.server = own(command="serve")
        self.server.admin("org", "add", "acme")
        self.api = self.server.user("operator", role="admin")
        self.member, self.few = self.server.user("worker"), self.server.user("few")
        self.pool = self.server.api(self.api.post("/api/orgs/acme/agent-pools", {"name": "p"})["tokenValue"])
        self.random, self.all = random.Random(5), []
        for stack in STACKS:
            self.api.create_stack(stack)
            self.api.settings(stack, {"sourceContext": GIT})
        self.api.ok("PUT", path_of("acme/web/hidden") + "/collaborators/worker", {"permission": 0})
        for stack in STACKS[1:]:
            self.api.ok("PUT", path_of(stack) + "/collaborators/few", {"permission": 0})
        for _ in range(count):
            self.change()
        # Two stay active, with others behind them.
        for stack in STACKS:
            self.all.append({"stack": stack, "status": "not-started", **self.api.deploy(stack)})
        self.running = self.run(self.pool.get("/api/deployments/poll"), "running")
        self.run(self.pool.get("/api/deployments/poll"), "accepted")

    def change(self):
        stack = self.random.choice(STACKS)
        made = self.api.deploy(stack)
        self.all.append({"id": made["id"], "stack": stack, "version": made["version"], "status": "not-started"})
        if self.random.random() < .2:
            one = self.random.choice([d for d in self.all if d["status"] == "not-started"])
            self.api.post(f"{path_of(one['stack'])}/deployments/{one['id']}/cancel")
            one["status"] = "skipped"
        if self.random.random() < .5 and (claim := self.pool.get("/api/deployments/poll")):
            self.finish(*self.run(claim, "running"), self.random.choice(("succeeded", "failed")))

    def run(self, claim, status):
        one = next(d for d in self.all if d["id"] == claim["deploymentID"])
        one["status"] = status
        if status == "running":
            self.server.api(claim["jobToken"]).post(f"/api/runner/{one['id']}/steps", {"attempt": claim["attempt"], "step": 0, "name": "Setup", "status": "running"})
        return one, claim

    def finish(self, one, claim, status):
        self.server.api(claim["jobToken"]).post(f"/api/runner/{one['id']}/finish", {"attempt": claim["attempt"], "status": status, "message": ""})
        one["status"] = status

    def expected(self, who, status=None, stack=None, ascending=False):
        seen = [d["id"] for d in self.all if (not status or d["status"] == status) and (not stack or d["stack"] == stack)
                and (who is self.api or d["stack"] == STACKS[0] or (who is self.member and d["stack"] != "acme/web/hidden"))]
        return seen if ascending else seen[::-1]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    from helpers import process
    started = []

    def own(**more):
        started.append(process.Server(tmp_path_factory.mktemp("lists"), **more))
        return started[-1]
    yield Site(own, 60)
    for server in started:
        server.stop()


@pytest.mark.parametrize("ascending", [False, True])
@pytest.mark.parametrize("who", ["administrator", "member", "one who sees little"])
def test_all_pages_of_an_organization(site, who, ascending):
    api = {"administrator": site.api, "member": site.member}.get(who, site.few)
    for status in (None, *STATUSES):
        wanted = site.expected(api, status, ascending=ascending)
        assert wanted or api is site.few, "nothing to look at"
        for size in (1, 7, 100):
            pages = []
            for page in range(1, len(wanted) // size + 3):
                said = api.get(f"{ORG}?page={page}&pageSize={size}&asc={str(ascending).lower()}&sort=created" + (f"&status={status}" if status else ""))
                assert (said["total"], said["itemsPerPage"]) == (len(wanted), size)
                assert len(said["deployments"]) == max(0, min(size, len(wanted) - (page - 1) * size))
                assert {d["status"] for d in said["deployments"]} <= {status} or not status
                pages += [d["id"] for d in said["deployments"]]
            assert pages == wanted, (who, status, size)


def test_counts_of_an_organization(site):
    """They are those of the list, for each who asks."""
    names = {"not-started": "notStarted"}
    for api in (site.api, site.member, site.few):
        counts = api.get(f"{ORG}/metadata")["deploymentCounts"]
        assert counts == {**{names.get(s, s): len(site.expected(api, s)) for s in STATUSES}, "total": len(site.expected(api))}


def test_all_pages_of_a_stack(site):
    for stack in STACKS:
        for status in (None, "not-started", "skipped"):
            for sort, ascending in (("created", True), ("version", False), ("version", True), ("", False)):
                wanted, seen = site.expected(site.api, status, stack, ascending), []
                for page in range(1, len(wanted) // 4 + 3):
                    said = site.api.get(f"{path_of(stack)}/deployments?page={page}&pageSize=4&sort={sort}&asc={str(ascending).lower()}" + (f"&status={status}" if status else ""))
                    assert said["total"] == len(wanted)
                    seen += said["deployments"]
                assert [d["id"] for d in seen] == wanted
                assert [d["version"] for d in seen] == sorted((d["version"] for d in seen), reverse=not ascending)


def test_places_in_a_page_are_those_of_each_alone(site):
    """A page looks a queue up once; alone each deployment is looked up for itself."""
    listed = site.api.get(f"{ORG}?pageSize=100&status=not-started")["deployments"] + site.api.get(f"{ORG}?pageSize=100&status=not-started&asc=true")["deployments"]
    assert max(d["waiting"]["position"] for d in listed) > 3
    for d in listed:
        assert d["waiting"] == site.api.get(f"{path_of('acme/' + d['projectName'] + '/' + d['stackName'])}/deployments/{d['id']}/waiting")


def test_what_a_list_shows(site):
    for d in site.api.get(f"{ORG}?pageSize=100")["deployments"]:
        known = next(k for k in site.all if k["id"] == d["id"])
        assert (f"acme/{d['projectName']}/{d['stackName']}", d["version"], d["status"]) == (known["stack"], known["version"], known["status"])
        assert ("waiting" in d) == (d["status"] == "not-started") and bool(d["jobs"]) == (d["status"] not in ("not-started", "accepted", "skipped"))
        assert d["requestedBy"]["githubLogin"] == "operator" and d["pulumiOperation"] == "update" and d["updates"] == []


@pytest.mark.parametrize("query, names", [
    ("page=0", "page"), ("page=-1", "page"), ("page=x", "page"), ("page=1.5", "page"), ("page=99999999999999999999", "page"),
    ("pageSize=0", "pageSize"), ("pageSize=101", "pageSize"), ("pageSize=x", "pageSize"), ("asc=perhaps", "asc"),
    ("sort=status", "sort: must be"), ("sort=CREATED", "sort: must be"), ("status=done", "status: must be one of not-started, accepted")])
def test_bounds_of_lists(site, query, names):
    for path in (ORG, path_of(STACKS[0]) + "/deployments"):
        site.api.refused(400, "GET", f"{path}?{query}", names=names)


def test_what_may_be_sorted_by(site):
    """A version is a number of its own stack: across stacks it is no order."""
    site.api.refused(400, "GET", f"{ORG}?sort=version", names="sort: must be created")
    site.api.refused(400, "GET", f"{path_of(STACKS[0])}/deployments?sort=name", names="sort: must be one of created, version")
    assert site.api.get(f"{ORG}?sort=&status=&page=1000000000")["deployments"] == []


def test_lists_after_a_stack_is_gone(own):
    """Its deployments leave a gap; those of one that was deployed at the time stay, and what waited runs no more."""
    site = Site(own, 25)
    active = site.running[0]["stack"]
    quiet = next(s for s in STACKS if not any(d["stack"] == s and d["status"] in ("accepted", "running") for d in site.all))

    def check():
        said = site.api.get(f"{ORG}?pageSize=100")
        assert [d["id"] for d in said["deployments"]] == site.expected(site.api) and said["total"] == len(site.all)
        counts = site.api.get(f"{ORG}/metadata")["deploymentCounts"]
        assert counts["total"] == len(site.all) and counts["running"] == sum(d["status"] == "running" for d in site.all)
        site.server.admin("verify")

    site.api.ok("DELETE", path_of(quiet))
    site.all = [d for d in site.all if d["stack"] != quiet]
    check()
    site.api.ok("DELETE", path_of(active))
    check()
    site.finish(*site.running, "succeeded")
    waited = [d for d in site.all if d["stack"] == active and d["status"] == "not-started"]
    assert waited
    for d in waited:
        d["status"] = "skipped"
    check()
    assert site.api.get(f"{ORG}?pageSize=100&status=skipped")["total"] == sum(d["status"] == "skipped" for d in site.all)


def test_verify_compares_the_counts(own):
    import sqlite3
    site = Site(own, 3)
    site.server.admin("verify")
    site.server.stop()
    with sqlite3.connect(site.server.data / "slipway.db") as c:
        c.execute("UPDATE deployment_counts SET n = n + 2 WHERE status = 'running'")
    c.close()
    run = site.server.admin("verify", check=False)
    assert run.returncode == 1 and "count of deployments running of organization acme (bucket 0) is too high by 2" in run.stdout, run
