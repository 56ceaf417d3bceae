-- Saved deployment settings, version by version: what they were, who saved them and when.
CREATE TABLE settings_versions (
	stack_id TEXT NOT NULL REFERENCES stacks (id) ON DELETE CASCADE,
	version INTEGER NOT NULL, -- goes on counting when settings are made anew
	document TEXT, -- sealed as in deployment_settings; NULL: this version removed the settings
	pool_id TEXT,
	source TEXT NOT NULL,
	created_us INTEGER NOT NULL,
	-- Who: in words, which outlive the account and the token.
	token_kind TEXT NOT NULL CHECK (token_kind IN ('', 'personal', 'organization', 'site')), -- '': was not noted
	user_name TEXT NOT NULL, -- '' when it was no user
	token_name TEXT NOT NULL,
	PRIMARY KEY (stack_id, version)
);
-- What is saved now begins the history.
INSERT INTO settings_versions (stack_id, version, document, pool_id, source, created_us, token_kind, user_name, token_name)
SELECT t.stack_id, t.version, t.document, t.pool_id, t.source, t.updated_us, '', COALESCE(u.name, ''), ''
FROM deployment_settings t LEFT JOIN users u ON u.id = t.updated_by;
