"""Where things lie: image pixels, stage um, picker um; calibrations, wells, plates."""
