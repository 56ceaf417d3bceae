-- Statements of src/state for the resources of the newest states: lists, search, and how they are kept up to date.

-- name: index_due :many
-- Stacks whose resources are out of date, and that have been left alone since `before_us`. An update without a journal
-- changes the stack's checkpoint at every step: its end is waited for.
-- in: before_us int, count int
-- out: id text
SELECT s.id AS id FROM stacks s
WHERE s.checkpoint_id IS DISTINCT FROM s.indexed_checkpoint_id
	AND (s.last_update_us IS NULL OR s.last_update_us <= :before_us)
	AND (s.running_update_id IS NULL
		OR EXISTS (SELECT 1 FROM updates u WHERE u.id = s.running_update_id AND u.journal_version > 0))
LIMIT :count;

-- name: index_next :one
-- in: before_us int
-- out: last_update_us int?
SELECT min(s.last_update_us) AS last_update_us FROM stacks s
WHERE s.checkpoint_id IS DISTINCT FROM s.indexed_checkpoint_id AND s.last_update_us > :before_us
	AND (s.running_update_id IS NULL
		OR EXISTS (SELECT 1 FROM updates u WHERE u.id = s.running_update_id AND u.journal_version > 0));

-- name: index_state :one
-- settled: its checkpoint does not change at every step of a running update.
-- in: stack_id text
-- out: checkpoint_id text?, indexed_checkpoint_id text?, index_serial int, settled bool
SELECT s.checkpoint_id AS checkpoint_id, s.indexed_checkpoint_id AS indexed_checkpoint_id,
	s.index_serial AS index_serial,
	CASE WHEN s.running_update_id IS NULL
		OR EXISTS (SELECT 1 FROM updates u WHERE u.id = s.running_update_id AND u.journal_version > 0)
	THEN 1 ELSE 0 END AS settled
FROM stacks s WHERE s.id = :stack_id;

-- name: index_claim :exec
-- Goes first in each write. 0 rows: somebody else has written since.
-- in: stack_id text, index_serial int
UPDATE stacks SET index_serial = index_serial + 1 WHERE id = :stack_id AND index_serial = :index_serial;

-- name: index_set :exec
-- in: stack_id text, checkpoint_id text?
UPDATE stacks SET indexed_checkpoint_id = :checkpoint_id WHERE id = :stack_id;

-- name: index_rows :many
-- in: stack_id text
-- out: urn text, ordinal int, type text, external_id text?, parent text?, provider text?, custom bool, external bool,
--      protect bool, pending_delete bool, created text?, modified text?
SELECT urn, ordinal, type, external_id, parent, provider, custom, external, protect, pending_delete, created, modified
FROM stack_resources WHERE stack_id = :stack_id;

-- name: index_put :exec
-- in: stack_id text, urn text, ordinal int, type text, external_id text?, parent text?, provider text?, custom bool,
--     external bool, protect bool, pending_delete bool, created text?, modified text?
INSERT INTO stack_resources (stack_id, urn, ordinal, type, external_id, parent, provider, custom, external, protect,
	pending_delete, created, modified)
VALUES (:stack_id, :urn, :ordinal, :type, :external_id, :parent, :provider, :custom, :external, :protect,
	:pending_delete, :created, :modified)
ON CONFLICT (stack_id, urn, ordinal) DO UPDATE SET type = excluded.type, external_id = excluded.external_id,
	parent = excluded.parent, provider = excluded.provider, custom = excluded.custom, external = excluded.external,
	protect = excluded.protect, pending_delete = excluded.pending_delete, created = excluded.created,
	modified = excluded.modified;

-- name: index_remove :exec
-- in: stack_id text, urn text, ordinal int
DELETE FROM stack_resources WHERE stack_id = :stack_id AND urn = :urn AND ordinal = :ordinal;

