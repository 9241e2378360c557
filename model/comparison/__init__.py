"""The pmf-CNN beside its rivals: same images, same augmentation, same processor time."""
