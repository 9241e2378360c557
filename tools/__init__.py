"""What is run on the project by those who work on it; no part of the package."""
