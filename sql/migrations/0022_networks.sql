-- What network the runs of a pool have (JSON: mode, allow; empty: as the agent says), and what modes an agent can give
-- ("host,isolated,none"; empty: it does not say).
ALTER TABLE agent_pools ADD COLUMN network TEXT NOT NULL DEFAULT '';
ALTER TABLE agents ADD COLUMN networks TEXT NOT NULL DEFAULT '';
