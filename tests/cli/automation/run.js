// The Automation API of Node against the backend of the environment: `node run.js ORG/PROJECT/STACK FOLDER`. Prints what it
// saw as JSON; test_automation.py judges it. run.py is the same in Python.
"use strict";
const pulumi = require("@pulumi/pulumi");
const auto = require("@pulumi/pulumi/automation");

const [name, folder] = process.argv.slice(2);
const [org, projectName] = name.split("/");
const backend = process.env.PULUMI_BACKEND_URL;

async function call(method, path, body) {
    const answer = await fetch(backend + path, { method, body: JSON.stringify(body), headers: {
        Authorization: `token ${process.env.PULUMI_ACCESS_TOKEN}`, Accept: "application/vnd.pulumi+9", "Content-Type": "application/json" } });
    if (!answer.ok) { throw new Error(`${method} ${path}: ${answer.status}`); }
    return answer.json();
}

async function refused(promise) {
    try { await promise; } catch (error) { return error.constructor.name; }
    return "nothing";
}

async function program() {
    const kept = new pulumi.Stash("kept", { input: new pulumi.Config().requireSecret("password") });
    return { hidden: kept.output, shown: new pulumi.Config().get("plain") };
}

async function main() {
    const seen = {};
    const inline = { stackName: name, projectName, program };
    const stack = await auto.LocalWorkspace.createStack(inline);
    seen.again = await refused(auto.LocalWorkspace.createStack(inline));
    seen.missing = await refused(auto.LocalWorkspace.selectStack({ ...inline, stackName: `${org}/${projectName}/none` }));
    seen.who = (await stack.workspace.whoAmI()).user;
    await stack.setAllConfig({ password: { value: "of-the-automation", secret: true }, plain: { value: "open" } });
    seen.config = await stack.getConfig("password");
    await stack.setTag("made", "by-automation");
    seen.tags = await stack.listTags();
    seen.preview = (await stack.preview()).changeSummary;
    const events = [];
    const up = await stack.up({ onEvent: event => events.push(Object.keys(event)), message: "by automation" });
    seen.up = { result: up.summary.result, kind: up.summary.kind, version: up.summary.version, changes: up.summary.resourceChanges };
    seen.outputs = up.outputs;
    seen.events = events.some(keys => keys.includes("summaryEvent"));
    seen.refresh = (await stack.refresh()).summary.kind;
    seen.history = (await stack.history(2, 1)).map(h => h.kind);
    const state = await stack.exportStack();
    await stack.importStack(state);
    seen.stacks = (await stack.workspace.listStacks()).map(s => s.name);
    // Somebody else holds the stack.
    const path = `/api/stacks/${name}`;
    const made = await call("POST", `${path}/update`, { name: "p", runtime: "yaml", options: {}, metadata: {}, config: {} });
    await call("POST", `${path}/update/${made.updateID}`, {});
    seen.conflict = await refused(stack.up());
    await stack.cancel();
    seen.unchanged = (await stack.up()).summary.resourceChanges;
    seen.destroy = (await stack.destroy()).summary.kind;
    await stack.workspace.removeStack(name);
    // A program of a folder.
    const local = await auto.LocalWorkspace.createOrSelectStack({ stackName: `${org}/${projectName}-local/dev`, workDir: folder });
    seen.local = (await local.up()).outputs.value.value;
    await local.destroy({ remove: true });
    console.log(JSON.stringify(seen));
}

main().catch(error => { console.error(error); process.exit(1); });
