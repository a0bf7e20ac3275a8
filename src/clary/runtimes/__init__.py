"""Programs that stand in for framework containers; they run inside a job's or a replica's sandbox."""
