"""Training a hierarchy: data, augmentation, losses, checkpoints, resumable runs."""
