"""What files hold: a reader a format, and what instruments write in and beside their pictures."""
