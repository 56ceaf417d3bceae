// Remote workspaces of Node's Automation API against the backend of the environment: `node remote.js VERB JSON`. Prints what it
// saw as JSON; test_remote_automation.py judges it. remote.py is the same in Python.
"use strict";
const auto = require("@pulumi/pulumi/automation");

const [verb, text] = process.argv.slice(2);
const asked = JSON.parse(text);
const workspace = auto.RemoteWorkspace;

// What the test asks for, in the words of this SDK.
const source = { stackName: asked.stack, url: asked.url, branch: asked.branch, commitHash: asked.commit, projectPath: asked.folder,
    auth: asked.auth && { username: asked.auth.username, password: asked.auth.password, personalAccessToken: asked.auth.token,
        sshPrivateKey: asked.auth.key, sshPrivateKeyPath: asked.auth.keyPath } };
const options = { inheritSettings: asked.inherit, preRunCommands: asked.commands, skipInstallDependencies: asked.skipInstall,
    envVars: { ...asked.variables, ...Object.fromEntries(Object.entries(asked.secrets || {}).map(([k, v]) => [k, { secret: v }])) },
    executorImage: asked.image && { image: asked.image } };

async function refused(promise) {
    try { await promise; } catch (error) { return `${error.constructor.name}: ${error.message}`; }
    return "nothing";
}

const summary = s => ({ kind: s.kind, result: s.result, version: s.version, changes: s.resourceChanges });

const verbs = {
    async life() {
        const seen = { missing: await refused(workspace.selectStack(source, options)) };
        const stack = await workspace.createOrSelectStack(source, options);
        seen.name = stack.name;
        seen.again = await refused(workspace.createStack(source, options));
        const selected = await workspace.selectStack(source, options);
        const output = [];
        seen.preview = (await stack.preview({ onOutput: o => output.push(o) })).changeSummary;
        const events = [];
        const up = await stack.up({ onEvent: event => events.push(...Object.keys(event)), onOutput: o => output.push(o) });
        seen.up = summary(up.summary);
        seen.events = events.includes("summaryEvent");
        seen.output = output.join("");
        seen.upOutputs = up.outputs;
        seen.outputs = await selected.outputs();
        seen.refresh = summary((await stack.refresh()).summary);
        await stack.importStack(await stack.exportStack());
        // A further workspace of the same stack.
        seen.unchanged = summary((await (await workspace.createOrSelectStack(source, options)).up()).summary);
        seen.history = (await stack.history()).map(summary);
        seen.page = (await stack.history(2, 2)).map(h => h.kind);
        seen.idle = await refused(stack.cancel());
        seen.destroy = summary((await stack.destroy()).summary);
        seen.left = (await stack.exportStack()).deployment.resources || [];
        return seen;
    },
    async up() {
        const up = await (await workspace.createOrSelectStack(source, options)).up();
        return { ...summary(up.summary), outputs: up.outputs };
    },
    async refused() {
        const stack = await workspace.createOrSelectStack(source, options);
        return { up: await refused(stack.up()), preview: await refused(stack.preview()) };
    },
    async arguments() {
        return { short: await refused(workspace.createStack({ ...source, stackName: "dev" }, options)),
            nothing: await refused(workspace.createStack({ stackName: asked.stack }, {})) };
    },
    // The test lets go of the program when it reads "cancelled".
    async cancel() {
        const stack = await workspace.createOrSelectStack(source, options);
        const running = refused(stack.up());
        const fs = require("fs");
        while (!fs.existsSync(asked.started)) { await new Promise(resolve => setTimeout(resolve, 200)); }
        const busy = await refused(stack.importStack(await stack.exportStack()));
        await stack.cancel();
        fs.writeFileSync(asked.proceed, "");
        return { up: await running, busy, history: (await stack.history(1, 1)).map(summary) };
    },
};

verbs[verb]().then(seen => console.log(JSON.stringify(seen)), error => { console.error(error); process.exit(1); });
