"""Pages to look at and to answer alerts: a process of its own, which reads the record and writes
nothing but people's answers.
"""
