"""A trained model at work: transcription, alignment, decoding and evaluation."""
