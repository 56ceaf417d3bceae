-- The schema of the unit test of src/db: every type, with and without NULL, and the constraints that it provokes.
CREATE TABLE things (
	id TEXT PRIMARY KEY,	-- a comment with ; and ' in it
	n INTEGER NOT NULL,
	n_opt INTEGER,
	flag INTEGER NOT NULL DEFAULT 0 CHECK (flag IN (0, 1)),
	ratio REAL,
	body BLOB,
	note TEXT CHECK (note IS NOT NULL OR n < 1000)
);
CREATE UNIQUE INDEX things_flagged ON things (n) WHERE flag = 1;
