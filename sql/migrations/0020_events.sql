-- The domain events once more, for a while, so that they can be read when they have been delivered long since.
CREATE TABLE recent_events (
	id TEXT PRIMARY KEY, -- in the order of the commits
	kind TEXT NOT NULL, -- identity/event.h
	org_id TEXT NOT NULL,
	stack_id TEXT,
	payload TEXT NOT NULL, -- JSON
	created_us INTEGER NOT NULL
);
CREATE INDEX recent_events_org ON recent_events (org_id, id);
CREATE INDEX recent_events_created ON recent_events (created_us);
