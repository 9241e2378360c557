"""What was seen and decided, in a database. The only user of SQLAlchemy."""
