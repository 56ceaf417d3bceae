-- Delta checkpoints: the edits that an update has saved since it saved its whole text (updates.checkpoint_id).
CREATE TABLE checkpoint_deltas (
	update_id TEXT NOT NULL REFERENCES updates (id) ON DELETE CASCADE,
	sequence INTEGER NOT NULL, -- the client's sequenceNumber
	body BLOB NOT NULL, -- gzip JSON text {"deploymentDelta":[...],"checkpointHash":...}, as it came
	created_us INTEGER NOT NULL,
	PRIMARY KEY (update_id, sequence)
);

-- The sequenceNumber of the last verbatim or delta checkpoint; 0: none.
ALTER TABLE updates ADD COLUMN saved_sequence INTEGER NOT NULL DEFAULT 0;
