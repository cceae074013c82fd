"""Phones of TIMIT end to end, with a bigram of phones."""
