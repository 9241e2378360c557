"""Pure rules: what the numbers mean for a dish. No clock, no database, no network."""