-- name: resources_find :many
-- Of an organization, or of one stack of it, behind the given one: by project, stack, URN. Patterns are of LIKE, in
-- lower case, with '!' as the escape; NULL: any. reader_id NULL: nothing is hidden.
-- in: org_id text, reader_id text?, stack_id text?, project text?, stack text?, type text?, urn text?, name text?, text_1 text?,
--     text_2 text?, text_3 text?, after_project text, after_stack text, after_urn text, after_ordinal int, count int,
--     skip int
-- out: stack_id text, project text, stack text, urn text, ordinal int, type text, external_id text?, parent text?,
--      provider text?, custom bool, external bool, protect bool, pending_delete bool, created text?, modified text?
SELECT s.id AS stack_id, s.project AS project, s.name AS stack, r.urn AS urn, r.ordinal AS ordinal, r.type AS type,
	r.external_id AS external_id, r.parent AS parent, r.provider AS provider, r.custom AS custom,
	r.external AS external, r.protect AS protect, r.pending_delete AS pending_delete, r.created AS created,
	r.modified AS modified
FROM stacks s JOIN stack_resources r ON r.stack_id = s.id
WHERE s.org_id = :org_id AND s.deleted_us IS NULL
	AND (:reader_id IS NULL OR EXISTS (
	SELECT 1 FROM stack_readers v WHERE v.reader_id = :reader_id AND v.stack_id = s.id))
	AND (:stack_id IS NULL OR s.id = :stack_id)
	AND (:project IS NULL OR s.project = :project)
	AND (:stack IS NULL OR s.name = :stack)
	AND (:type IS NULL OR lower(r.type) LIKE :type ESCAPE '!')
	AND (:urn IS NULL OR lower(r.urn) LIKE :urn ESCAPE '!')
	AND (:name IS NULL OR lower(r.urn) LIKE :name ESCAPE '!')
	AND (:text_1 IS NULL OR lower(r.urn) LIKE :text_1 ESCAPE '!' OR lower(r.external_id) LIKE :text_1 ESCAPE '!')
	AND (:text_2 IS NULL OR lower(r.urn) LIKE :text_2 ESCAPE '!' OR lower(r.external_id) LIKE :text_2 ESCAPE '!')
	AND (:text_3 IS NULL OR lower(r.urn) LIKE :text_3 ESCAPE '!' OR lower(r.external_id) LIKE :text_3 ESCAPE '!')
	AND (s.project, s.name) >= (:after_project, :after_stack)
	AND ((s.project, s.name) > (:after_project, :after_stack) OR (r.urn, r.ordinal) > (:after_urn, :after_ordinal))
ORDER BY s.project, s.name, r.urn, r.ordinal LIMIT :count OFFSET :skip;

-- name: resources_count :one
-- How many resources_find would find from the start.
-- in: org_id text, reader_id text?, stack_id text?, project text?, stack text?, type text?, urn text?, name text?, text_1 text?,
--     text_2 text?, text_3 text?
-- out: total int
SELECT count(*) AS total
FROM stacks s JOIN stack_resources r ON r.stack_id = s.id
WHERE s.org_id = :org_id AND s.deleted_us IS NULL
	AND (:reader_id IS NULL OR EXISTS (
	SELECT 1 FROM stack_readers v WHERE v.reader_id = :reader_id AND v.stack_id = s.id))
	AND (:stack_id IS NULL OR s.id = :stack_id)
	AND (:project IS NULL OR s.project = :project)
	AND (:stack IS NULL OR s.name = :stack)
	AND (:type IS NULL OR lower(r.type) LIKE :type ESCAPE '!')
	AND (:urn IS NULL OR lower(r.urn) LIKE :urn ESCAPE '!')
	AND (:name IS NULL OR lower(r.urn) LIKE :name ESCAPE '!')
	AND (:text_1 IS NULL OR lower(r.urn) LIKE :text_1 ESCAPE '!' OR lower(r.external_id) LIKE :text_1 ESCAPE '!')
	AND (:text_2 IS NULL OR lower(r.urn) LIKE :text_2 ESCAPE '!' OR lower(r.external_id) LIKE :text_2 ESCAPE '!')
	AND (:text_3 IS NULL OR lower(r.urn) LIKE :text_3 ESCAPE '!' OR lower(r.external_id) LIKE :text_3 ESCAPE '!');
