"""Systems compared: several seeds each, trained and tested on the same data."""
