"""An organization in which everybody may do something else to one stack."""
from helpers.api import path_of

STACK = "acme/shop/dev"
# As the API says them (features §8.1); deploy is read with a flag.
WIRE = {"none": {"permission": 0}, "read": {"permission": 101}, "deploy": {"permission": 101, "deploy": True},
        "write": {"permission": 102}, "admin": {"permission": 103}}
RESOURCE = {"urn": "urn:pulumi:dev::shop::pulumi:pulumi:Stack::shop-dev", "custom": False, "type": "pulumi:pulumi:Stack"}


class Organization:
    """acme: boss administers it, and one member for each level has that on the stack. Members have nothing by default.
    elsewhere: the stranger's. root administers the site and belongs to neither."""

    def __init__(self, own, repo=None, *options, **more):
        self.server = own(*options, command="serve", **more)
        self.server.admin("org", "add", "elsewhere")
        self.server.admin("org", "add", "acme")
        self.server.admin("user", "add", "root")  # the first one of all
        self.root = self.server.api(self.server.admin("token", "create", "--user", "root").stdout.strip())
        self.boss = self.server.user("boss", role="admin")
        self.stranger = self.server.user("stranger", org="elsewhere", role="admin")
        self.boss.ok("PATCH", "/api/orgs/acme", {"setDefaultStackPermission": 0})
        self.stack = self.boss.create_stack(STACK)
        self.boss.post(self.stack + "/import", {"version": 3, "deployment": {"manifest": {"time": "2026-01-01T00:00:00Z", "magic": "", "version": ""},
                                                                             "resources": [RESOURCE]}})
        for level in WIRE:
            setattr(self, level, self.server.user(f"with-{level}"))
            if level != "none":
                self.grant(f"with-{level}", level)
        self.pool = self.boss.post("/api/orgs/acme/agent-pools", {"name": "builders"})
        self.settings = {"sourceContext": {"git": {"repoUrl": repo.url if repo else "https://example.com/x.git", "branch": "main"}},
                         "operationContext": {"environmentVariables": {"PLAIN": "plain-value", "SECRET": {"secret": "secret-value"}}}}
        self.boss.settings(STACK, self.settings)

    def grant(self, login, level, stack=STACK):
        return self.boss.ok("PUT", f"{path_of(stack)}/collaborators/{login}", WIRE[level])

    def machine(self, name, **body):
        return self.server.api(self.boss.post("/api/orgs/acme/tokens", {"name": name, "description": "", **body})["tokenValue"])

    def claim(self):
        """Takes the next deployment as a runner would: (deployment id, its runner's client, its run's client)."""
        claim = self.server.api(self.pool["tokenValue"]).get("/api/deployments/poll")
        runner = self.server.api(claim["jobToken"])
        order = runner.get(f"/api/runner/{claim['deploymentID']}/order?attempt={claim['attempt']}")
        return claim["deploymentID"], runner, self.server.api(order["runToken"])

    def update(self, api, stack=None):
        """Starts an update as the CLI does: (its path, the client with its lease)."""
        path = (stack or self.stack) + "/update"
        path += "/" + api.post(path, {"name": "shop", "runtime": "yaml", "config": {}, "metadata": {"message": "", "environment": {}}})["updateID"]
        return path, api.with_token(api.post(path, {"tags": {}})["token"], "update-token")
