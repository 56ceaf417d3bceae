-- Statements of src/state about what goes away by itself: blobs that nothing names, events that are old.

-- name: checkpoint_of_blob :one
-- in: blob_key text
-- out: id text
SELECT id FROM checkpoints WHERE blob_key = :blob_key LIMIT 1;

-- name: events_old :many
-- Batches of updates that ended before before_us. Ids are in the order of time, and before_id is where those of before_us begin:
-- no younger update is looked at.
-- in: before_id text, before_us int, n int
-- out: update_id text, id text
SELECT b.update_id, b.id FROM event_batches b JOIN updates u ON u.id = b.update_id
WHERE b.update_id < :before_id AND u.ended_us < :before_us
ORDER BY b.update_id, b.id LIMIT COALESCE(:n, 0);

-- name: events_remove :exec
-- in: update_id text, id text
DELETE FROM event_batches WHERE update_id = :update_id AND id = :id;
