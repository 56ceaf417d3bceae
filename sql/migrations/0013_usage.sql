-- Usage looks at the deployments of one organization by the time of their start.
CREATE INDEX deployments_started ON deployments (org_id, started_us) WHERE started_us IS NOT NULL;
