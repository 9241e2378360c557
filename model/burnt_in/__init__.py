"""What was burnt into a picture for people, found again: scale bars, text, strips of facts, arrows.

A program that burns something in sets pixels to one value, whatever was there. What stands out is
therefore not the value, which dead cells and reflexes reach too, but the form: rectangles along the
pixels' rows, with all four sides sharp; characters of one height that stand on one line, drawn by
strokes of one width, with nothing else of their value around them; what else has exactly the
value of these.
"""

from model.burnt_in.finding import find_burnt_in
from model.burnt_in.items import MARGIN_PX, BurntIn, Imaged, Item, Kind, imaged

__all__ = ["MARGIN_PX", "BurntIn", "Imaged", "Item", "Kind", "find_burnt_in", "imaged"]
