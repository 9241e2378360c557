"""The machine underneath: files that are whole or not there, systemd, memory."""
