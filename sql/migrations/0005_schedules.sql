-- Schedules of deployments: raw, drift, time to live.
-- active -> paused -> active; active -> fired (a schedule for one time, afterwards)

CREATE TABLE schedules (
	id TEXT PRIMARY KEY,
	org_id TEXT NOT NULL REFERENCES orgs (id) ON DELETE CASCADE,
	stack_id TEXT NOT NULL REFERENCES stacks (id) ON DELETE CASCADE,
	kind TEXT NOT NULL CHECK (kind IN ('raw', 'drift', 'ttl')),
	status TEXT NOT NULL CHECK (status IN ('active', 'paused', 'fired')),
	cron TEXT, -- five fields, UTC; else
	once_us INTEGER,
	request TEXT NOT NULL, -- JSON of deployment_request.h, secrets sealed
	version INTEGER NOT NULL, -- counts changes
	next_us INTEGER, -- when it is due; NULL unless active
	warn_us INTEGER, -- when the next warning before a time to live ends is due
	last_executed_us INTEGER,
	created_us INTEGER NOT NULL,
	modified_us INTEGER NOT NULL,
	created_by TEXT REFERENCES users (id) ON DELETE SET NULL, -- whose rights the runs have
	CHECK ((cron IS NULL) <> (once_us IS NULL))
);
CREATE INDEX schedules_stack ON schedules (stack_id, id);
CREATE INDEX schedules_due ON schedules (next_us) WHERE next_us IS NOT NULL;
CREATE INDEX schedules_warn ON schedules (warn_us) WHERE warn_us IS NOT NULL;

-- What a schedule has done. Goes with its schedule.
CREATE TABLE schedule_runs (
	schedule_id TEXT NOT NULL REFERENCES schedules (id) ON DELETE CASCADE,
	id TEXT NOT NULL,
	executed_us INTEGER NOT NULL,
	version INTEGER NOT NULL, -- of the schedule at that time
	deployment_id TEXT, -- NULL: it could not be queued
	message TEXT NOT NULL DEFAULT '', -- why not
	PRIMARY KEY (schedule_id, id)
);
