-- When a deployment of a project was last claimed: where an organization's limit binds, its projects take turns. Can be
-- rebuilt from deployments.claimed_us.
CREATE TABLE project_turns (
	org_id TEXT NOT NULL REFERENCES orgs (id) ON DELETE CASCADE,
	project TEXT NOT NULL,
	claimed_us INTEGER NOT NULL,
	PRIMARY KEY (org_id, project)
);
