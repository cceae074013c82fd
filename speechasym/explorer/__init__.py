"""A server on this machine whose page shows recordings, plays them and corrects their labels."""
