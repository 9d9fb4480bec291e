"""What the fits of several models share: boosted trees, dropout."""
