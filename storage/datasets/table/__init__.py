"""The reader of a folder with a label table, `labels.csv` or `labels.parquet`."""
