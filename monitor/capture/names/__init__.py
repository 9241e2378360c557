"""What file names say: an imager's preset each, a lab's own pattern, which picture counts."""
