"""Feature sets of recordings: gammatone, asymmetry, log-mel and MFCC."""
