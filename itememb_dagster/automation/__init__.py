"""Jobs, schedules, the sensor of raw files, and the run of the command."""
