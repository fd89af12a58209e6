"""Shards in an object store: read by range, fetched whole into a bounded cache, ahead of need."""
