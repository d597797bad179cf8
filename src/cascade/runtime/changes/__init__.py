"""What has changed of a program between two starts of a recorded run, and what that means for its steps."""
