"""The pmf-CNN: what it is, how it is trained and measured, and how an image is segmented; and
behind `predict` whatever other kind of network a model is.

Knows nothing of the monitor. The monitor sees ``model.predict`` and
``model.classes.CellClass`` and nothing else of this package.
"""
