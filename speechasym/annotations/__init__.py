"""Times and transcripts in files: TextGrid, CTM, TIMIT's .PHN and .WRD, plain text."""
