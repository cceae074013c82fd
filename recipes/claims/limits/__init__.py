"""Does the strongest of N competitors keep its share as N grows? (C6)"""
