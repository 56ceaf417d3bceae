"""Journals of real runs of the CLI (tests/oracle/recorded.jsonl), sent once more: the export is what the CLI's replayer makes."""
import json
import sys

import pytest
from helpers.api import path_of
from helpers.where import ROOT

from test_state import begin

sys.path.append(str(ROOT / "tests" / "oracle"))
import compare  # noqa: E402

CASES = [json.loads(line) for line in (ROOT / "tests" / "oracle" / "recorded.jsonl").read_text().splitlines()]
ORDERS = {
    "as sent": lambda batches: batches,
    "repeated": lambda batches: [b for batch in batches for b in (batch, batch)] + batches[:1],
    "backwards": lambda batches: batches[::-1],
    "one by one": lambda batches: [{"entries": [e]} for batch in batches for e in batch["entries"]],
}


def canonical(document, address=None):
    """Without the CLI that made it, and without the address of the server: an export names the one that the asker uses."""
    state = ((document["deployment"].get("secrets_providers") or {}).get("state") or {})
    if address and "url" in state:
        assert state["url"] == address
    seen = compare.canon(compare.read(json.dumps(document)))
    del seen["deployment"]["manifest"]
    ((seen["deployment"].get("secrets_providers") or {}).get("state") or {}).pop("url", None)
    return seen


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("case", CASES, ids=[c["name"] for c in CASES])
def test_the_export_is_what_the_cli_makes_of_it(api, stack, case, order):
    api.create_stack(stack)
    path = path_of(stack)
    update, lease = begin(api, path, journal=0)
    lease.ok("PATCH", f"{update}/checkpoint", {"isInvalid": False, "version": 3, "deployment": case["base"]})
    lease.post(f"{update}/complete", {"status": "succeeded"})
    update, lease = begin(api, path)
    for batch in ORDERS[order](case["batches"]):
        lease.ok("PATCH", f"{update}/journalentries", batch, zipped=True)
    expected = canonical(case["after"])
    assert canonical(api.get(f"{path}/export"), api.url) == expected, "while it runs"
    lease.post(f"{update}/complete", {"status": "failed"})
    assert canonical(api.get(f"{path}/export"), api.url) == expected
    assert api.get(f"{path}/updates")["updates"][0]["resourceCount"] == len(expected["deployment"]["resources"])
