"""GET /metrics of the server: what an operator sees of it."""
import re

from helpers import where
from helpers.runner import Site


def number(text, name):
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.M)
    assert found, f"{name} in {text}"
    return float(found.group(1))


def test_the_queue_and_the_requests(own):
    site = Site(own)
    stack = site.stack("acme/metrics/dev")
    run = site.run(stack)
    run.step(0)
    site.api.deploy(stack, "preview")
    site.api.call("GET", "/api/stacks/acme/metrics/absent")
    text = site.api.call("GET", "/metrics").text
    for name, value in {'slipway_deployments{status="running"}': 1, 'slipway_deployments{status="not-started"}': 1, 'slipway_deployments{status="accepted"}': 0,
                        "slipway_deployments_claimable": 0, "slipway_agents": 1, "slipway_pools": 1}.items():
        assert number(text, name) == value, name
    assert number(text, 'slipway_requests_total{part="Stacks",status="4xx"}') >= 1
    assert number(text, 'slipway_request_seconds_count{part="Deployments"}') >= 2 and number(text, 'slipway_request_seconds_sum{part="Deployments"}') > 0
    # Much of a new database is still in its log.
    assert number(text, "slipway_database_bytes") + number(text, "slipway_database_wal_bytes") > 100000
    for line in text.splitlines():
        assert re.fullmatch(r"# (HELP|TYPE) slipway_\w+ .+|slipway_\w+(\{\w+=\"[^\"]*\"(,\w+=\"[^\"]*\")*\})? -?[\d.]+", line), line
    run.step(0, "succeeded")
    run.finish()
    assert number(site.api.call("GET", "/metrics").text, "slipway_deployments_claimable") == 1


def test_every_part_of_the_api_is_counted_by_name():
    """A new tag of routes that the table does not know would be counted as other."""
    used = {tag for file in (where.ROOT / "api").glob("routes*.def") for tag in re.findall(r'define ROUTE_TAG "(\w+)"', file.read_text())}
    table = re.search(r"tags\[\] = \{(.*?)\};", (where.ROOT / "src/server/metrics.c").read_text(), re.S).group(1)
    assert used and used <= set(re.findall(r'"(\w+)"', table))


def test_who_may_look(own):
    site = Site(own)
    member = site.server.user("somebody")
    assert member.call("GET", "/metrics").status_code in (403, 404)
    assert site.server.api("").call("GET", "/metrics").status_code == 401
