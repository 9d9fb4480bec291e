"""What is known of an item beside who bought it: popularity, attributes, categories, content."""
