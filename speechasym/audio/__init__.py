"""Recordings in: any format that libsndfile reads, and NIST SPHERE, as float32 samples."""
