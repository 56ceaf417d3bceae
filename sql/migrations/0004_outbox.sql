-- Domain events, written in the transaction that caused them: a row per event and consumer that wants it, claimed like
-- a job. At least once, in order per stack.
CREATE TABLE outbox (
	id TEXT PRIMARY KEY,
	consumer TEXT NOT NULL,
	kind TEXT NOT NULL, -- "deployment.queued" ...
	org_id TEXT NOT NULL,
	stack_id TEXT,
	payload TEXT NOT NULL, -- JSON
	created_us INTEGER NOT NULL,
	due_us INTEGER NOT NULL,
	attempts INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX outbox_due ON outbox (consumer, due_us);
CREATE INDEX outbox_stack ON outbox (consumer, stack_id, id);
