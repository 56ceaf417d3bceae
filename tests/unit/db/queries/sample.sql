-- Statements of the unit test of src/db.

-- name: thing_put :exec
-- Inserts, or replaces n of the one that is there.
-- in: id text, n int, n_opt int?, flag bool, ratio real?,
--     body blob?, note text?
INSERT INTO things (id, n, n_opt, flag, ratio, body, note)
VALUES (:id, :n, :n_opt, :flag, :ratio, :body, :note)
ON CONFLICT (id) DO UPDATE SET n = excluded.n;

-- name: thing_get :one
-- in: id text
-- out: id text, n int, n_opt int?, flag bool, ratio real?, body blob?, note text?
SELECT id, n, n_opt, flag, ratio, body, note FROM things WHERE id = :id;

-- name: thing_add :one
-- Counts up and tells the new number.
-- in: id text, by int
-- out: n int
UPDATE things SET n = n + :by WHERE id = :id AND :by <> 0 RETURNING n;

-- name: thing_list :many
-- in: least int
-- out: id text, n int
SELECT id, n FROM things WHERE n >= :least ORDER BY id;

-- name: thing_count :one
-- out: total int
SELECT count(*) AS total FROM things;

-- name: thing_note :one
-- Says `text` where NULL may come: the test of that error.
-- in: id text
-- out: note text
SELECT note FROM things WHERE id = :id;

-- name: thing_delete :exec
-- in: id text
DELETE FROM things WHERE id = :id;

-- name: part_add :exec
-- in: thing_id text, seq int, body blob
INSERT INTO parts (thing_id, seq, body) VALUES (:thing_id, :seq, :body);

-- name: part_count :one
-- out: total int
SELECT count(*) AS total FROM parts;
