"""Runners: what does the arithmetic of the network's convolutions, and which of them to take.

A runner is handed convolutions and nothing else. Strips, shifts and the softmax stay with the
network: loops over strips that are exported with a network are wrong at other sizes of image,
without an error.
"""
