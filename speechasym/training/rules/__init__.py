"""Learning rules: which error each stage of a hierarchy learns from (C18), see docs/learning.md."""
