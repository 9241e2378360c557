"""The model that ships with the program, and the one resumable command that makes it."""
