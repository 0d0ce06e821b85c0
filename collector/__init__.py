"""From bytes to signals to relations."""
