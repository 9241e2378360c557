"""A scan of a dish: its fields laid together, its colonies followed, earlier scans beside it."""
