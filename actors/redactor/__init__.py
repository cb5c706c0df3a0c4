"""The redactor: finds personal data in texts, first by pattern and checksum, then by a statistical model."""
