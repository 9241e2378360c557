"""The pmf-CNN: what it is, how it is trained and measured, and how an image is segmented.

Knows nothing of the monitor. The monitor sees ``model.predict.Segmenter`` and
``model.classes.CellClass`` and nothing else of this package.
"""
