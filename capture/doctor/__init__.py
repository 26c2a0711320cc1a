"""What a machine needs to record, checked one by one. No check trusts another, and none changes anything."""
