"""Learning by local and global error, block by block, beside backpropagation (C18)."""
