"use strict";
const pulumi = require("@pulumi/pulumi");

const config = new pulumi.Config();
const name = config.get("name") || "world";

// A Stash keeps a value in the stack's state; nothing outside of it is touched.
const greeting = new pulumi.Stash("greeting", { input: `Hello, ${name}!` });

// A secret stays one through the resource: in the state and in the outputs it is encrypted.
const password = new pulumi.Stash("password", { input: config.getSecret("password") || pulumi.secret("change me") });

exports.greeting = greeting.output;
exports.password = password.output;
