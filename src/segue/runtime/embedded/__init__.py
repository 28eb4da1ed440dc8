"""The embedded runtime: one machine, SQLite, as many processes as share the file."""
