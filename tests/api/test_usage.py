"""Usage: minutes of deployments, from the deployments themselves."""
import sqlite3
import time

import pytest

DAY = 24 * 3600


@pytest.fixture
def site(own):
    """An organization with runs at known times: (server, api, now)."""
    server = own(command="serve")
    server.admin("org", "add", "acme")
    api = server.user("operator", role="admin")
    api.create_stack("acme/p/dev")
    return server, api, time.time()


def runs(server, *times):
    """Deployments of the given (start, end) in seconds; end None: it runs."""
    with sqlite3.connect(server.data / "slipway.db", timeout=20) as c:
        org, stack = c.execute("SELECT org_id, id FROM stacks").fetchone()
        for n, (start, end) in enumerate(times, 1):
            c.execute("INSERT INTO deployments (id, org_id, stack_id, version, operation, status, settings, inherit_settings, org_number, created_us, modified_us, started_us, ended_us)"
                      " VALUES (?, ?, ?, ?, 'update', ?, '{}', 1, ?, ?, ?, ?, ?)",
                      (f"d{n}", org, stack, n, "succeeded" if end else "running", n, int(start * 1e6), int(start * 1e6), int(start * 1e6), int(end * 1e6) if end else None))
    c.close()


def summary(api, query):
    return api.get(f"/api/orgs/acme/deployments/summary?{query}")["summary"]


def day_of(t):
    g = time.gmtime(t)
    return g.tm_year, g.tm_mon, g.tm_mday


def test_nothing_yet(site):
    _, api, _ = site
    assert api.call("GET", "/api/orgs/acme/deployments/summary?granularity=daily&lookbackDays=30").status_code == 204
    assert api.get("/api/orgs/acme/deployments/usagereport") == []


def test_by_day_hour_month_year_and_week(site):
    server, api, now = site
    noon = now // DAY * DAY - 10 * DAY + DAY / 2
    runs(server, (noon, noon + 90), (noon + 3600, noon + 3600 + 150), (noon - 3 * DAY, noon - 3 * DAY + 3600), (now - 600, None), (now - 400 * DAY, now - 400 * DAY + 60))
    daily = summary(api, "granularity=daily&lookbackDays=30")
    assert [((d["year"], d["month"], d["day"]), d["deployments"], d["deploymentMinutes"]) for d in daily[:2]] == [
        (day_of(noon - 3 * DAY), 1, 60), (day_of(noon), 2, 4)]
    assert len(daily) == 3 and daily[2]["deployments"] == 1 and daily[2]["deploymentMinutes"] in (10, 11), "what runs counts up to now"
    assert all("hour" not in d and "weekNumber" not in d for d in daily)
    hourly = summary(api, "granularity=hourly&lookbackDays=2")
    assert [h["hour"] for h in hourly] == [time.gmtime(now - 600).tm_hour]
    for unit, names in (("yearly", ["year"]), ("monthly", ["year", "month"]), ("weekly", ["year", "weekNumber"])):
        seen = summary(api, f"granularity={unit}&lookbackDays=300")
        assert sum(s["deployments"] for s in seen) == 4 and all(set(names) < set(s) for s in seen)
        assert len({tuple(s[n] for n in names) for s in seen}) == len(seen), "each unit once"
    assert sum(s["deployments"] for s in summary(api, f"granularity=daily&lookbackStart={int(noon - DAY)}")) == 3


def test_report(site):
    server, api, now = site
    noon = now // DAY * DAY - 5 * DAY + DAY / 2
    runs(server, (noon, noon + 61), (noon + 7200, noon + 7200 + 60))
    (record,) = api.get("/api/orgs/acme/deployments/usagereport?lookbackDays=10")
    assert (record["Value"], record["Count"], record["UsageRangeEnd"] - record["UsageRangeStart"]) == (3, 2, DAY)
    assert record["UsageRangeStart"] == noon - DAY / 2 and record["OrgID"]
    assert api.get("/api/orgs/acme/deployments/usagereport?lookbackDays=2") == []


@pytest.mark.parametrize("query, names", [
    ("lookbackDays=3", "granularity"), ("granularity=minutely&lookbackDays=3", "granularity"), ("granularity=daily", "exactly one"),
    ("granularity=daily&lookbackDays=1&lookbackStart=5", "exactly one"), ("granularity=hourly&lookbackDays=3", "lookbackDays"),
    ("granularity=daily&lookbackDays=0", "lookbackDays"), ("granularity=daily&lookbackDays=x", "lookbackDays"),
    ("granularity=daily&lookbackStart=5", "lookbackStart"), ("granularity=daily&lookbackStart=99999999999", "lookbackStart")])
def test_refused(site, query, names):
    _, api, _ = site
    api.refused(400, "GET", f"/api/orgs/acme/deployments/summary?{query}", names=names)
