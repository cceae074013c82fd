"""Do asymmetries behave like human hearing? (C2, C3)"""
