"""Recipes: experiments that run end to end; see README.md."""
