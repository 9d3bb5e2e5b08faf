"""A model that asks for the alias: what is known of it and of its champion, the gate, and the entry in the ledger."""
