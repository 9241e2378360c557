"""The ways out: mail for people, files for the picker, pictures for both."""
