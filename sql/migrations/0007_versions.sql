-- For the retention of versions: which updates a state belongs to, and how old it is.
CREATE INDEX updates_checkpoint ON updates (checkpoint_id) WHERE checkpoint_id IS NOT NULL;
CREATE INDEX checkpoints_created ON checkpoints (created_us);
