-- What the newest state of each stack is made of, for lists and search. Can be rebuilt from the checkpoints: a stack
-- whose indexed_checkpoint_id is not its checkpoint_id is read anew (src/state/resource_index.h), so setting that column
-- to NULL everywhere rebuilds all of it.
CREATE TABLE stack_resources (
	stack_id TEXT NOT NULL REFERENCES stacks (id) ON DELETE CASCADE,
	urn TEXT NOT NULL,
	ordinal INTEGER NOT NULL, -- 0; counts on where a URN repeats (what a replacement has left to delete)
	type TEXT NOT NULL,
	external_id TEXT, -- what the provider calls it
	parent TEXT,
	provider TEXT,
	custom INTEGER NOT NULL CHECK (custom IN (0, 1)),
	external INTEGER NOT NULL CHECK (external IN (0, 1)),
	protect INTEGER NOT NULL CHECK (protect IN (0, 1)),
	pending_delete INTEGER NOT NULL CHECK (pending_delete IN (0, 1)),
	created TEXT, -- as the engine wrote it, RFC 3339
	modified TEXT,
	PRIMARY KEY (stack_id, urn, ordinal)
);

ALTER TABLE stacks ADD COLUMN indexed_checkpoint_id TEXT; -- the state that stack_resources shows; NULL: none
ALTER TABLE stacks ADD COLUMN index_serial INTEGER NOT NULL DEFAULT 0; -- counts the writes to stack_resources
-- What is due. Nobody who changes checkpoint_id has to remember anything.
CREATE INDEX stacks_unindexed ON stacks (id) WHERE checkpoint_id IS DISTINCT FROM indexed_checkpoint_id;
