"""Images and tables, opened where they lie: folders, zip files, tar shards, attribute files."""
