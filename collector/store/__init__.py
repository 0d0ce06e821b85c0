"""Where signals are kept: journal, hot relations, Parquet segments, snapshots."""
