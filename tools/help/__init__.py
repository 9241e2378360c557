"""The documentation as pages: what is generated from the code, and the build (`make docs`)."""
