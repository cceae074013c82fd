"""How deep can a stack of blocks be? (C10)"""
