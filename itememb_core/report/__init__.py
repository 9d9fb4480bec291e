"""Pictures for the UI and the report page, small PNGs; the numbers drawn come from elsewhere."""
