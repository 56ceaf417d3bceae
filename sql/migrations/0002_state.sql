-- The state backend: stacks, updates, checkpoints, journals, events.

CREATE TABLE stacks (
	id TEXT PRIMARY KEY,
	org_id TEXT NOT NULL REFERENCES orgs (id),
	project TEXT NOT NULL,
	name TEXT NOT NULL,
	tags TEXT NOT NULL DEFAULT '{}', -- a JSON object of strings, as the CLI wrote it
	data_key BLOB NOT NULL, -- sealed by the organization's key for "stack:<id>"
	version INTEGER NOT NULL DEFAULT 0, -- of the newest update that is no preview
	checkpoint_id TEXT, -- newest state; NULL: never had any
	latest_update_id TEXT, -- newest update that is no preview, running or not ("activeUpdate")
	running_update_id TEXT, -- holds the stack; NULL: free
	resource_count INTEGER NOT NULL DEFAULT 0,
	last_update_us INTEGER,
	created_us INTEGER NOT NULL,
	-- A stack that its own deployment removed stays as a tombstone until that deployment has finished.
	deleted_us INTEGER
);
CREATE UNIQUE INDEX stacks_name ON stacks (org_id, project, name) WHERE deleted_us IS NULL;

-- Names that a stack had before a rename: its state still names them (secrets provider URL).
CREATE TABLE stack_former_names (
	org_id TEXT NOT NULL REFERENCES orgs (id) ON DELETE CASCADE,
	project TEXT NOT NULL,
	name TEXT NOT NULL,
	stack_id TEXT NOT NULL REFERENCES stacks (id) ON DELETE CASCADE,
	PRIMARY KEY (org_id, project, name)
);

-- The tags once more, one row each, for the filters of lists. Can be rebuilt from stacks.tags.
CREATE TABLE stack_tags (
	stack_id TEXT NOT NULL REFERENCES stacks (id) ON DELETE CASCADE,
	name TEXT NOT NULL,
	value TEXT NOT NULL,
	PRIMARY KEY (stack_id, name)
);
CREATE INDEX stack_tags_name ON stack_tags (name, value);

-- One row per stored state. The document is the text of an UntypedDeployment ({"version":..,"deployment":..}), gzip.
CREATE TABLE checkpoints (
	id TEXT PRIMARY KEY,
	stack_id TEXT NOT NULL REFERENCES stacks (id) ON DELETE CASCADE,
	version INTEGER NOT NULL, -- the stack's version it belongs to
	update_id TEXT,
	body BLOB, -- gzip text when small, else
	blob_key TEXT, -- key in the blob store of: id, line feed, gzip text. So a blob belongs to one row alone.
	size_bytes INTEGER NOT NULL, -- of the text
	resource_count INTEGER NOT NULL,
	created_us INTEGER NOT NULL,
	CHECK ((body IS NULL) <> (blob_key IS NULL))
);
CREATE INDEX checkpoints_stack ON checkpoints (stack_id, version);

-- update: not-started -> in-progress -> succeeded | failed | cancelled
CREATE TABLE updates (
	id TEXT PRIMARY KEY,
	stack_id TEXT NOT NULL REFERENCES stacks (id) ON DELETE CASCADE,
	kind TEXT NOT NULL CHECK (kind IN ('update', 'preview', 'refresh', 'destroy', 'import', 'rename')),
	dry_run INTEGER NOT NULL CHECK (dry_run IN (0, 1)),
	status TEXT NOT NULL CHECK (status IN ('not-started', 'in-progress', 'succeeded', 'failed', 'cancelled')),
	version INTEGER NOT NULL DEFAULT 0, -- of the stack, set by start; previews carry the version they looked at
	journal_version INTEGER NOT NULL DEFAULT 0, -- 0: checkpoints, 1: journal
	message TEXT NOT NULL DEFAULT '',
	environment TEXT NOT NULL DEFAULT '{}', -- metadata.environment as sent
	config BLOB, -- gzip JSON text of `config` as sent
	requested_by TEXT REFERENCES users (id) ON DELETE SET NULL,
	deployment_id TEXT, -- set when it was made with a run token
	base_checkpoint_id TEXT, -- the state it started from
	checkpoint_id TEXT, -- the state it left
	lease_expires_us INTEGER,
	resource_changes TEXT, -- JSON object from the summary event
	resource_count INTEGER,
	created_us INTEGER NOT NULL,
	started_us INTEGER,
	ended_us INTEGER
);
CREATE INDEX updates_stack ON updates (stack_id, version) WHERE dry_run = 0;
CREATE INDEX updates_previews ON updates (stack_id, id) WHERE dry_run = 1;
CREATE INDEX updates_deployment ON updates (deployment_id) WHERE deployment_id IS NOT NULL;
CREATE INDEX updates_lease ON updates (lease_expires_us) WHERE status = 'in-progress';
-- One update that may change state per stack.
CREATE UNIQUE INDEX updates_running ON updates (stack_id) WHERE status = 'in-progress' AND dry_run = 0;

-- A batch as it came, in the order of arrival (id). A retry stores it once more: replay sorts the entries by sequence
-- id and drops repeats. The batches of an update are kept until the stack's next update starts.
CREATE TABLE journal_batches (
	update_id TEXT NOT NULL REFERENCES updates (id) ON DELETE CASCADE,
	id TEXT NOT NULL,
	entry_count INTEGER NOT NULL,
	body BLOB NOT NULL, -- gzip JSON text {"entries":[...]}
	created_us INTEGER NOT NULL,
	PRIMARY KEY (update_id, id)
);

-- Likewise. Readers sort the events by sequence and drop repeats.
CREATE TABLE event_batches (
	update_id TEXT NOT NULL REFERENCES updates (id) ON DELETE CASCADE,
	id TEXT NOT NULL,
	first_sequence INTEGER NOT NULL,
	last_sequence INTEGER NOT NULL,
	event_count INTEGER NOT NULL,
	body BLOB NOT NULL, -- gzip JSON text {"events":[...]}
	created_us INTEGER NOT NULL,
	PRIMARY KEY (update_id, id)
);
CREATE INDEX event_batches_sequence ON event_batches (update_id, first_sequence, last_sequence);
