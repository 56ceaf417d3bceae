-- The dependency cache: archives that runs keep for later runs of the same project. May be lost at any time.
CREATE TABLE cache_entries (
	id TEXT PRIMARY KEY, -- stands at the end of the file, behind the archive, so that a file belongs to one row alone
	org_id TEXT NOT NULL REFERENCES orgs (id) ON DELETE CASCADE,
	project TEXT NOT NULL,
	key TEXT NOT NULL, -- chosen by the run
	blob_key TEXT NOT NULL, -- in the store of the cache
	size_bytes INTEGER NOT NULL, -- of the archive
	created_us INTEGER NOT NULL,
	read_us INTEGER NOT NULL, -- last, or created
	UNIQUE (org_id, project, key)
);
CREATE INDEX cache_entries_read ON cache_entries (read_us);
CREATE INDEX cache_entries_blob ON cache_entries (blob_key);
