-- Deployments: settings, pools, agents, the queue, steps, logs.

CREATE TABLE agent_pools (
	id TEXT PRIMARY KEY,
	org_id TEXT REFERENCES orgs (id) ON DELETE CASCADE, -- NULL: a shared pool, serves every organization of the site
	name TEXT NOT NULL,
	description TEXT NOT NULL DEFAULT '',
	created_us INTEGER NOT NULL,
	UNIQUE (org_id, name)
);

-- Whoever polled lately. Can be rebuilt: rows vanish some time after the last poll.
CREATE TABLE agents (
	pool_id TEXT NOT NULL REFERENCES agent_pools (id) ON DELETE CASCADE,
	name TEXT NOT NULL,
	hostname TEXT NOT NULL DEFAULT '',
	pid INTEGER NOT NULL DEFAULT 0,
	ip TEXT NOT NULL DEFAULT '',
	platform TEXT NOT NULL DEFAULT '',
	version TEXT NOT NULL DEFAULT '',
	isolation TEXT NOT NULL DEFAULT '',
	last_seen_us INTEGER NOT NULL,
	PRIMARY KEY (pool_id, name)
);

CREATE TABLE deployment_settings (
	stack_id TEXT PRIMARY KEY REFERENCES stacks (id) ON DELETE CASCADE,
	version INTEGER NOT NULL,
	document TEXT NOT NULL, -- the settings JSON; every secret leaf is {"ciphertext":"<base64 sealed>"}
	source TEXT NOT NULL,
	updated_us INTEGER NOT NULL,
	updated_by TEXT REFERENCES users (id) ON DELETE SET NULL
);

-- not-started -> accepted -> running -> succeeded | failed; not-started -> skipped; accepted -> not-started
CREATE TABLE deployments (
	id TEXT PRIMARY KEY,
	org_id TEXT NOT NULL REFERENCES orgs (id) ON DELETE CASCADE,
	stack_id TEXT NOT NULL REFERENCES stacks (id) ON DELETE CASCADE,
	version INTEGER NOT NULL, -- 1, 2, 3 ... per stack
	operation TEXT NOT NULL CHECK (operation IN ('update', 'preview', 'refresh', 'destroy', 'detect-drift',
		'remediate-drift')),
	status TEXT NOT NULL CHECK (status IN ('not-started', 'accepted', 'running', 'succeeded', 'failed', 'skipped')),
	pool_id TEXT, -- the pool that must run it; NULL: the organization's default pool, else any of its pools or a shared one
	settings TEXT NOT NULL, -- what this run uses: request merged over the saved settings, secrets sealed
	inherit_settings INTEGER NOT NULL CHECK (inherit_settings IN (0, 1)),
	initiator TEXT NOT NULL DEFAULT '',
	requested_by TEXT REFERENCES users (id) ON DELETE SET NULL,
	created_us INTEGER NOT NULL,
	modified_us INTEGER NOT NULL,
	attempt INTEGER NOT NULL DEFAULT 0, -- counts claims; on every write of a runner
	agent_name TEXT,
	claimed_us INTEGER,
	order_fetched_us INTEGER, -- the agent fetched the work order
	started_us INTEGER, -- first step reported
	ended_us INTEGER,
	lease_expires_us INTEGER, -- while accepted or running: claim-timeout, then runner-timeout after each sign of life
	deadline_us INTEGER, -- while running: the deployment time limit
	cancel_requested_us INTEGER,
	message TEXT NOT NULL DEFAULT '' -- why it ended as it did, in words
);
CREATE UNIQUE INDEX deployments_version ON deployments (stack_id, version);
-- One active deployment per stack, even when several servers claim at once.
CREATE UNIQUE INDEX deployments_active ON deployments (stack_id) WHERE status IN ('accepted', 'running');
CREATE INDEX deployments_queue ON deployments (org_id, id) WHERE status = 'not-started';
CREATE INDEX deployments_lease ON deployments (lease_expires_us) WHERE status IN ('accepted', 'running');
CREATE INDEX deployments_org ON deployments (org_id, id);

CREATE TABLE deployment_steps (
	deployment_id TEXT NOT NULL REFERENCES deployments (id) ON DELETE CASCADE,
	step INTEGER NOT NULL, -- 0, 1, 2 ...
	name TEXT NOT NULL,
	status TEXT NOT NULL CHECK (status IN ('not-started', 'running', 'succeeded', 'failed')),
	started_us INTEGER,
	updated_us INTEGER NOT NULL,
	line_count INTEGER NOT NULL DEFAULT 0, -- lines appended so far
	PRIMARY KEY (deployment_id, step)
);

-- Chunks of lines. body: zstd JSON text [{"t":<us>,"l":"<line>"},...]
CREATE TABLE log_chunks (
	deployment_id TEXT NOT NULL REFERENCES deployments (id) ON DELETE CASCADE,
	step INTEGER NOT NULL,
	first_line INTEGER NOT NULL,
	line_count INTEGER NOT NULL,
	body BLOB NOT NULL,
	created_us INTEGER NOT NULL,
	PRIMARY KEY (deployment_id, step, first_line)
);
