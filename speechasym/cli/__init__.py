"""The speechasym command, one module a subcommand."""
