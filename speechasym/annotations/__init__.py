"""Times and transcripts in files: TextGrid, CTM, Audacity, TIMIT's .PHN and .WRD, plain text."""
