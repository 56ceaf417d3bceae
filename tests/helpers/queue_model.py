"""What may run, said once more and more slowly: the whole queue as lists in memory. test_queue_model.py holds the server against it."""
from dataclasses import dataclass, field

ACTIVE = ("accepted", "running")
CLAIM_S, RUNNER_S, CANCEL_S, EXPIRY_S = 3600, 36000, 60, 168 * 3600
AGENT_S = 150  # an agent that was silent for longer does not live


@dataclass
class Stack:
    org: str
    project: str
    name: str
    paused: bool = False
    count: int = 0  # deployments so far

    @property
    def path(self):
        return f"/api/stacks/{self.org}/{self.project}/{self.name}"


@dataclass
class Org:
    limit: int = 10
    paused: bool = False
    default_pool: str = None
    turns: dict = field(default_factory=dict)  # project: when one of it was last claimed


@dataclass(eq=False)
class Deployment:
    id: str
    stack: Stack
    version: int
    operation: str
    pool: str  # None: the default one, else any
    skip: bool
    created: float
    status: str = "not-started"
    attempt: int = 0
    token: str = None  # of the runner that holds it; None: nobody knows it
    ordered: bool = False
    started: bool = False
    lease: float = None
    cancelled: bool = False


class Model:
    def __init__(self, orgs, pools, stacks):
        self.orgs = {name: Org() for name in orgs}
        self.pools = pools  # pool: its organization
        self.stacks, self.all, self.claims = stacks, [], 0
        self.seen = {}  # pool: when an agent last polled; None: it may have been just now

    # ---- questions ---------------------------------------------------------------------------------------------
    def queue(self, stack):
        return [d for d in self.all if d.stack is stack and d.status == "not-started"]

    def active(self, org):
        return [d for d in self.all if d.stack.org == org and d.status in ACTIVE]

    def busy(self, stack):
        return next((d for d in self.all if d.stack is stack and d.status in ACTIVE), None)

    def pool_of(self, d):
        return d.pool or self.orgs[d.stack.org].default_pool

    def next(self, pool):
        """Which one an agent of the pool gets now; None: nothing."""
        name = self.pools[pool]
        org = self.orgs[name]
        room = org.limit - len(self.active(name))
        if org.paused or room <= 0:
            return None
        heads = [self.queue(s)[0] for s in self.stacks if s.org == name and not s.paused and not self.busy(s) and self.queue(s)]
        heads = [d for d in heads if self.pool_of(d) in (None, pool)]
        # Oldest first; where not all that wait have room, first the project whose turn is longest ago.
        turn = (lambda d: org.turns.get(d.stack.project, 0)) if len(heads) > room else (lambda d: 0)
        return min(heads, key=lambda d: (turn(d), d.id), default=None)

    def waiting(self, d, now):
        """(place, kinds of reasons); None instead of the kinds where the life of an agent is on the edge."""
        org, pool = self.orgs[d.stack.org], self.pool_of(d)
        place = sum(o.version < d.version for o in self.queue(d.stack)) + 1
        kinds = [kind for kind, holds in (("organization-paused", org.paused), ("stack-paused", d.stack.paused), ("stack-busy", self.busy(d.stack)),
                                          ("queue", place > 1), ("organization-limit", len(self.active(d.stack.org)) >= org.limit)) if holds]
        mine = [at for p, at in self.seen.items() if p == pool or (pool is None and self.pools[p] == d.stack.org)]
        silent = [now - at for at in mine if at is not None]
        if None in mine or any(abs(s - AGENT_S) < 30 for s in silent):
            return place, None
        if not any(s < AGENT_S for s in silent):
            kinds.append("no-agent")
        return place, kinds or ["agents-busy"]

    def counts(self, org):
        names = {"not-started": "notStarted"}
        mine = [d for d in self.all if d.stack.org == org]
        return {**{names.get(s, s): sum(d.status == s for d in mine) for s in ("not-started", *ACTIVE, "succeeded", "failed", "skipped")}, "total": len(mine)}

    # ---- what happens ------------------------------------------------------------------------------------------
    def create(self, id, version, stack, operation, pool, skip, now):
        stack.count += 1
        assert version == stack.count, f"version {version} of {stack.path}, not {stack.count}"
        assert all(id > d.id for d in self.all), "ids go up"
        d = Deployment(id, stack, version, operation, pool, skip, now)
        self.all.append(d)
        return d

    def claim(self, d, attempt, token, now):
        assert d.status == "not-started" and not d.started and not self.busy(d.stack), f"{d} was given out"
        assert attempt > d.attempt
        self.claims += 1
        d.status, d.attempt, d.token, d.ordered, d.lease = "accepted", attempt, token, False, now + CLAIM_S
        self.orgs[d.stack.org].turns[d.stack.project] = self.claims

    def order(self, d, now):
        if not d.ordered:
            d.ordered, d.lease = True, now + RUNNER_S

    def start(self, d, now):
        d.status, d.started, d.lease = "running", True, now + RUNNER_S

    def end(self, d, status):
        assert d.status in ACTIVE
        d.status, d.token, d.lease = status, None, None
        waiting = self.queue(d.stack)
        for old in waiting:
            if any(new.version > old.version and new.operation == old.operation and new.skip for new in waiting):
                old.status = "skipped"

    def cancel(self, d, now):
        if d.status == "not-started":
            d.status = "skipped"
        elif d.status == "accepted" and not d.ordered:
            self.end(d, "failed")
        elif not d.cancelled:
            d.cancelled, d.lease = True, min(d.lease, now + CANCEL_S)

    def edges(self):
        """Moments at which something changes by itself."""
        return [d.lease for d in self.all if d.lease] + [d.created + EXPIRY_S for d in self.all if d.status in ("not-started", "accepted")]

    def tick(self, now):
        for d in [d for d in self.all if d.status in ACTIVE and d.lease <= now]:
            if d.status == "accepted" and not d.cancelled:
                d.status, d.token, d.lease, d.ordered = "not-started", None, None, False
            else:
                self.end(d, "failed")
        for d in self.all:
            if d.status == "not-started" and d.created + EXPIRY_S <= now:
                d.status = "skipped"
