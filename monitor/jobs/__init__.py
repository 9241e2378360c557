"""What the daemon does beside reading scans: deliver, watch for silence, hear the picker."""
