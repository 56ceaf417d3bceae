-- Organizations, users, tokens. Times are microseconds UTC, ids UUIDv7 text.

-- One namespace for users and organizations: every user has a personal organization of the same name.
CREATE TABLE orgs (
	id TEXT PRIMARY KEY,
	name TEXT NOT NULL UNIQUE,
	kind TEXT NOT NULL CHECK (kind IN ('personal', 'organization')),
	data_key BLOB NOT NULL, -- sealed by the master key for "org:<id>"; seals the stacks' keys
	created_us INTEGER NOT NULL,
	deployment_limit INTEGER NOT NULL DEFAULT 10, -- how many deployments may be active at once
	deployments_paused INTEGER NOT NULL DEFAULT 0 CHECK (deployments_paused IN (0, 1)),
	default_pool_id TEXT
);

CREATE TABLE users (
	id TEXT PRIMARY KEY,
	name TEXT NOT NULL UNIQUE, -- the login; also the name of the personal organization
	display_name TEXT NOT NULL,
	email TEXT NOT NULL DEFAULT '',
	site_admin INTEGER NOT NULL DEFAULT 0 CHECK (site_admin IN (0, 1)),
	default_org TEXT, -- name; NULL: the personal one
	created_us INTEGER NOT NULL
);

CREATE TABLE org_members (
	org_id TEXT NOT NULL REFERENCES orgs (id) ON DELETE CASCADE,
	user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
	role TEXT NOT NULL CHECK (role IN ('admin', 'member')),
	created_us INTEGER NOT NULL,
	PRIMARY KEY (org_id, user_id)
);
CREATE INDEX org_members_user ON org_members (user_id);

-- Every bearer secret that the server ever gave out, by the SHA-256 of its text.
--   personal  a user                             user_id
--   session   a browser's cookie                 user_id
--   pool      an agent                           org_id, pool_id
--   runner    the runner protocol of one job     deployment_id, attempt
--   run       the pulumi CLI inside of one job   user_id (requester), deployment_id, attempt, stack_id
--   lease     one update's "update-token"        update_id
CREATE TABLE tokens (
	id TEXT PRIMARY KEY,
	hash BLOB NOT NULL UNIQUE,
	kind TEXT NOT NULL CHECK (kind IN ('personal', 'session', 'pool', 'runner', 'run', 'lease')),
	description TEXT NOT NULL DEFAULT '',
	user_id TEXT REFERENCES users (id) ON DELETE CASCADE,
	org_id TEXT REFERENCES orgs (id) ON DELETE CASCADE,
	pool_id TEXT,
	deployment_id TEXT,
	attempt INTEGER,
	stack_id TEXT,
	update_id TEXT,
	created_us INTEGER NOT NULL,
	expires_us INTEGER,
	last_used_us INTEGER
);
CREATE INDEX tokens_deployment ON tokens (deployment_id) WHERE deployment_id IS NOT NULL;
CREATE INDEX tokens_update ON tokens (update_id) WHERE update_id IS NOT NULL;
CREATE INDEX tokens_user ON tokens (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX tokens_pool ON tokens (pool_id) WHERE pool_id IS NOT NULL;
CREATE INDEX tokens_expiry ON tokens (expires_us) WHERE expires_us IS NOT NULL;
