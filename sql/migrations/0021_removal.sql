-- For the sweep of blobs that no row names (src/state/blob_sweep.c).
CREATE INDEX checkpoints_blob ON checkpoints (blob_key) WHERE blob_key IS NOT NULL;

-- A user who was removed stays as a name: what they did is still theirs in every history, and nobody else gets the login.
ALTER TABLE users ADD COLUMN removed_us INTEGER;
