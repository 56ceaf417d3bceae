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
	document TEXT NOT NULL, -- the settings JSON; every secret leaf is {"$sealed":"<base64>"}
	pool_id TEXT, -- agentPoolID, which is kept here and not in the document
	source TEXT NOT NULL, -- who wrote it: "api", "provider" ...
	paused INTEGER NOT NULL DEFAULT 0 CHECK (paused IN (0, 1)), -- the stack's deployments wait
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
	-- options.skipIntermediateDeployments: older ones of the same operation leave the queue when one finishes
	skip_intermediate INTEGER NOT NULL DEFAULT 0 CHECK (skip_intermediate IN (0, 1)),
	initiator TEXT NOT NULL DEFAULT '',
	requested_by TEXT REFERENCES users (id) ON DELETE SET NULL,
	created_us INTEGER NOT NULL,
	modified_us INTEGER NOT NULL,
	attempt INTEGER NOT NULL DEFAULT 0, -- counts claims; on every write of a runner
	agent_pool_id TEXT, -- of the agent that claimed it
	agent_name TEXT,
	agent_instance TEXT, -- the work folder of the agent that claimed it, and its process: a later process of the same
	agent_life TEXT, -- folder says that this one is dead
	runner_hash BLOB, -- of the runner token of this attempt: knows a repeated finish after the token died
	claimed_us INTEGER,
	order_fetched_us INTEGER, -- the agent fetched the work order
	started_us INTEGER, -- first step reported
	ended_us INTEGER,
	lease_expires_us INTEGER, -- while accepted or running: claim-timeout, then runner-timeout after each sign of life
	deadline_us INTEGER, -- while running: the deployment time limit
	cancel_requested_us INTEGER,
	-- An ending in progress: tokens are dead, updates are being closed, then status becomes ending_status. Survives a
	-- crash between the two: the ticker goes on.
	ending_status TEXT CHECK (ending_status IN ('succeeded', 'failed')),
	message TEXT NOT NULL DEFAULT '', -- why it ended as it did, in words
	log_removed_us INTEGER -- the retention time of the log is over
);
CREATE UNIQUE INDEX deployments_version ON deployments (stack_id, version);
-- One active deployment per stack, even when several servers claim at once.
CREATE UNIQUE INDEX deployments_active ON deployments (stack_id) WHERE status IN ('accepted', 'running');
CREATE INDEX deployments_waiting ON deployments (stack_id, version) WHERE status = 'not-started';
CREATE INDEX deployments_status ON deployments (org_id, status);
CREATE INDEX deployments_agent_pool ON deployments (agent_pool_id, claimed_us) WHERE agent_pool_id IS NOT NULL;
CREATE INDEX deployments_oldest ON deployments (created_us) WHERE status = 'not-started';
CREATE INDEX deployments_lease ON deployments (lease_expires_us) WHERE status IN ('accepted', 'running');
CREATE INDEX deployments_org ON deployments (org_id, id);
CREATE INDEX deployments_ended ON deployments (ended_us) WHERE log_removed_us IS NULL;

-- What may run now, and which pool must run it (NULL: any of the organization's, or a shared one). Eligibility is
-- always derived from rows, never from counters: nothing paused, nothing active on the stack, nothing older waiting
-- there, the organization below its limit.
CREATE VIEW claimable_deployments AS
SELECT d.id, d.org_id, h.stack_id, COALESCE(d.pool_id, o.default_pool_id) AS pool_id
FROM (SELECT stack_id, MIN(version) AS version FROM deployments WHERE status = 'not-started' GROUP BY stack_id) h
	JOIN deployments d ON d.stack_id = h.stack_id AND d.version = h.version
	JOIN orgs o ON o.id = d.org_id
WHERE o.deployments_paused = 0
	AND NOT EXISTS (SELECT 1 FROM deployments a WHERE a.stack_id = h.stack_id AND a.status IN ('accepted', 'running'))
	AND NOT EXISTS (SELECT 1 FROM deployment_settings s WHERE s.stack_id = h.stack_id AND s.paused = 1)
	AND (SELECT COUNT(*) FROM deployments b WHERE b.org_id = o.id AND b.status IN ('accepted', 'running'))
		< o.deployment_limit;

-- A deployment with the names that an answer shows.
CREATE VIEW deployment_rows AS
SELECT d.id, d.org_id, d.stack_id, d.version, d.operation, d.status, d.pool_id, d.settings, d.inherit_settings,
	d.initiator, d.requested_by, d.created_us, d.modified_us, d.attempt, d.agent_pool_id, d.agent_name, d.runner_hash,
	d.order_fetched_us, d.started_us, d.ended_us, d.lease_expires_us, d.deadline_us, d.cancel_requested_us,
	d.ending_status, d.message, d.log_removed_us,
	s.project, s.name AS stack_name, s.deleted_us AS stack_deleted_us,
	o.name AS org_name, o.deployments_paused AS org_paused, COALESCE(t.paused, 0) AS stack_paused,
	u.name AS user_name, u.display_name AS user_display_name,
	p.id AS shown_pool_id, p.name AS shown_pool_name
FROM deployments d
	JOIN stacks s ON s.id = d.stack_id
	JOIN orgs o ON o.id = d.org_id
	LEFT JOIN deployment_settings t ON t.stack_id = d.stack_id
	LEFT JOIN users u ON u.id = d.requested_by
	LEFT JOIN agent_pools p ON p.id = COALESCE(d.agent_pool_id, d.pool_id, o.default_pool_id);

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
