-- Any page of an organization's deployments, without walking over those before it.

-- 1, 2, 3 ... per organization, in the order in which they were made; where stacks were removed there are gaps.
ALTER TABLE deployments ADD COLUMN org_number INTEGER NOT NULL DEFAULT 0;
UPDATE deployments SET org_number = n.org_number FROM (
	SELECT id, ROW_NUMBER() OVER (PARTITION BY org_id ORDER BY id) AS org_number FROM deployments) n
WHERE n.id = deployments.id;
CREATE UNIQUE INDEX deployments_org_number ON deployments (org_id, org_number);
CREATE INDEX deployments_org_status ON deployments (org_id, status, org_number);
DROP INDEX deployments_org;
DROP INDEX deployments_status;

-- How many deployments of each status there are among a thousand numbers: those of bucket b are b * 1000 to b * 1000 + 999.
-- Changed in the transaction that changes a deployment, for lists and totals alone: what may run is never asked of it. Can
-- be rebuilt by the statement below, after a DELETE; `slipway admin verify` compares.
CREATE TABLE deployment_counts (
	org_id TEXT NOT NULL REFERENCES orgs (id) ON DELETE CASCADE,
	bucket INTEGER NOT NULL,
	status TEXT NOT NULL,
	n INTEGER NOT NULL,
	PRIMARY KEY (org_id, bucket, status)
);
INSERT INTO deployment_counts (org_id, bucket, status, n)
SELECT org_id, org_number / 1000, status, COUNT(*) FROM deployments GROUP BY org_id, org_number / 1000, status;
