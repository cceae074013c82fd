"""The ear's filterbank: ERB scale, gammatone filters, levels in dB."""
