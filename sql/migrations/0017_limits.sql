-- How long one deployment of an organization may run. NULL: as long as the server says (--deployment-timeout). How many may
-- run at once is orgs.deployment_limit.
ALTER TABLE orgs ADD COLUMN deployment_timeout_us INTEGER;
