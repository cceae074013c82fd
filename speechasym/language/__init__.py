"""Phones, letters, words: inventories, lexica, n-gram models and pronunciations."""
