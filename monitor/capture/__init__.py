"""From a folder to a picture fit to be judged: watching, settling, names, reading, quality."""
