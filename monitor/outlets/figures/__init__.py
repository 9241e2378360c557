"""Pictures that are drawn: series, plans, calibrations, evaluations."""
