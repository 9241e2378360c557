"""Scans as pictures to move about in: where fields lie, their pixels at every size, tiles."""
