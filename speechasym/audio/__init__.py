"""Recordings as float32 samples, from any format that libsndfile reads, and NIST SPHERE."""
