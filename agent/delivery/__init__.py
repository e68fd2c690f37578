"""Files to the facility: resumable, verified by what the far side holds, the manifest last."""
