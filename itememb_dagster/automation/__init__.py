"""Jobs, schedules and the sensor of raw files."""
