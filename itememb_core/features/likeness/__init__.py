"""What is alike: features of items, filled in by behaviour where they are not known."""
