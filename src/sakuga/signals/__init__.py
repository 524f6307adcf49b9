"""What can be measured in frames with numpy and OpenCV. No store, no torch."""
