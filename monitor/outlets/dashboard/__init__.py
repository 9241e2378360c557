"""Pages to look at and to decide on: a process of its own, which reads the record and writes
nothing but what people decide, and who they are.
"""
