// More of Node's Automation API against the backend of the environment: `node operations.js ORG/PROJECT/STACK`. Prints what it saw as
// JSON; test_automation.py judges it. operations.py is the same in Python.
"use strict";
const pulumi = require("@pulumi/pulumi");
const auto = require("@pulumi/pulumi/automation");

const [name] = process.argv.slice(2);
const [org, projectName] = name.split("/");
let value = "one";
const names = ["a", "b", "c"];
const program = async () => ({ values: names.map(n => new pulumi.Stash(n, { input: value }).input) });
const urn = (n, stack = "dev") => `urn:pulumi:${stack}::${projectName}::pulumi:index:Stash::${n}`;

async function refused(promise) {
    try { await promise; } catch (error) { return `${error.constructor.name}: ${error.message}`; }
    return "nothing";
}

async function main() {
    const seen = {};
    const inline = { stackName: name, projectName, program };
    const stack = await auto.LocalWorkspace.createOrSelectStack(inline);
    seen.org = await stack.orgGetDefault();
    seen.created = (await stack.up()).summary.resourceChanges;
    value = "two";
    seen.previewOfOne = (await stack.preview({ target: [urn("a")] })).changeSummary;
    seen.upOfOne = (await stack.up({ target: [urn("a")] })).summary.resourceChanges;
    seen.unexpected = await refused(stack.up({ expectNoChanges: true }));
    value = "three";
    const rest = (await stack.up({ message: "with flags", refresh: true, continueOnError: true, parallel: 1, diff: true })).summary;
    seen.rest = { kind: rest.kind, message: rest.message, resourceChanges: rest.resourceChanges };
    seen.expected = (await stack.up({ expectNoChanges: true })).summary.result;
    seen.replaced = (await stack.up({ replace: [urn("b")] })).summary.resourceChanges;
    seen.previewOfRefresh = (await stack.previewRefresh()).changeSummary;
    seen.refreshed = (await stack.refresh({ expectNoChanges: true })).summary.result;
    await stack.setTag("team", "blue");
    seen.tag = await stack.getTag("team");
    await stack.removeTag("team");
    seen.tags = Object.keys(await stack.listTags()).includes("team");
    await stack.setAllConfig({ plain: { value: "1" }, [`${projectName}:other`]: { value: "2" }, secret: { value: "3", secret: true } });
    await stack.removeConfig("plain");
    seen.config = Object.keys(await stack.getAllConfig()).sort();
    await stack.up();
    await stack.setConfig("secret", { value: "4", secret: true });
    await stack.refreshConfig();
    seen.refreshedConfig = await stack.getConfig("secret");
    seen.holds = await refused(stack.workspace.removeStack(name));
    const renamed = `${org}/${projectName}/renamed`;
    await stack.rename({ stackName: renamed });
    seen.afterRename = (await stack.up()).summary.resourceChanges;
    seen.newest = (await stack.info()).kind;
    seen.kinds = (await stack.history()).map(h => h.kind);
    seen.pages = [(await stack.history(3, 1)).map(h => h.version), (await stack.history(3, 2)).map(h => h.version)];
    seen.all = (await stack.workspace.listStacks({ all: true })).some(s => s.name.endsWith("renamed"));
    seen.previewOfDestroy = (await stack.previewDestroy()).changeSummary;
    seen.destroyedOne = (await stack.destroy({ target: [urn("c", "renamed")] })).summary.resourceChanges;
    await stack.workspace.removeStack(renamed, { force: true });
    // Secrets under a passphrase instead of the service's.
    const other = await auto.LocalWorkspace.createOrSelectStack({ stackName: `${org}/${projectName}/locked`, projectName,
        program: async () => ({ hidden: pulumi.secret("under-a-passphrase") }) }, { secretsProvider: "passphrase", envVars: { PULUMI_CONFIG_PASSPHRASE: "word" } });
    await other.up();
    seen.locked = await other.outputs();
    seen.provider = (await other.exportStack()).deployment.secrets_providers.type;
    await other.destroy({ remove: true });
    console.log(JSON.stringify(seen));
}

main().catch(error => { console.error(error); process.exit(1); });
