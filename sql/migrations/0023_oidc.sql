-- Key pairs with which this server signs tokens that others check (OIDC). Which one signs follows from the times alone: of
-- those whose time has come, the latest.
CREATE TABLE oidc_keys (
	id TEXT PRIMARY KEY, -- "kid" of the tokens and of the JWK
	private_key BLOB NOT NULL, -- PKCS#8, sealed with the master key
	public_n TEXT NOT NULL, -- "n" and "e" of the JWK
	public_e TEXT NOT NULL,
	created_us INTEGER NOT NULL,
	signs_from_us INTEGER NOT NULL,
	needed_until_us INTEGER NOT NULL -- when the last token that it has signed expires
);
