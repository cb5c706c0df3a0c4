"""Which routes there are and who may use them: one table that server, OpenAPI document and tests read."""
