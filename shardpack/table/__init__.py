"""The label table: a row for each sample with its labels and the facts of its image, as Parquet files.

schema        names and types of the columns; values of different types brought together
heads         labels and first bytes of images, read by plan                 (rows: they become columns)
build         rows of all samples, in files          (tasks: made in several processes)
parquet       one file: written, opened, read                                (sparse_file; libraries: pyarrow, duckdb)
read_table    columns of the whole table, of several files and types
query         which rows an expression of SQL is true for                    (expression: what it may be)
queryable     `ds.where` and `ds.table`                                      (selected: for views, too)
summary       how many samples have each value
packed_rows   rows of shards on their way to a bucket
update        the table of the next generation, at a cost in proportion to the edit
join          the tables of merged datasets as one
by_class      positions grouped by the values of a column
numbers       the numbers of a column
"""
