"""What one epoch is made of: windows of frames, buckets of sizes, and the one list of samples that all stages share."""
