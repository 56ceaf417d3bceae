-- Drift runs: one for each preview of a refresh, whoever made it, written when that ends.
CREATE TABLE drift_runs (
	id TEXT PRIMARY KEY,
	stack_id TEXT NOT NULL REFERENCES stacks (id) ON DELETE CASCADE,
	deployment_id TEXT, -- that made it; NULL: somebody's own CLI
	detect_update_id TEXT, -- NULL: it failed before there was one, or nothing was detected before a remediation
	remediate_update_id TEXT,
	status TEXT NOT NULL CHECK (status IN ('succeeded', 'failed')),
	drift_detected INTEGER NOT NULL CHECK (drift_detected IN (0, 1)),
	-- What differs, as far as it is kept (state/drift_changes.h): gzip JSON text, a list of resources.
	resources BLOB,
	resource_count INTEGER NOT NULL DEFAULT 0, -- that differ, whether kept or not
	resources_cut INTEGER NOT NULL DEFAULT 0 CHECK (resources_cut IN (0, 1)), -- not all of it is kept
	created_us INTEGER NOT NULL
);
CREATE INDEX drift_runs_stack ON drift_runs (stack_id, id);
CREATE INDEX drift_runs_deployment ON drift_runs (deployment_id) WHERE deployment_id IS NOT NULL;

-- Whether a stack is being looked at right now.
CREATE INDEX updates_open_previews ON updates (stack_id) WHERE status = 'in-progress' AND dry_run = 1;

-- An update of the kind `update` that `pulumi import` made: the CLI calls it by the same route, and says which command it is.
ALTER TABLE updates ADD COLUMN resource_import INTEGER NOT NULL DEFAULT 0 CHECK (resource_import IN (0, 1));
