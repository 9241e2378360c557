"""How far a segmentation may be trusted: is the image of a kind that the model knows, and between
which bounds does its differentiated fraction lie? docs/doubt.md explains it.
"""
