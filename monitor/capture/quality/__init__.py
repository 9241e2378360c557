"""Is a capture fit to be judged?"""
