-- Who may do what: the organization's default, grants on single stacks, tokens of organizations.

-- What a member may do to a stack for which nothing else is said (identity/access.c has what each of them holds). Members of
-- an organization that is there already keep everything that they had; a new organization begins with write.
ALTER TABLE orgs ADD COLUMN stack_permission TEXT NOT NULL DEFAULT 'write'
	CHECK (stack_permission IN ('none', 'read', 'deploy', 'write', 'admin'));
ALTER TABLE orgs ADD COLUMN members_create_stacks INTEGER NOT NULL DEFAULT 1 CHECK (members_create_stacks IN (0, 1));
UPDATE orgs SET stack_permission = 'admin';

-- What one member may do to one stack: in place of the default, be it more or less.
CREATE TABLE stack_grants (
	stack_id TEXT NOT NULL REFERENCES stacks (id) ON DELETE CASCADE,
	user_id TEXT NOT NULL REFERENCES users (id) ON DELETE CASCADE,
	org_id TEXT NOT NULL REFERENCES orgs (id) ON DELETE CASCADE, -- of the stack
	permission TEXT NOT NULL CHECK (permission IN ('none', 'read', 'deploy', 'write', 'admin')),
	creator INTEGER NOT NULL CHECK (creator IN (0, 1)), -- made with the stack, for who made it
	created_us INTEGER NOT NULL,
	PRIMARY KEY (stack_id, user_id)
);
CREATE INDEX stack_grants_user ON stack_grants (user_id, org_id);

-- The names that tokens of an organization have or had: one is never used twice.
CREATE TABLE org_token_names (
	org_id TEXT NOT NULL REFERENCES orgs (id) ON DELETE CASCADE,
	name TEXT NOT NULL,
	PRIMARY KEY (org_id, name)
);

-- The table of 0001 once more, with a further kind:
--   organization  a machine                      org_id, name, admin
-- and for a run that such a token asked for: parent_id, whose rights it has.
CREATE TABLE tokens_with_orgs (
	id TEXT PRIMARY KEY,
	hash BLOB NOT NULL UNIQUE,
	kind TEXT NOT NULL CHECK (kind IN ('personal', 'session', 'organization', 'pool', 'runner', 'run', 'lease')),
	name TEXT NOT NULL DEFAULT '',
	description TEXT NOT NULL DEFAULT '',
	admin INTEGER NOT NULL DEFAULT 0 CHECK (admin IN (0, 1)),
	user_id TEXT REFERENCES users (id) ON DELETE CASCADE,
	org_id TEXT REFERENCES orgs (id) ON DELETE CASCADE,
	pool_id TEXT,
	deployment_id TEXT,
	attempt INTEGER,
	stack_id TEXT,
	update_id TEXT,
	parent_id TEXT,
	created_by TEXT NOT NULL DEFAULT '', -- login
	created_us INTEGER NOT NULL,
	expires_us INTEGER,
	last_used_us INTEGER
);
INSERT INTO tokens_with_orgs (id, hash, kind, description, user_id, org_id, pool_id, deployment_id, attempt, stack_id,
	update_id, created_us, expires_us, last_used_us)
SELECT id, hash, kind, description, user_id, org_id, pool_id, deployment_id, attempt, stack_id, update_id, created_us,
	expires_us, last_used_us FROM tokens;
DROP TABLE tokens;
ALTER TABLE tokens_with_orgs RENAME TO tokens;
CREATE INDEX tokens_deployment ON tokens (deployment_id) WHERE deployment_id IS NOT NULL;
CREATE INDEX tokens_update ON tokens (update_id) WHERE update_id IS NOT NULL;
CREATE INDEX tokens_user ON tokens (user_id) WHERE user_id IS NOT NULL;
CREATE INDEX tokens_pool ON tokens (pool_id) WHERE pool_id IS NOT NULL;
CREATE INDEX tokens_expiry ON tokens (expires_us) WHERE expires_us IS NOT NULL;
CREATE INDEX tokens_organization ON tokens (org_id) WHERE kind = 'organization';

-- The token of an organization that asked for the deployment, if none of its users did.
ALTER TABLE deployments ADD COLUMN requested_by_token TEXT;

-- Who may see a stack, for lists. A reader is a user, or a token of an organization. What may be seen beyond that is asked of
-- identity/access.c, one stack at a time.
CREATE VIEW stack_readers AS
SELECT m.user_id AS reader_id, s.id AS stack_id
FROM stacks s
	JOIN org_members m ON m.org_id = s.org_id
	JOIN orgs o ON o.id = s.org_id
	LEFT JOIN stack_grants g ON g.stack_id = s.id AND g.user_id = m.user_id
WHERE m.role = 'admin' OR COALESCE(g.permission, o.stack_permission) <> 'none'
UNION ALL
SELECT t.id AS reader_id, s.id AS stack_id
FROM stacks s
	JOIN tokens t ON t.org_id = s.org_id
	JOIN orgs o ON o.id = s.org_id
WHERE t.kind = 'organization' AND (t.admin = 1 OR o.stack_permission <> 'none');
