"""Everything on the pages as JSON, and whole tables as files: for programs, under /api/v1."""
