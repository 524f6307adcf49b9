"""What one epoch is made of: windows of frames, buckets of sizes, and the one enumeration of samples that all stages share."""
