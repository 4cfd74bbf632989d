"""What is kept on disk: the state directory, the database, and its sealing."""
